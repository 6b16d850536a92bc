"""Weights of whole numbers of 7 bits whose layers take inputs of 8 bits."""

from __future__ import annotations

from typing import Any, ClassVar, Final, Self

import torch
from torch import Tensor
from torch.nn import functional

from cc_ray.store.low_bit.base import LowBit

TOP: Final = 63
"""Weights are whole numbers from -63 to 63: processors without VNNI add the products of two pairs in 16 bits, which
weights of 7 bits and inputs of 8 never overflow. So a model gives the same answers on all of them."""
LEVELS: Final = 255
"""Inputs are whole numbers from 0 to 255."""


class StaticInt8(LowBit):
    """The weight of a linear layer or convolution of two axes whose inputs become 8-bit integers of a fixed scale.

    On a CPU the layer multiplies integers (oneDNN). Elsewhere the same is rounded and floats are multiplied.

    Args:
        steps: The weight in whole multiples of the scale, int8 from -63 to 63.
        scale: One for each output channel, (channels, 1, ...), float32.
        input: Scale and zero point of the inputs, (2,), float32: x stands for round(x / scale + zero point).
    """

    parts: ClassVar[tuple[str, ...]] = ("steps", "scale", "input")
    steps: Tensor
    input: Tensor

    @staticmethod
    def __new__(cls, steps: Tensor, scale: Tensor, input: Tensor) -> Self:  # noqa: D102 - told above
        return torch.Tensor._make_wrapper_subclass(cls, steps.shape, dtype=scale.dtype, device=steps.device)

    def __init__(self, steps: Tensor, scale: Tensor, input: Tensor) -> None:
        super().__init__()
        self.steps, self.scale, self.input = steps, scale, input
        self._taken = float(input[0]), int(input[1])
        self._half = torch.tensor(self._taken[1] + 0.5)
        self._packed = None

    @classmethod
    def of(cls, values: Tensor, scale: Tensor, input: Tensor) -> Self:
        """The tensor that stands for values, whole multiples of a scale."""
        return cls((values / scale).round().to(torch.int8), scale, input)

    def dequantize(self) -> Tensor:
        """The values that it stands for."""
        return self.steps.to(self.scale.dtype) * self.scale

    def linear(self, inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """As `functional.linear`."""
        if inputs.device.type != "cpu":
            return functional.linear(self._rounded(inputs), self.dequantize(), bias)
        packed, scales, zeros = self._ready(
            (), lambda: (torch.ops.onednn.qlinear_prepack(self.steps, None), *self._by_channel())
        )
        scale, zero = self._taken
        outputs: Tensor = torch.ops.onednn.qlinear_pointwise(
            self._integers(inputs).reshape(-1, inputs.shape[-1]), scale, zero, packed, scales, zeros, bias,
            1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        return outputs.view(*inputs.shape[:-1], -1)

    def conv2d(
        self,
        inputs: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        """As `functional.conv2d`; padding is given in numbers."""
        if inputs.device.type != "cpu":
            whole = self.dequantize()
            return functional.conv2d(self._rounded(inputs), whole, bias, stride, padding, dilation, groups)
        told = _pair(stride), _pair(padding), _pair(dilation), groups
        scale, zero = self._taken
        prepack = torch.ops.onednn.qconv_prepack
        packed, scales, zeros = self._ready(
            told,
            lambda: (prepack(self.steps, self.scale.flatten(), scale, zero, *told, None), *self._by_channel()),
        )
        outputs: Tensor = torch.ops.onednn.qconv_pointwise(
            self._integers(inputs), scale, zero, packed, scales, zeros, bias, *told, 1.0, 0, torch.float32,
            "none", [], "",
        )  # fmt: skip
        return outputs

    def _integers(self, inputs: Tensor) -> Tensor:
        # What is cut off after a half was added is what rounding gives.
        half = self._half if inputs.device.type == "cpu" else self._half.to(inputs.device)
        return torch.add(half, inputs, alpha=1 / self._taken[0]).clamp_(0, LEVELS).to(torch.uint8)

    def _rounded(self, inputs: Tensor) -> Tensor:
        scale, zero = self._taken
        return (self._integers(inputs).to(inputs.dtype) - zero) * scale

    def _by_channel(self) -> tuple[Tensor, Tensor]:
        """Scales and zero points."""
        return self.scale.flatten(), torch.zeros(len(self.steps), dtype=torch.int32)


def _pair(value: Any) -> tuple[int, ...]:
    return (value, value) if isinstance(value, int) else tuple(value)
