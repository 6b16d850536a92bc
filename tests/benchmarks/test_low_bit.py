"""How long layers of 4-bit integers and 8-bit floats take against floats:
`pytest -m "benchmark and not gpu" -s tests/benchmarks/test_low_bit.py` on one thread of a CPU,
`pytest -m "benchmark and gpu" -s tests/benchmarks/test_low_bit.py` on a GPU.

Four linear layers of 4096 x 4096. Models take turns; below 1 is faster.

Seen on one thread of an AMD EPYC with AVX-512 in bfloat16: int4 takes 0.27 of float32 (0.33 of bfloat16) at batch 1,
0.51 (1.35) at 16 and 1.00 (2.48) at 256: it saves reading weights, not multiplying them.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cc_ray.compress.base import Context, Operation
from cc_ray.compress.quantize_float8 import QuantizeFloat8
from cc_ray.compress.quantize_int4 import QuantizeInt4
from tests.compress.tiny import TASK

WIDTH, DEPTH = 4096, 4
BATCHES = (1, 16, 256)
TURNS = {"cpu": 7, "cuda": 100}
WAYS: dict[str, Operation] = {"int4": QuantizeInt4(), "float8": QuantizeFloat8(activations="dynamic")}

pytestmark = pytest.mark.benchmark


def test_int4_against_floats_on_a_cpu() -> None:
    torch.set_num_threads(1)
    floats = _floats()
    models = {"float32": floats, "bfloat16": copy.deepcopy(floats).bfloat16(), "int4": _held("int4", floats)}
    _say(f"{DEPTH} layers of {WIDTH} x {WIDTH}, one thread:")
    _compare(models, "cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_low_bits_against_floats_on_a_gpu() -> None:
    floats = _floats()
    held = {way: _held(way, floats).cuda() for way in WAYS}
    models = {"float32": floats.cuda(), "bfloat16": copy.deepcopy(floats).cuda().bfloat16(), **held}
    models |= {f"{way} of bfloat16": copy.deepcopy(model).bfloat16() for way, model in held.items()}
    _say(f"{DEPTH} layers of {WIDTH} x {WIDTH}, {torch.cuda.get_device_name()}:")
    _compare(models, "cuda")


def _compare(models: dict[str, nn.Module], device: str) -> None:
    for batch in BATCHES:
        inputs = torch.randn(batch, WIDTH, device=device)
        exact = models["float32"](inputs)
        medians = dict(zip(models, _medians_ms(list(models.values()), inputs), strict=True))
        for name, found in medians.items():
            ratios = ", ".join(f"{found / medians[base]:.2f} of {base}" for base in ("float32", "bfloat16"))
            error = float((_answer(models[name], inputs) - exact).norm() / exact.norm())
            _say(f"  batch {batch}, {name}: {found:.3f} ms = {ratios}; outputs differ by {error:.1%}")


def _medians_ms(models: list[nn.Module], inputs: Tensor) -> list[float]:
    """Of passes that take turns."""
    clock = _on_a_gpu_ms if inputs.is_cuda else _on_a_cpu_ms
    found = np.zeros((TURNS[inputs.device.type], len(models)))
    for model in models * 3:
        _answer(model, inputs)
    for row in found:
        for place, model in enumerate(models):
            # Of its own type: what is measured is not how long a cast takes.
            given = inputs.to(_type(model))
            row[place] = clock(partial(model, given))
    return [float(median) for median in np.median(found, axis=0)]


def _on_a_cpu_ms(work: Callable[[], object]) -> float:
    start = time.thread_time()
    work()
    return 1000 * (time.thread_time() - start)


def _on_a_gpu_ms(work: Callable[[], object]) -> float:
    begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    begun.record()
    work()
    ended.record()
    torch.cuda.synchronize()
    return float(begun.elapsed_time(ended))


def _answer(model: nn.Module, inputs: Tensor) -> Tensor:
    outputs: Tensor = model(inputs.to(_type(model)))
    return outputs.float()


def _type(model: nn.Module) -> torch.dtype:
    return model.get_parameter("0.bias").dtype


def _floats() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [layer for _ in range(DEPTH) for layer in (nn.Linear(WIDTH, WIDTH), nn.ReLU())]
    return nn.Sequential(*layers[:-1]).eval().requires_grad_(False)


def _held(way: str, floats: nn.Module) -> nn.Module:
    return WAYS[way].apply(copy.deepcopy(floats), Context(TASK, 0, lambda _: floats)).requires_grad_(False)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
