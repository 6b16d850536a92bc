import pytest
import torch
from torch import nn

from cc_ray.compress import operation_of
from cc_ray.compress.targets import layer_weights
from cc_ray.errors import NotApplicableError
from cc_ray.recipe import Step
from cc_ray.store.artifacts import scale_of
from cc_ray.store.low_bit import DynamicFloat8
from tests.compress.tiny import base_model, checks, outputs, run


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_weights_are_8_bit_floats_times_a_scale(granularity: str) -> None:
    before = base_model("cnn")
    after = run("quantize_float8", before, granularity=granularity).model

    for old, new in zip(layer_weights(before), layer_weights(after), strict=True):
        scale = scale_of(new.module)
        assert scale is not None and scale.numel() == (1 if granularity == "tensor" else len(old.tensor))
        expected = (old.tensor / scale).to(torch.float8_e4m3fn).float() * scale
        assert torch.allclose(new.tensor, expected, rtol=1e-6, atol=0)
        # Three digits after the first: half of the last is at most a sixteenth of the number.
        normal = old.tensor.abs() > scale * 2**-6
        assert ((old.tensor - new.tensor).abs()[normal] <= old.tensor.abs()[normal] / 16).all()


def test_it_is_finer_than_4_bits() -> None:
    model = base_model("vit")
    errors = [
        (outputs(run(name, model, **parameters).model) - outputs(model)).norm()
        for name, parameters in (("quantize_float8", {}), ("uniform_quantization", {"bits": 4}))
    ]

    assert errors[0] < errors[1]


def test_zeros_stay_zero() -> None:
    sparse = run("magnitude_pruning", base_model("cnn"), sparsity=0.5).model

    child = run("quantize_float8", sparse).model

    for old, new in zip(layer_weights(sparse), layer_weights(child), strict=True):
        assert not new.tensor[old.tensor == 0].any()


def test_inputs_are_rounded_where_that_is_asked_for() -> None:
    model = base_model("vit")

    plain, dynamic = (run("quantize_float8", model, activations=kind) for kind in ("float", "dynamic"))

    assert (plain.representation, dynamic.representation) == ("simulated", "quantized")
    weights = [target.module.weight for target in layer_weights(plain.model) if isinstance(target.module, nn.Linear)]
    converted = [parameter for parameter in dynamic.model.parameters() if isinstance(parameter, DynamicFloat8)]
    assert len(converted) == 13
    for ours, theirs in zip(converted, weights, strict=True):
        assert torch.equal(ours.dequantize(), theirs)
    error = (outputs(dynamic.model) - outputs(model)).norm() / outputs(model).norm()
    assert 0 < error < 0.1
    assert "float8 holds 93.4%" in checks(dynamic)["layers_skipped"]
    assert "2 of 14 layers hold float8 weights" in checks(dynamic)["layers_without_kernel"]


def test_a_gpu_runs_what_rounds_its_inputs_and_nothing_else() -> None:
    assert operation_of(Step("quantize_float8")).runs_on() == frozenset()
    assert operation_of(Step("quantize_float8", {"activations": "dynamic"})).runs_on() == {"cuda"}


@pytest.mark.parametrize("before", ["uniform_quantization", "palettization"])
def test_a_converted_layer_leaves_its_grid(before: str) -> None:
    coarse = run(before, base_model("cnn"), bits=4).model

    child = run("quantize_float8", coarse, activations="dynamic").model

    assert isinstance(child.get_parameter("head.weight"), DynamicFloat8)
    assert not list(child.get_submodule("head").buffers()) and list(child.get_submodule("stem.0").buffers())


def test_convolutions_have_no_inputs_to_be_rounded() -> None:
    with pytest.raises(NotApplicableError, match=r"none of 'stem\.0\.weight' .* runs as float8 here"):
        run("quantize_float8", base_model("cnn"), include=["stem"], activations="dynamic")
