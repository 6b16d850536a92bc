"""An exported model as a node of the lineage, and the verb that writes one to a file."""

import sys
from pathlib import Path

import pytest

from cc_ray import cli
from cc_ray.compress import validated_recipe
from cc_ray.recipe import Recipe, Step
from cc_ray.store import Store
from cc_ray.tasks.digits import Digits
from cc_ray.trial import run_trial
from cc_ray.views import open_views

TASK = Digits()


@pytest.mark.slow
def test_an_exported_model_is_measured_like_any(digits_store: Store) -> None:
    recipe = validated_recipe(Recipe("resnet", (Step("export_onnx"),), 0), TASK.bases)

    node = run_trial(digits_store, TASK, recipe).model_id

    rows = digits_store.read("metrics", keys={"step": node}).to_pylist()
    values = {row["metric"]: row["value"] for row in rows if row["slice"] == "all"}
    base = digits_store.read("metrics", keys={"step": recipe.model_ids(TASK.task_id)[0]}).to_pylist()
    assert values["accuracy"] == next(row["value"] for row in base if row["metric"] == "accuracy")
    assert values["size_bytes"] > 0
    assert not {"num_parameters", "multiply_adds", "peak_memory_bytes"} & values.keys(), "torch cannot see them"
    assert "speedup" in {row["metric"] for row in digits_store.read("metrics", keys={"latency": node}).to_pylist()}
    assert digits_store.read("models", keys={"step": node})["representation"].to_pylist() == ["exported"]
    (finding,) = digits_store.read("findings", keys={"step": node}).to_pylist()
    assert (finding["check"], finding["severity"]) == ("outputs_compared", "info")


def test_a_model_of_the_store_is_written_to_a_file(
    digits_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models = open_views(digits_store.root).sql("SELECT model_id FROM models WHERE step_index = 0 AND base = 'resnet'")
    file, store = tmp_path / "model.safetensors", str(digits_store.root)
    arguments = [models["model_id"][0].as_py(), str(file), "--to", "safetensors", "--store", store]
    monkeypatch.setattr(sys, "argv", ["cc-ray", "export", *arguments])

    with pytest.raises(SystemExit) as caught:
        cli.main()

    said = capsys.readouterr().out
    assert not caught.value.code and file.exists()
    assert "differ by 0 at most" in said and "times as fast as the model in the store" in said
