"""An ONNX program in 8-bit integers: what products take and put out has scales that were found beforehand.

The program holds pairs of QuantizeLinear and DequantizeLinear, which onnxruntime melts together with what stands
between them; so values stay integers from one layer to the next. Weights take 7 bits, since processors without VNNI add
the products of two pairs in 16: the program then answers alike on all of them.

Source: Jacob et al., 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", https://arxiv.org/abs/1712.05877; by onnxruntime's quantization tools, https://onnxruntime.ai
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch
from numpy.typing import NDArray
from torch import Tensor

from cc_ray.store.exported import INPUT

BATCH: Final = 64
"""Instances that are looked at together."""
PRODUCTS: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators that multiply by weights."""


def in_integers(program: bytes, inputs: Tensor) -> bytes:
    """The same program in integers.

    Args:
        program: An ONNX file with the input `INPUT` and a free number of instances.
        inputs: What is looked at to find ranges, (n, ...).
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        given, prepared, made = (Path(folder) / f"{name}.onnx" for name in ("given", "prepared", "made"))
        given.write_bytes(program)
        quant_pre_process(str(given), str(prepared))
        quantize_static(
            str(prepared),
            str(made),
            _Reader(inputs),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return made.read_bytes()


def counted(program: bytes) -> tuple[int, int]:
    """How many products of a program have integers for both factors, and how many it has."""
    import onnx

    graph = onnx.load_model_from_string(program).graph
    from_integers = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    products = [node for node in graph.node if node.op_type in PRODUCTS]
    return sum(from_integers.issuperset(node.input[:2]) for node in products), len(products)


class _Reader:
    """Batches of instances as onnxruntime asks for them."""

    def __init__(self, inputs: Tensor) -> None:
        self._batches: Iterator[NDArray[Any]] = (batch.numpy() for batch in torch.split(inputs, BATCH))

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """The next batch, by name of the input; None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}
