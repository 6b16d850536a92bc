import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cc_ray.compress import validated_recipe
from cc_ray.compress.exporting import exported
from cc_ray.errors import InvalidRecipeError, NotApplicableError, StoreError
from cc_ray.recipe import Recipe, Step
from cc_ray.store.artifacts import load_model, opened, save_model
from cc_ray.store.blocks import open_blocks
from cc_ray.store.exported import RUN_PROGRAMS, ExecutorchProgram, TorchProgram
from cc_ray.store.layout import Draft
from cc_ray.store.weights import ExportKind, read_weights
from tests.compress.test_export_onnx import Choosing
from tests.compress.tiny import TASK, base_model, checks, outputs, run


@pytest.fixture(autouse=True)
def programs_are_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RUN_PROGRAMS, "1")


def test_weights_of_a_plain_file_are_those_of_its_parent(tmp_path: Path) -> None:
    parent = run("uniform_quantization", base_model("cnn"), bits=5).model
    child = run("export", parent, to="safetensors").model
    for model in (parent, child):
        model.get_submodule("head").to(torch.bfloat16)

    saved = save_model(Draft(tmp_path), child)

    weights = read_weights(Draft(tmp_path), saved.digest)
    assert len(weights) > len(list(parent.parameters())), "buffers, too"
    for name, parameter in parent.named_parameters():
        assert np.array_equal(weights[name].values, parameter.detach().float().numpy())
        assert weights[name].stored_bytes == parameter.numel() * parameter.itemsize
        with open_blocks(Draft(tmp_path), saved.digest) as file:
            tensor = file.tensor(name)
            assert np.array_equal(tensor.values(0, tensor.size), weights[name].values.ravel())


@pytest.mark.parametrize("base", ["vit", "language"])
def test_a_transformer_becomes_a_torch_program(base: str) -> None:
    outcome = run("export", base_model(base), to="torch_export")

    assert torch.allclose(outputs(outcome.model, base), outputs(base_model(base), base), atol=1e-5)
    assert torch.equal(outputs(copy.deepcopy(outcome.model), base), outputs(outcome.model, base))
    assert "100.00%" in checks(outcome)["outputs_compared"]


@pytest.mark.parametrize("to", ["torch_export", "safetensors", "executorch"])
def test_a_file_tells_nothing_of_this_machine_or_of_instances(to: ExportKind) -> None:
    if to == "executorch":
        pytest.importorskip("executorch", reason="ExecuTorch is not installed: pip install 'cc-ray[executorch]'")
    inputs = TASK.data("calibration").inputs

    made = [exported("export", TASK, base_model("cnn"), few, to) for few in (inputs, inputs[2:4])]

    assert made[0] == made[1], "whatever instances it was traced with"
    assert b".py" not in made[0] and str(Path(torch.__file__).parent.parent).encode() not in made[0]


def test_what_cannot_be_exported_says_why() -> None:
    with pytest.raises(NotApplicableError, match=r"torch\.export refuses it"):
        run("export", Choosing(), to="torch_export")
    program = run("export", base_model("cnn"), to="torch_export").model
    with pytest.raises(NotApplicableError, match="a program of torch_export, which cannot become safetensors"):
        exported("export", TASK, program, TASK.data("calibration").inputs, "safetensors")


@pytest.mark.parametrize("to", ["torch_export", "executorch", "safetensors"])
@pytest.mark.parametrize("after", [Step("magnitude_pruning", {"sparsity": 0.5}), Step("export_onnx")])
def test_it_is_the_last_step(to: str, after: Step) -> None:
    with pytest.raises(InvalidRecipeError, match=f"{after.operation} cannot change an exported program"):
        validated_recipe(Recipe("cnn", (Step("export", {"to": to}), after), 0), TASK.bases)


@pytest.mark.parametrize("kind", [TorchProgram, ExecutorchProgram])
def test_a_stored_program_that_may_hold_code_is_not_even_read(
    kind: type[TorchProgram], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = save_model(Draft(tmp_path), kind(b"no program at all"))
    monkeypatch.setenv(RUN_PROGRAMS, "0")

    with pytest.raises(StoreError, match=f"can hold code, and is run from a store only .* {RUN_PROGRAMS}=1"):
        load_model(Draft(tmp_path), saved.digest, TASK.build("cnn"))


def test_a_torch_program_that_is_none_is_told() -> None:
    with pytest.raises(StoreError, match="the exported program cannot be read"):
        outputs(TorchProgram(b"no program at all"))


@pytest.mark.parametrize("content", [b"", b"no safetensors at all", b"\x02" + b"\0" * 7 + b"{}"])
def test_a_plain_file_that_is_none_is_told(content: bytes) -> None:
    with pytest.raises(StoreError, match="is damaged"):
        opened("safetensors", content, TASK.build("cnn"), Path("file"))


def test_a_plain_file_of_another_architecture_is_told() -> None:
    content = exported("export", TASK, base_model("cnn"), TASK.data("calibration").inputs, "safetensors")

    with pytest.raises(StoreError, match="does not fit the architecture"):
        opened("safetensors", content, nn.Linear(2, 2), Path("file"))
