"""Answers that are no classes: numbers, texts and tokens, with the metrics that are taken from them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cc_ray.errors import UnknownAnswersError
from cc_ray.evaluate import Measurement, metric_definitions, metrics
from cc_ray.evaluate.answers import Answers, kind_of
from cc_ray.evaluate.answers.tokens import UNSCORED
from cc_ray.evaluate.metrics import rows
from cc_ray.evaluate.predictions import predict
from cc_ray.schema import PREDICTIONS
from cc_ray.store.tables import conform
from cc_ray.tasks import Data, Split
from tests.evaluate.tiny import Tiny

TARGETS = [1.0, 2.0, 3.0, 6.0]


class Sums(Tiny):
    """What the two numbers of an instance come to."""

    name: ClassVar[str] = "sums"
    answers: ClassVar[str] = "numbers"

    def logits(self, model: nn.Module, inputs: Tensor) -> Tensor:
        return super().logits(model, inputs).sum(dim=1, keepdim=True)


class Sides(Tiny):
    """The larger number's side, in words; the second instance has no accepted answer that could be met."""

    name: ClassVar[str] = "sides"
    answers: ClassVar[str] = "texts"
    says_tokens: ClassVar[bool] = False

    def texts(self, model: nn.Module, batch: Data, logits: Tensor) -> Sequence[str]:
        return [f"the {('left', 'right')[side]} side" for side in logits.argmax(1).tolist()]

    def references(self, instances: Tensor) -> Sequence[Sequence[str]]:
        return [["Left side"], ["neither"], ["right"], ["left side.", "left"]]

    def token_losses(self, logits: Tensor, labels: Tensor) -> Tensor | None:
        return torch.tensor([[1.0, math.nan], [2.0, 4.0], [0.0, 0.0], [1.0, 1.0]]) if self.says_tokens else None


class Letters(Tiny):
    """Tokens 0 to 2, each of which is to be followed by the next; the scores are a table."""

    name: ClassVar[str] = "letters"
    answers: ClassVar[str] = "tokens"

    def build(self, base: str) -> nn.Module:
        model = nn.Embedding(3, 3)
        model.weight.data = torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 1.0], [3.0, 0.0, 0.0]])
        return model.eval()

    def continuations(self, model: nn.Module, batch: Data) -> Any:
        return None

    def data(self, split: Split) -> Data:
        labels = [[1, 2, UNSCORED], [0, UNSCORED, UNSCORED]]
        return Data(torch.tensor([[0, 1, 2], [2, 2, 0]]), torch.tensor(labels), torch.tensor([4, 9]))


LETTERS = Letters().data("evaluation")


def measured(task: Tiny, answers: Answers, slices: Mapping[str, Any] | None = None) -> dict[tuple[str, str], Any]:
    """Values of the metrics of answers, by metric and slice."""
    slices = slices or {"all": np.ones(len(answers.instances), bool)}
    subject = Measurement(task, task.build("identity"), task.data("evaluation").inputs[:1], answers, slices, (), 0)
    found = rows(subject, "m")
    return {(row["metric"], row["slice"]): row for row in found if metrics[row["metric"]].of_answers}


def test_numbers_are_compared_with_the_true_ones() -> None:
    data = Tiny().data("evaluation")
    answers = predict(Sums(), Sums().build("identity"), Data(data.inputs, torch.tensor(TARGETS), data.instances))

    table = conform(PREDICTIONS, answers.table("m"))
    found = measured(Sums(), answers, {"all": np.ones(4, bool), "first": np.array([True, False, False, False])})

    assert table["target"].to_pylist() == TARGETS
    assert table["value"].to_pylist() == [2.0, 1.0, 3.0, 1.0]
    assert table["correct"].null_count == table["prediction"].null_count == 4
    assert found["mae", "all"]["value"] == pytest.approx(7 / 4)
    assert found["rmse", "all"]["value"] == pytest.approx(math.sqrt(27 / 4))
    assert found["r2", "all"]["value"] == pytest.approx(1 - 27 / 14)
    assert 0 <= found["mae", "all"]["ci_low"] < 7 / 4 < found["mae", "all"]["ci_high"]
    assert found["mae", "first"]["value"] == 1
    assert ("r2", "first") not in found, "one number has no variance"
    assert {metric for metric, _ in found} == {"mae", "rmse", "r2"}


