"""How long static int8 takes against float32: `pytest -m benchmark -s tests/benchmarks/test_int8.py`.

ResNet-20 on one thread: layers of integers (`quantize_static`), as it is and with its batch norms folded into
convolutions, and a program of integers (`export_onnx(precision="int8")`). Models take turns, and what counts is the
time that the processor works for them, so that others on the machine disturb little.

Seen on an AMD EPYC (Zen 3, no VNNI), int8 against float32 in one run:

| | batch 64 | batch 1 |
|---|---|---|
| `quantize_static` | 0.67 | 1.16 |
| the same, batch norms folded before | 0.57 | 1.04 |
| `export_onnx(precision="int8")` against `export_onnx` | 0.42 | 0.57 |
| the same against torch, layer by layer | 0.29 | 0.22 |
| PT2E: torch.export, X86InductorQuantizer, inductor with freezing; against torch layer by layer | 0.30 | 0.50 |
| the same against floats compiled by inductor | 0.41 | 0.85 |

One small image gains nothing from layers of integers: rounding what a layer takes costs as much as its integers save. A
program that is compiled as a whole keeps integers between layers. That of onnxruntime is as fast as inductor's, or
faster, and is a file of 321 kB that needs nothing else to run (floats: 1.09 MB). Inductor's is compiled anew by whoever
loads it, in 18 to 84 s here, by a compiler that has to be there. What of it could be saved is native code (AOTInductor,
2.2 MB), which no store of models may run, or the graph (4.9 MB), whose float weights stay in it.
"""

from __future__ import annotations

import copy
import sys
import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cc_ray.recipe import Step
from tests.compress.real import ROOT, Cifar, accuracy, compressed

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.skipif(not ROOT.exists(), reason=f"{ROOT} is not there"),
]
REPEATS = {1: 40, 64: 8}
PRECISIONS = ("float32", "int8")


def test_static_int8_against_float32() -> None:
    torch.set_num_threads(1)
    task = Cifar()
    floats = task.train("resnet20", 0)
    for name, base in (("as it is", floats), ("batch norms folded", _folded(floats))):
        integers = compressed(task, base, Step("quantize_static")).model
        _compare(f"ResNet-20, {name}", base, integers)


def test_a_program_of_integers_against_one_of_floats_and_against_torch() -> None:
    torch.set_num_threads(1)
    task = Cifar()
    base = task.train("resnet20", 0)
    floats, integers = (compressed(task, base, Step("export_onnx", {"precision": each})).model for each in PRECISIONS)
    _compare("ResNet-20, programs of onnxruntime", floats, integers)
    _compare("ResNet-20, torch against the program", base, integers)


def _compare(name: str, base: nn.Module, integers: nn.Module) -> None:
    _say(f"{name}: accuracy {accuracy(base):.2%} -> {accuracy(integers):.2%}")
    for batch in (1, 64):
        inputs = Cifar().data("evaluation").inputs[:batch]
        before, after = _in_turns(base, integers, inputs)
        _say(f"  batch {batch}: int8 {after:.2f} ms / float32 {before:.2f} ms = {after / before:.2f}")


def _in_turns(ours: nn.Module, theirs: nn.Module, inputs: torch.Tensor) -> tuple[float, float]:
    """Medians in ms of passes that take turns."""
    found = np.zeros((REPEATS[len(inputs)], 2))
    with torch.no_grad():
        for model in (ours, theirs):
            model(inputs)
        for row in found:
            for place, model in enumerate((ours, theirs)):
                start = time.thread_time()
                model(inputs)
                row[place] = 1000 * (time.thread_time() - start)
    first, second = np.median(found, axis=0)
    return float(first), float(second)


def _folded(model: nn.Module) -> nn.Module:
    made = copy.deepcopy(model)
    for module in made.modules():
        for number in ("1", "2"):
            if hasattr(module, f"bn{number}"):
                convolution, norm = getattr(module, f"conv{number}"), getattr(module, f"bn{number}")
                setattr(module, f"conv{number}", fuse_conv_bn_eval(convolution, norm))
                setattr(module, f"bn{number}", nn.Identity())
    return made


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
