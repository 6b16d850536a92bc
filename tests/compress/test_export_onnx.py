import copy
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

from cc_ray.compress import validated_recipe
from cc_ray.errors import InvalidRecipeError, NotApplicableError, StoreError
from cc_ray.recipe import Recipe, Step
from cc_ray.store.artifacts import load_model, save_model
from cc_ray.store.exported import OnnxProgram
from cc_ray.store.layout import Draft
from cc_ray.store.weights import read_weights
from tests.compress.tiny import TASK, base_model, checks, outputs, run


def test_a_pruned_model_is_exported_and_answers_alike(tmp_path: Path) -> None:
    model = run("channel_pruning", base_model("cnn"), ratio=0.5).model

    outcome = run("export_onnx", model)

    assert outcome.representation == "exported"
    assert torch.allclose(outputs(outcome.model), outputs(model), atol=1e-5)
    assert torch.allclose(
        TASK.logits(outcome.model, TASK.data("train").inputs[:1]),
        TASK.logits(model, TASK.data("train").inputs[:1]),
        atol=1e-5,
    )
    assert "within" in checks(outcome)["outputs_compared"] and "100.00%" in checks(outcome)["outputs_compared"]
    saved = save_model(Draft(tmp_path), outcome.model)
    loaded = load_model(Draft(tmp_path), saved.digest, TASK.build("cnn"))
    assert torch.equal(outputs(loaded), outputs(outcome.model))
    assert torch.equal(outputs(copy.deepcopy(loaded)), outputs(loaded))
    assert saved.tensor_bytes["program"] > 0.95 * saved.size_bytes
    assert not read_weights(Draft(tmp_path), saved.digest)


def test_a_program_in_integers_is_smaller_and_answers_nearly_alike(tmp_path: Path) -> None:
    model = base_model("cnn")

    floats = run("export_onnx", model)
    first, again = (run("export_onnx", model, precision="int8") for _ in range(2))

    error = (outputs(first.model) - outputs(model)).norm() / outputs(model).norm()
    assert 0 < error < 0.05
    held, other = (bytes(each.model.get_buffer("program").numpy()) for each in (first, again))
    assert held == other and first.data_used == ("calibration",) and first.representation == "exported"
    whole = [node for node in onnx.load_model_from_string(held).graph.initializer if node.data_type == 3]
    assert whole, "weights are int8"
    said = checks(first)
    assert said["products_in_integers"] == "6 of 6 convolutions and matrix products are of 8-bit integers."
    assert "of the largest output, since it rounds" in said["outputs_compared"]
    assert "within" in checks(floats)["outputs_compared"]
    loaded = load_model(Draft(tmp_path), save_model(Draft(tmp_path), first.model).digest, TASK.build("cnn"))
    assert torch.equal(outputs(loaded), outputs(first.model))
    one = TASK.data("train").inputs[:1]
    near = 0.1 * float(outputs(model).abs().max())
    assert torch.allclose(TASK.logits(loaded, one), TASK.logits(model, one), atol=near), "whatever the batch"


def test_a_model_without_products_has_no_program_in_integers() -> None:
    with pytest.raises(NotApplicableError, match="no convolution and no matrix product"):
        run("export_onnx", nn.Sequential(nn.Flatten(), nn.Softmax(1)), precision="int8")


@pytest.mark.parametrize("base", ["vit", "language"])
def test_a_transformer_computes_in_integers_too(base: str) -> None:
    model = base_model(base)

    outcome = run("export_onnx", model, precision="int8")

    (found,) = (each.found for each in outcome.findings if each.check == "products_in_integers")
    assert found is not None and found > 4
    before, after = (outputs(each, base) for each in (model, outcome.model))
    assert 0 < (after - before).norm() / before.norm() < 0.1


def test_it_is_the_last_step() -> None:
    steps = (Step("export_onnx"), Step("magnitude_pruning", {"sparsity": 0.5}))

    with pytest.raises(InvalidRecipeError, match="magnitude_pruning cannot change an exported program"):
        validated_recipe(Recipe("cnn", steps, 0), TASK.bases)


class Choosing(nn.Module):
    """What it does depends on values: no graph holds that."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.flatten(1)[:, :4] if float(inputs.sum()) > 0 else inputs.flatten(1)[:, 4:8]


def test_what_cannot_be_exported_says_why() -> None:
    with pytest.raises(NotApplicableError, match="torch cannot export it to ONNX"):
        run("export_onnx", Choosing())


def test_a_file_that_holds_no_program_is_refused(tmp_path: Path) -> None:
    saved = save_model(Draft(tmp_path), OnnxProgram(b"no program at all"))
    loaded = load_model(Draft(tmp_path), saved.digest, TASK.build("cnn"))

    with pytest.raises(StoreError, match="the exported program cannot be read"):
        outputs(loaded)


def test_a_program_that_reads_other_files_is_not_run() -> None:
    held = onnx.TensorProto(name="w", data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    held.external_data.add(key="location", value="/etc/hostname")
    value = onnx.helper.make_tensor_value_info("outputs", 1, [1])
    node = onnx.helper.make_node("Identity", ["w"], ["outputs"])
    program = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], [value], [held]))

    with pytest.raises(StoreError, match="wants to read other files"):
        outputs(OnnxProgram(program.SerializeToString()))
