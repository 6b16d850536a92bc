"""How long static int8 takes against float32: `pytest -m benchmark -s tests/benchmarks/test_int8.py`.

ResNet-20 on one thread, as it is and with its batch norms folded into convolutions. The two models take turns, and what
counts is the time that the processor works for them, so that others on the machine disturb little.

Seen on an AMD EPYC (Zen 3, no VNNI): with batch norms folded 0.61 at batch 64 and 1.15 at batch 1, as it is 0.77 and
1.12. One small image gains nothing: rounding the inputs of a layer costs as much as its integers save. A graph that is
compiled as a whole (torch.export, inductor with freezing) keeps integers between layers and is faster, but is no model
that a file could hold.
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


def test_static_int8_against_float32() -> None:
    torch.set_num_threads(1)
    task = Cifar()
    floats = task.train("resnet20", 0)
    for name, base in (("as it is", floats), ("batch norms folded", _folded(floats))):
        integers = compressed(task, base, Step("quantize_static")).model
        _say(f"ResNet-20, {name}: accuracy {accuracy(base):.2%} -> {accuracy(integers):.2%}")
        for batch in (1, 64):
            inputs = task.data("evaluation").inputs[:batch]
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
