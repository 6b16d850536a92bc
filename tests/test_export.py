"""An exported model as a node of the lineage, and the verb that writes one to a file."""

import sys
from pathlib import Path

import pytest
import torch

from cc_ray import cli
from cc_ray.compress import validated_recipe
from cc_ray.compress.suits import Suits
from cc_ray.errors import InvalidRecipeError, StoreError
from cc_ray.recipe import Recipe, Step
from cc_ray.store import Store
from cc_ray.store.exported import RUN_PROGRAMS
from cc_ray.tasks.digits import Digits
from cc_ray.trial import load_model, run_trial
from cc_ray.views import open_views

TASK = Digits()


def values_of(store: Store, model_id: str) -> dict[str, float]:
    rows = store.read("metrics", keys={"step": model_id}).to_pylist()
    return {row["metric"]: row["value"] for row in rows if row["slice"] == "all"}


@pytest.mark.parametrize("to", ["safetensors", "torch_export", "executorch"])
def test_a_file_of_each_kind_is_a_node_of_the_lineage(
    to: str, digits_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    if to == "executorch":
        pytest.importorskip("executorch", reason="ExecuTorch is not installed: pip install 'cc-ray[executorch]'")
    monkeypatch.setenv(RUN_PROGRAMS, "1")
    steps = (Step("low_rank", {"amount": 0.5}), Step("export", {"to": to}))
    recipe = validated_recipe(Recipe("resnet", steps, 0), TASK.bases)

    node = run_trial(digits_store, TASK, recipe).model_id

    parent = recipe.model_ids(TASK.task_id)[1]
    values, before = values_of(digits_store, node), values_of(digits_store, parent)
    assert values["accuracy"] == before["accuracy"]
    tables = {name: digits_store.read(name, keys={"step": node}).to_pylist() for name in ("models", "findings")}
    (row,), (finding,) = tables["models"], tables["findings"]
    assert row["representation"] == "exported"
    assert row["realised_on"] == (["cpu", "cuda"] if to == "safetensors" else ["cpu"])
    assert (finding["check"], finding["severity"]) == ("outputs_compared", "info")
    assert values["size_bytes"] == digits_store.layout.artifact_bytes(row["artifact"])
    assert values["size_bytes"] > 4 * before["num_parameters"]
    assert values.get("num_parameters") == (before["num_parameters"] if to == "safetensors" else None)
    assert "speedup" in {row["metric"] for row in digits_store.read("metrics", keys={"latency": node}).to_pylist()}
    inputs = TASK.data("evaluation").inputs[:32]
    with torch.no_grad():
        ours, theirs = (TASK.logits(load_model(digits_store, each), inputs) for each in (node, parent))
    assert torch.allclose(ours, theirs, atol=1e-4)

    monkeypatch.delenv(RUN_PROGRAMS)
    if to == "safetensors":
        load_model(digits_store, node)
    else:
        with pytest.raises(StoreError, match=f"is not run: .*of {to} can hold code, .* {RUN_PROGRAMS}=1"):
            load_model(digits_store, node)


@pytest.mark.parametrize("to", ["torch_export", "executorch"])
def test_programs_that_may_hold_code_are_refused_before_a_trial_starts(to: str) -> None:
    recipe = validated_recipe(Recipe("resnet", (Step("export", {"to": to}),), 0), TASK.bases)

    with pytest.raises(InvalidRecipeError, match=f"run from a store only where the environment has {RUN_PROGRAMS}=1"):
        Suits(TASK).check(recipe)


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