def test_texts_are_compared_with_the_accepted_ones() -> None:
    answers = predict(Sides(), Sides().build("identity"), Tiny().data("evaluation"))

    table = conform(PREDICTIONS, answers.table("m"))
    found = measured(Sides(), answers)

    assert table["text"].to_pylist() == ["the left side", "the right side", "the right side", "the left side"]
    assert table["correct"].to_pylist() == [True, False, False, True]
    assert table["f1"].to_pylist() == pytest.approx([1, 0, 2 / 3, 1])
    assert found["exact_match", "all"]["value"] == 0.5
    assert found["f1", "all"]["value"] == pytest.approx(2 / 3)
    assert {metric for metric, _ in found} == {"exact_match", "f1"}, "no tokens are scored"


def test_texts_of_which_the_tokens_are_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sides, "says_tokens", True)

    answers = predict(Sides(), Sides().build("identity"), Tiny().data("evaluation"))

    assert answers.table("m")["loss"].to_pylist() == [1, 3, 0, 1]
    assert answers.table("m")["tokens"].to_pylist() == [1, 2, 2, 2]
    assert measured(Sides(), answers)["perplexity", "all"]["value"] == pytest.approx(math.exp(9 / 7))


def test_tokens_are_scored_where_one_follows() -> None:
    model = Letters().build("identity")

    answers = predict(Letters(), model, LETTERS)
    table = conform(PREDICTIONS, answers.table("m"))
    found = measured(Letters(), answers)

    logs = model(LETTERS.inputs).detach().double().log_softmax(2)
    losses = [[-logs[0, 0, 1].item(), -logs[0, 1, 2].item()], [-logs[1, 0, 0].item()]]
    assert table["tokens"].to_pylist() == [2, 1]
    assert [each.as_py() for each in table["token_losses"]] == [pytest.approx(row) for row in losses]
    assert table["loss"].to_pylist() == pytest.approx([np.mean(row) for row in losses])
    mean = np.mean([each for row in losses for each in row])
    assert found["loss", "all"]["value"] == pytest.approx(mean, abs=1e-7)
    assert found["perplexity", "all"]["value"] == pytest.approx(math.exp(mean), abs=1e-6)
    assert found["perplexity", "all"]["ci_low"] < math.exp(mean) < found["perplexity", "all"]["ci_high"]
    assert found["token_accuracy", "all"]["value"] == 1
    assert table["top_tokens"][1].as_py()[0] == 0
    assert np.exp(table["top_log_probabilities"][1].as_py()).sum() == pytest.approx(1), "all three tokens are kept"


def test_tokens_are_compared_with_other_models_while_they_are_scored() -> None:
    model, other = Letters().build("identity"), Letters().build("identity")
    with torch.no_grad():
        other.get_parameter("weight")[0] = torch.tensor([1.0, 0.0, 0.0])

    answers = predict(Letters(), model, LETTERS, others={"base": other, "parent": model})

    own, base = (torch.tensor(row).double().log_softmax(0) for row in ([0.0, 2.0, 0.0], [1.0, 0.0, 0.0]))
    kl = float((base.exp() * (base - own)).sum())
    assert answers.table("m")["kl_from_base"].to_pylist() == pytest.approx([kl / 2, 0], abs=1e-7)
    assert answers.table("m")["same_top_from_base"].to_pylist() == [0.5, 1]
    assert answers.table("m")["kl_from_parent"].to_pylist() == pytest.approx([0, 0], abs=1e-12)


@pytest.mark.parametrize("task", [Tiny, Sums, Sides, Letters])
def test_answers_can_be_taken_apart_and_joined(task: type[Tiny]) -> None:
    data = task().data("evaluation")
    answers = predict(task(), task().build("identity"), data)
    halves = [answers.chosen(np.array([place])) for place in range(len(data))]

    again = halves[0].joined(halves[::-1]).chosen(np.arange(len(data))[::-1])

    assert again.table("m") == answers.table("m")
    assert len(answers.outputs) == len(data)


def test_a_metric_says_which_answers_it_is_taken_from() -> None:
    of_classes, of_numbers = ({row["metric"] for row in metric_definitions(task())} for task in (Tiny, Sums))

    assert {"accuracy", "loss", "size_bytes"} <= of_classes and not {"mae", "perplexity"} & of_classes
    assert {"mae", "size_bytes"} <= of_numbers and not {"accuracy", "accuracy_drop", "loss"} & of_numbers


def test_answers_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tiny, "answers", "clases")

    with pytest.raises(UnknownAnswersError, match="classes"):
        kind_of(Tiny())
