from pathlib import Path
from typing import Any

import pytest
import torch

from cc_ray.evaluate import measure
from cc_ray.evaluate.predictions import predict
from cc_ray.schema import TABLES
from cc_ray.store import Store
from cc_ray.store.artifacts import save_model
from cc_ray.store.tables import Rows, conform
from cc_ray.store.weights import read_weights
from cc_ray.tasks.digits import Digits


@pytest.mark.parametrize("base", Digits.bases)
def test_a_saved_model_is_measured_into_rows_that_fit_their_tables(base: str, tmp_path: Path) -> None:
    task, store = Digits(), Store(tmp_path, create=True)
    model = task.build(base)
    artifact = save_model(store.layout, model)
    weights = read_weights(store.layout, artifact.digest)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    predictions = predict(task, model, task.data("evaluation"))
    rows = measure(
        task, model, model_id="m", artifact_size=artifact.size_bytes, weights=weights, predictions=predictions,
        parent_weights=weights,
    )  # fmt: skip
    rows["predictions"] = predictions.table("m")

    assert {name: conform(TABLES[name], table).num_rows for name, table in rows.items()} == {
        "metrics": 3 * 11 + 7,
        "predictions": 504,
        "layers": len(list(model.parameters())),
        "activations": len(rows["activations"]),
    }
    assert {row["relative_change"] for row in rows["layers"]} == {0.0}
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_measuring_twice_gives_the_same_rows(tmp_path: Path) -> None:
    task, store = Digits(), Store(tmp_path, create=True)
    model = task.build("resnet")
    artifact = save_model(store.layout, model)
    weights = read_weights(store.layout, artifact.digest)

    def measured() -> dict[str, Rows]:
        predictions = predict(task, model, task.data("evaluation"))
        about: dict[str, Any] = {"model_id": "m", "artifact_size": artifact.size_bytes, "weights": weights}
        return {**measure(task, model, predictions=predictions, **about), "predictions": predictions.table("m")}

    assert measured() == measured()
