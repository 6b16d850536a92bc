import subprocess
import sys

import pytest
import torch
from torch import nn

from cc_ray.errors import NotApplicableError
from cc_ray.store.artifacts import is_int8
from tests.compress.tiny import base_model, checks, outputs, run

BOTH = pytest.mark.parametrize("operation", ["quantize_weights", "quantize_dynamic"])


def converted(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if is_int8(parameter)}


@BOTH
def test_linear_layers_are_converted_and_compute_nearly_the_same(operation: str) -> None:
    model = base_model("vit")
    outcome = run(operation, model)

    assert outcome.representation == "quantized"
    assert len(converted(outcome.model)) == 13
    assert torch.allclose(outputs(outcome.model), outputs(model), atol=0.05)
    assert not torch.equal(outputs(outcome.model), outputs(model))


@BOTH
def test_convolutions_that_stay_float_are_named_with_their_share(operation: str) -> None:
    outcome = run(operation, base_model("cnn"))

    [finding] = [finding for finding in outcome.findings if finding.check == "layers_skipped"]
    assert converted(outcome.model) == {"head.weight"}
    assert finding.severity == "warning"
    assert finding.found is not None and 0 < finding.found < 0.1
    assert "5 of 6 layers stay float: 'stem.0', 'first.0'" in finding.message


@BOTH
def test_nothing_to_convert_is_an_error(operation: str) -> None:
    with pytest.raises(NotApplicableError, match=r"none of 'stem.0.weight' .*uniform_quantization"):
        run(operation, base_model("cnn"), include=["stem"])
    with pytest.raises(NotApplicableError, match="no linear layer"):
        run(operation, nn.Sequential(nn.ReLU(), nn.Flatten()))


def test_patterns_choose_the_layers() -> None:
    outcome = run("quantize_weights", base_model("vit"), include=["*.mlp"], exclude=["*.0.mlp.fc2"])

    assert converted(outcome.model) == {
        "vit.layers.0.mlp.fc1.weight",
        "vit.layers.1.mlp.fc1.weight",
        "vit.layers.1.mlp.fc2.weight",
    }


def test_a_tied_head_stays_tied() -> None:
    model = nn.ModuleDict({"embed": nn.Embedding(8, 4), "inner": nn.Linear(4, 4), "head": nn.Linear(4, 8)}).eval()
    model["head"].weight = model["embed"].weight

    outcome = run("quantize_weights", model)

    child = outcome.model
    assert converted(child) == {"inner.weight"}
    assert child.get_parameter("head.weight") is child.get_parameter("embed.weight")
    assert "'head'" in checks(outcome)["layers_skipped"]


def test_importing_torchao_says_nothing() -> None:
    code = "import cc_ray.compress, torchao.quantization, transformers.models.vit.modeling_vit"

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout + ran.stderr == ""
