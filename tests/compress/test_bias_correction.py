import pytest
import torch
from torch import nn

from cc_ray.compress import apply_step
from cc_ray.errors import NotApplicableError
from cc_ray.recipe import Step
from tests.compress.tiny import TASK, base_model, checks, context, outputs, run, tensors


def rounded(base: str, bits: int = 2) -> nn.Module:
    return apply_step(Step("uniform_quantization", {"bits": bits}), base_model(base), context(base)).model


def means(model: nn.Module, path: str) -> torch.Tensor:
    """Mean output by channel of a convolution, over the calibration split."""
    found: list[torch.Tensor] = []
    heard = model.get_submodule(path).register_forward_hook(lambda module, given, output: found.append(output))
    with heard, torch.no_grad():
        TASK.logits(model, TASK.data("calibration").inputs)
    return found[0].mean((0, 2, 3))


@pytest.mark.parametrize("base", ["plain", "cnn", "vit", "odd"])
def test_the_answers_come_closer_to_the_reference(base: str) -> None:
    reference, child = base_model(base), rounded(base)

    outcome = apply_step(Step("bias_correction"), child, context(base, reference))

    wanted = outputs(reference)
    assert (outputs(outcome.model) - wanted).norm() < (outputs(child) - wanted).norm()
    changed = {name for name, tensor in tensors(child).items() if not torch.equal(tensor, tensors(outcome.model)[name])}
    assert {name.rpartition(".")[2] for name in changed} <= {"bias", "running_mean"}
    assert outcome.data_used == ("calibration",)


def test_means_are_those_of_the_reference_layer_after_layer() -> None:
    reference, child = base_model("plain"), rounded("plain")

    corrected = run("bias_correction", child, reference).model

    assert torch.allclose(means(corrected, "4"), means(reference, "4"), atol=1e-5)
    assert not torch.allclose(means(child, "4"), means(reference, "4"), atol=1e-2)


def test_without_a_bias_the_batch_norm_behind_takes_the_shift() -> None:
    reference, child = base_model("plain"), rounded("plain")
    shift = means(reference, "0") - means(child, "0")

    corrected = run("bias_correction", child, reference).model

    moved = child.get_buffer("1.running_mean") - corrected.get_buffer("1.running_mean")
    assert torch.allclose(moved, shift, atol=1e-5)


def test_layers_that_lost_channels_are_left_and_told() -> None:
    reference = base_model("plain")
    smaller = run("channel_pruning", reference, ratio=0.5).model

    outcome = run("bias_correction", smaller, reference)

    assert "of 1 of 4 layers were corrected; 3 are as they were" in checks(outcome)["biases_corrected"]


def test_a_model_that_can_take_no_shift_is_refused() -> None:
    with pytest.raises(NotApplicableError, match="no linear layer or convolution has a bias"):
        run("bias_correction", base_model("language"))
