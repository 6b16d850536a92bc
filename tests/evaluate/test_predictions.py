import math

import numpy as np
import pytest
import torch
from torch import nn

from cc_ray.evaluate.answers import BATCH_SIZE
from cc_ray.evaluate.answers.classes import Classes
from cc_ray.evaluate.predictions import predict
from cc_ray.schema import PREDICTIONS
from cc_ray.store.tables import conform
from cc_ray.tasks import Data
from tests.evaluate.tiny import Tiny


def one(probabilities: list[float], label: int) -> dict[str, object]:
    with np.errstate(divide="ignore"):
        logs = np.log(np.array([probabilities]))
    table = Classes(np.array([5]), np.array([label]), logs).table("m")
    rows: list[dict[str, object]] = conform(PREDICTIONS, table).to_pylist()
    return rows[0]


def test_a_right_answer() -> None:
    row = one([0.1, 0.7, 0.2], label=1)

    assert (row["model_id"], row["instance"], row["label"], row["prediction"]) == ("m", 5, 1, 1)
    assert row["correct"] is True
    assert row["confidence"] == row["true_probability"] == pytest.approx(0.7)
    assert row["loss"] == pytest.approx(-math.log(0.7))
    assert row["margin"] == pytest.approx(0.5)
    assert row["entropy"] == pytest.approx(0.8018186)
    assert row["probabilities"] == pytest.approx([0.1, 0.7, 0.2])
    assert row["text"] is None


def test_a_wrong_answer() -> None:
    row = one([0.1, 0.7, 0.2], label=2)

    assert row["correct"] is False
    assert row["confidence"] == pytest.approx(0.7)
    assert row["true_probability"] == pytest.approx(0.2)
    assert row["margin"] == pytest.approx(-0.5)


def test_certainty_has_no_entropy() -> None:
    row = one([0.0, 1.0], label=1)

    assert row["entropy"] == 0
    assert row["loss"] == 0
    assert row["margin"] == 1


def test_a_model_is_asked_about_every_instance_in_order() -> None:
    count = 2 * BATCH_SIZE + 3
    inputs = torch.randn(count, 2, generator=torch.Generator().manual_seed(0))
    data = Data(inputs, torch.zeros(count, dtype=torch.int64), torch.arange(count) + 7)

    found = predict(Tiny(), Tiny().build("identity"), data)

    assert found.instances.tolist() == list(range(7, count + 7))
    assert np.allclose(found.probabilities, inputs.softmax(1).numpy())
    assert found.classes.tolist() == inputs.argmax(1).tolist()


def test_a_hopeless_answer_has_a_finite_loss() -> None:
    data = Data(torch.tensor([[0.0, 2000.0]]), torch.tensor([0]), torch.tensor([0]))

    assert predict(Tiny(), Tiny().build("identity"), data).losses.tolist() == [2000.0]


def test_a_broken_model_gives_rows_that_say_so() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    with torch.no_grad():
        model.get_parameter("0.weight").fill_(torch.nan)

    table = conform(PREDICTIONS, predict(Tiny(), model, Tiny().data("evaluation")).table("m"))

    for column in ("loss", "entropy", "margin", "confidence"):
        assert np.isnan(table.column(column).to_numpy()).all()
