from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cc_ray.errors import NotApplicableError
from cc_ray.evaluate.metrics.peak_memory_bytes import Watch
from cc_ray.store.artifacts import save_model
from cc_ray.store.layout import Draft
from cc_ray.store.low_bit import GroupedInt4
from cc_ray.tasks.arithmetic import Counter
from tests.compress.tiny import TASK, base_model, checks, outputs, run


def model(*widths: int) -> nn.Sequential:
    """Linear layers of these widths behind images of 8 x 8; one that the kernels take, unless a width is odd."""
    torch.manual_seed(0)
    pairs = zip((64, *widths), (*widths, 4), strict=True)
    layers = [layer for pair in pairs for layer in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *layers[:-1]).eval()


def held(model: nn.Module, layer: int) -> GroupedInt4:
    weight = model.get_parameter(f"{layer}.weight")
    assert isinstance(weight, GroupedInt4)
    return weight


def test_linear_layers_compute_nearly_the_same_with_4_bits() -> None:
    parent = model(128, 256)

    outcome = run("quantize_int4", parent)

    assert outcome.representation == "quantized" and outcome.data_used == () and not outcome.findings
    assert [held(outcome.model, index).group for index in (1, 3, 5)] == [64, 128, 128]
    error = (outputs(outcome.model) - outputs(parent)).norm() / outputs(parent).norm()
    assert 0.01 < error < 0.25
    assert torch.equal(outputs(outcome.model), outputs(outcome.model))


def test_no_weight_is_further_from_its_value_than_half_a_step_of_its_group() -> None:
    layer = nn.Linear(64, 24)
    layer.weight.data[:, :32] += 0.2
    before = layer.weight.detach().clone()

    weight = held(run("quantize_int4", nn.Sequential(nn.Flatten(), layer), group_size=32).model, 1)

    # A step of 5 digits is off by up to a 32nd, and so is the end of 15 of them.
    steps = weight.scale.repeat_interleave(32, 1)
    assert ((weight.dequantize() - before).abs() < 0.98 * steps).all()
    assert ((weight.dequantize() - before).abs() < 0.501 * steps).float().mean() > 0.97
    exact = torch.frexp(weight.scale).mantissa * 32
    assert torch.equal(exact, exact.round())


def test_shorter_groups_err_less() -> None:
    parent = model(256)
    errors = [
        (outputs(run("quantize_int4", parent, group_size=size).model) - outputs(parent)).norm() for size in (32, 256)
    ]

    assert errors[0] < errors[1]


def test_zeros_stay_zero_also_in_what_kernels_compute() -> None:
    sparse = run("magnitude_pruning", model(128), sparsity=0.5).model

    child = run("quantize_int4", sparse).model

    zeros = sparse.get_parameter("3.weight") == 0
    assert not held(child, 3).dequantize()[zeros].any()
    made: Tensor = child.get_submodule("3")(torch.eye(128)) - child.get_parameter("3.bias")
    assert made.T[zeros].abs().max() < 1e-7


def test_layers_that_no_kernel_takes_are_told() -> None:
    outcome = run("quantize_int4", model(24, 128))

    assert "1 of 3 layers hold int4 weights of shapes that no kernel takes" in checks(outcome)["layers_without_kernel"]
    assert not held(outcome.model, 3).has_kernel and held(outcome.model, 5).has_kernel
    for each, severity in ((outcome, "info"), (run("quantize_int4", base_model("vit")), "warning")):
        (told,) = (finding for finding in each.findings if finding.check == "layers_without_kernel")
        assert told.severity == severity


def test_convolutions_stay_float_and_are_told() -> None:
    assert "int4 holds 3.6% of the layers' weights" in checks(run("quantize_int4", base_model("cnn")))["layers_skipped"]
    with pytest.raises(NotApplicableError, match=r"none of 'stem\.0\.weight' .* runs as int4 here"):
        run("quantize_int4", base_model("cnn"), include=["stem"])


@pytest.mark.parametrize(
    ("operation", "parameters"), [("quantize_int4", {}), ("quantize_float8", {"activations": "dynamic"})]
)
def test_weights_that_are_no_numbers_are_refused(operation: str, parameters: dict[str, Any]) -> None:
    broken = model(32)
    broken.get_parameter("3.weight").data[0, 0] = float("nan")

    with pytest.raises(NotApplicableError, match=r"'3\.weight' has values that are NaN or infinite"):
        run(operation, broken, **parameters)


def test_the_file_takes_about_four_bits_a_weight(tmp_path: Path) -> None:
    for size, most in ((32, 4.8), (128, 4.2), (256, 4.1)):
        saved = save_model(Draft(tmp_path), run("quantize_int4", model(512, 512), group_size=size).model)
        assert 4 < saved.tensor_bytes["3.weight"] * 8 / 512**2 < most


def test_multiply_adds_and_memory_are_counted_as_of_other_models() -> None:
    parent = model(128)
    child, inputs = run("quantize_int4", parent).model, TASK.data("evaluation").inputs[:1].clone()
    counts, peaks = [], []
    for each in (parent, child):
        with Counter() as counter:
            outputs(each)
        counts.append(counter.total)
    for _ in range(2):
        with torch.no_grad(), Watch() as watch:
            watch.hold([*child.parameters(), inputs])
            TASK.logits(child, inputs)
        peaks.append(watch.peak)

    assert counts[0] == counts[1] > 0
    assert peaks[0] == peaks[1] > 0


def test_it_can_be_put_back() -> None:
    base = base_model("vit")
    quantized = run("quantize_int4", base).model

    whole = run("restore", quantized, base, include=["*"])

    assert whole.representation == "float" and torch.equal(outputs(whole.model), outputs(base))
