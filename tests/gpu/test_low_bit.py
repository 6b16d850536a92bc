"""Low bits on a GPU against floats of the same values: `pytest -m gpu tests/gpu/test_low_bit.py`."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cc_ray.compress.base import Context, Operation
from cc_ray.compress.quantize_float8 import QuantizeFloat8
from cc_ray.compress.quantize_int4 import QuantizeInt4
from cc_ray.store.artifacts import load_model, save_model
from cc_ray.store.layout import Draft
from cc_ray.store.low_bit import LARGEST, DynamicFloat8, GroupedInt4, LowBit
from cc_ray.tasks import holding, repeatable
from tests.compress.tiny import TASK

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
    pytest.mark.skipif(
        torch.cuda.is_available() and torch.cuda.get_device_capability() < (8, 9),
        reason="GPUs of compute capability 8.9 and above multiply 8-bit floats",
    ),
]
SHAPES = [(128, 256), (1000, 4096), (24, 96), (7, 64)]
"""Outputs and inputs; kernels take them all."""
BATCHES = [(1,), (5,), (3, 50)]
BFLOAT16 = 3 * 2**-8
"""Roundings to bfloat16, of a layer's inputs and its outputs, in shares of the largest output; 0.0080 was seen."""
FLOAT8 = 2**-8
"""Inputs are rounded alike everywhere, but GPUs add products of 8-bit floats with fewer digits than float32 has."""


def layer(operation: Operation, outputs: int, inputs: int) -> nn.Linear:
    """A layer, converted on the CPU."""
    torch.manual_seed(outputs)
    made = nn.Linear(inputs, outputs)
    with torch.no_grad():
        made.weight[:, : inputs // 3] += 0.1
        made.weight[0, ::2] = 0
    model = nn.Sequential(made).eval()
    operation.apply(model, Context(TASK, 0, lambda _: model))
    return made


def weight(made: nn.Module) -> LowBit:
    held = made.get_parameter("weight")
    assert isinstance(held, LowBit)
    return held


def fed(inputs: int, batch: tuple[int, ...]) -> Tensor:
    return torch.randn(*batch, inputs, generator=torch.Generator().manual_seed(1))


def apart(ours: Tensor, exact: Tensor) -> float:
    """The largest difference in shares of the largest output."""
    return float((ours.cpu().double() - exact).abs().max() / exact.abs().max())


def exact(inputs: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    return inputs.double() @ values.double().T + bias.double()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("group", [32, 64, 128, 256])
def test_4_bit_integers_give_what_their_values_give(group: int, shape: tuple[int, int]) -> None:
    held = layer(QuantizeInt4.model_validate({"group_size": group}), *shape)
    values, bias = weight(held).dequantize(), held.bias.detach()
    assert weight(held).has_kernel

    there = copy.deepcopy(held).cuda()

    assert isinstance(there.weight, GroupedInt4) and there.weight.device.type == "cuda"
    assert torch.equal(weight(there).dequantize().cpu(), values)
    for batch in BATCHES:
        inputs = fed(shape[1], batch)
        found = there(inputs.cuda())
        assert found.dtype == torch.float32
        assert apart(found, exact(inputs, values, bias)) < BFLOAT16
        assert apart(found, held(inputs).double()) < BFLOAT16
        halves = copy.deepcopy(there).bfloat16()(inputs.cuda().bfloat16())
        assert halves.dtype == torch.bfloat16 and apart(halves, exact(inputs, values, bias)) < 2 * BFLOAT16


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_kernel_of_4_bits_has_the_very_weights_in_bfloat16(shape: tuple[int, int]) -> None:
    held = layer(QuantizeInt4(group_size=32), *shape)
    held.bias.data.zero_()

    found = copy.deepcopy(held).cuda()(torch.eye(shape[1], device="cuda"))

    assert torch.equal(found.cpu().T, weight(held).dequantize().bfloat16().float())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("granularity", ["channel", "tensor"])
def test_8_bit_floats_give_what_their_values_give(granularity: str, shape: tuple[int, int]) -> None:
    held = layer(QuantizeFloat8.model_validate({"granularity": granularity, "activations": "dynamic"}), *shape)
    values, bias = weight(held).dequantize(), held.bias.detach()
    assert weight(held).has_kernel

    there = copy.deepcopy(held).cuda()

    assert isinstance(there.weight, DynamicFloat8) and there.weight.device.type == "cuda"
    for batch in BATCHES:
        inputs = fed(shape[1], batch)
        scale = inputs.abs().amax(-1, keepdim=True) * (1 / LARGEST)
        rounded = (inputs / scale).to(torch.float8_e4m3fn).float() * scale
        found = there(inputs.cuda())
        assert found.dtype == torch.float32
        assert apart(found, exact(rounded, values, bias)) < FLOAT8
        assert apart(found, held(inputs).double()) < FLOAT8
        assert apart(found, exact(inputs, values, bias)) < 0.1
        halves = copy.deepcopy(there).bfloat16()(inputs.cuda().bfloat16())
        assert halves.dtype == torch.bfloat16 and apart(halves, exact(inputs, values, bias)) < 0.1


WAYS = {"int4": QuantizeInt4(), "float8": QuantizeFloat8(activations="dynamic")}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", [(24, 40), (24, 41)], ids=str)
def test_shapes_that_no_kernel_takes_are_computed_as_floats(way: str, shape: tuple[int, int]) -> None:
    held = layer(WAYS[way], *shape)
    assert not weight(held).has_kernel

    found = copy.deepcopy(held).cuda()(fed(shape[1], (5,)).cuda())

    assert apart(found, held(fed(shape[1], (5,))).double()) < 1e-4


@pytest.mark.parametrize("way", WAYS)
def test_a_step_moves_it_there_and_back_and_gives_the_same_bits_each_time(way: str) -> None:
    held, inputs = layer(WAYS[way], 64, 256), fed(256, (33,)).cuda()
    before = held(inputs.cpu())

    with holding(1), repeatable():
        held.cuda()
        first, second = held(inputs), held(inputs)
        held.cpu()

    assert torch.equal(first, second) and not first.requires_grad
    assert torch.equal(held(inputs.cpu()), before)
    assert held(inputs[:0].cpu()).shape == held.cuda()(inputs[:0]).shape == (0, 64)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_saved_from_a_gpu_is_loaded_and_answers_there_alike(way: str, tmp_path: Path) -> None:
    held = layer(WAYS[way], 64, 256)
    saved = save_model(Draft(tmp_path), held)
    held.cuda()

    assert save_model(Draft(tmp_path), held) == saved
    loaded = load_model(Draft(tmp_path), saved.digest, nn.Linear(256, 64)).cuda()

    assert torch.equal(loaded(fed(256, (9,)).cuda()), held(fed(256, (9,)).cuda()))
