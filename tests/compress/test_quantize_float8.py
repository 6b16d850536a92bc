import pytest
import torch

from cc_ray.compress.targets import layer_weights
from cc_ray.store.artifacts import scale_of
from tests.compress.tiny import base_model, outputs, run


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
