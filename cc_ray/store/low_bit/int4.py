"""Weights of 4-bit integers, with a scale and a lowest number for each group of inputs of an output.

Kernels of torch multiply them as they are: `_weight_int4pack_mm_for_cpu` on CPUs, `_weight_int4pack_mm` (tinygemm) on
GPUs of compute capability 8.0 and above. Both take inputs, scales and zeros in bfloat16, multiply by a weight that is
rounded to bfloat16, and give bfloat16. (On a CPU there is one for float32, 75 times slower than float32 itself.)
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, Self

import torch
from torch import Tensor
from torch.nn import functional

from cc_ray.store.grid import fits, run_length
from cc_ray.store.low_bit.base import LowBit, padded

GROUPS: Final = (32, 64, 128, 256)
"""Lengths of groups that kernels take."""
CODES: Final = 16
"""Numbers of 4 bits."""
CAPABILITY: Final = (8, 0)
"""Of the GPUs that the kernel is made for."""
_MIDDLE: Final = CODES // 2
"""What kernels take from a code before they scale it."""


class GroupedInt4(LowBit):
    """The weight of a linear layer: (code + lowest number) * scale, each group of inputs with its own of both.

    Where kernels take its shape, the layer multiplies the codes, in bfloat16. Elsewhere the values that they stand for
    are multiplied in the inputs' own type.

    Args:
        codes: (outputs, inputs / 2), uint8; the upper half of a byte comes first.
        scale: (outputs, groups), float32. Kernels use it as it is if it has 5 significant bits.
        lowest: (outputs, groups), int8 from -15 to 0: what code 0 stands for, in multiples of the scale.
        length: How many inputs there are.
    """

    parts: ClassVar[tuple[str, ...]] = ("codes", "scale", "lowest")
    codes: Tensor
    lowest: Tensor

    @staticmethod
    def __new__(cls, codes: Tensor, scale: Tensor, lowest: Tensor, length: int) -> Self:  # noqa: D102 - told above
        shape = len(codes), length
        return torch.Tensor._make_wrapper_subclass(cls, shape, dtype=scale.dtype, device=codes.device)

    def __init__(self, codes: Tensor, scale: Tensor, lowest: Tensor, length: int) -> None:
        super().__init__()
        self.codes, self.scale, self.lowest = codes, scale, lowest
        self._length = length
        self._packed = None

    @classmethod
    def of(cls, values: Tensor, scale: Tensor) -> Self:
        """The tensor that stands for values; the same values and scales always give the same one.

        Args:
            values: Whole multiples of the scale, of which a group and 0 span at most 15; (outputs, inputs), float32.
            scale: (outputs, groups), float32; the runs of inputs that groups are, as `store.grid` has them.

        Raises:
            ValueError: If that is not so.
        """
        if values.dim() != 2 or not fits(tuple(scale.shape), tuple(values.shape)) or len(scale) != len(values):
            raise ValueError(f"scales of shape {tuple(scale.shape)} are none of groups of {tuple(values.shape)}")
        length = values.shape[1]
        run = run_length(length, scale.shape[1])
        steps = (values / _spread(scale, run, length)).round()
        # 0 in the places that the last group lacks: 0 is among the numbers of each group anyway.
        grouped = functional.pad(steps, (0, scale.shape[1] * run - length)).view(*scale.shape, run)
        low, high = grouped.amin(2).clamp_max(0), grouped.amax(2).clamp_min(0)
        if not (high - low < CODES).all() or not torch.equal(steps * _spread(scale, run, length), values):
            raise ValueError(f"they are no {CODES} numbers of a grid for each group")
        # Centred where that is possible: then the kernels' zero is 0, which is added for nothing.
        lowest = torch.minimum((high - CODES + 1).clamp_min(-_MIDDLE), low)
        codes = (grouped - lowest.unsqueeze(2)).to(torch.uint8).flatten(1)[:, :length]
        return cls(_pack(codes), scale, lowest.to(torch.int8), length)

    @property
    def told(self) -> dict[str, int]:
        """The number of inputs, which bytes of two codes do not tell."""
        return {"length": self._length}

    @property
    def group(self) -> int:
        """Inputs in a group."""
        return run_length(self._length, self.scale.shape[1])

    @property
    def has_kernel(self) -> bool:
        """Whether groups are as long as kernels want them and fill the rows."""
        return self.group in GROUPS and self._length % self.group == 0

    def dequantize(self) -> Tensor:
        """The values that it stands for."""
        lowest, scale = (_spread(each, self.group, self._length) for each in (self.lowest, self.scale))
        return (self._unpacked() + lowest) * scale

    def linear(self, inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """As `functional.linear`."""
        multiply = _kernel(inputs.device) if self.has_kernel and inputs.numel() else None
        if multiply is None:
            return functional.linear(inputs, self.dequantize().to(inputs.dtype), bias)
        codes, scales = self._ready(inputs.device.type, lambda: self._as_kernels_want(inputs.device))
        rows = inputs.reshape(-1, self._length).to(torch.bfloat16).contiguous()
        outputs: Tensor = multiply(rows, codes, self.group, scales)[:, : len(self.codes)].to(inputs.dtype)
        outputs = outputs.reshape(*inputs.shape[:-1], len(self.codes))
        return outputs if bias is None else outputs + bias

    def _as_kernels_want(self, device: torch.device) -> tuple[Tensor, Tensor]:
        # A kernel's value is (code - 8) * scale + zero. Zeros of scales of 5 bits have 8, as bfloat16 does.
        zeros = (self.lowest + _MIDDLE) * self.scale
        scales = padded(torch.stack((self.scale, zeros), 2)).transpose(0, 1).to(torch.bfloat16).contiguous()
        if device.type == "cpu":
            codes = padded(self._unpacked()).int()
            return torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes, 1), scales
        # How many tiles of 16 inputs lie together: they must fill the rows.
        tiles = next(tiles for tiles in (8, 4, 2) if self._length % (16 * tiles) == 0)
        return torch.ops.aten._convert_weight_to_int4pack(padded(self.codes), tiles), scales

    def _unpacked(self) -> Tensor:
        """One code a byte, (outputs, inputs)."""
        return torch.stack((self.codes >> 4, self.codes & (CODES - 1)), 2).flatten(1)[:, : self._length]


def _kernel(device: torch.device) -> Any:
    """What multiplies on such a device; None if nothing does."""
    if device.type == "cpu":
        return torch.ops.aten._weight_int4pack_mm_for_cpu
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= CAPABILITY:
        return torch.ops.aten._weight_int4pack_mm
    return None


def _pack(codes: Tensor) -> Tensor:
    """Two codes a byte, the first in its upper half; one that is alone has 0 beside it."""
    pairs = functional.pad(codes, (0, codes.shape[1] % 2)).view(len(codes), -1, 2)
    return pairs[..., 0] << 4 | pairs[..., 1]


def _spread(entries: Tensor, run: int, length: int) -> Tensor:
    """The entry of its group for each input."""
    return entries.repeat_interleave(run, 1)[:, :length]
