"""Weights of 8-bit floats (E4M3) whose layers round their inputs to such floats, too."""

from __future__ import annotations

from typing import ClassVar, Final, Self

import torch
from torch import Tensor
from torch.nn import functional

from cc_ray.store.low_bit.base import ROWS, LowBit, padded

LARGEST: Final = torch.finfo(torch.float8_e4m3fn).max
"""448, the largest 8-bit float."""
CAPABILITY: Final = (8, 9)
"""Of the GPUs that multiply 8-bit floats."""
_SMALLEST: Final = torch.finfo(torch.float32).tiny


class DynamicFloat8(LowBit):
    """The weight of a linear layer whose inputs become 8-bit floats, each row with a scale of its own.

    On a GPU of compute capability 8.9 and above the layer multiplies 8-bit floats (`torch._scaled_mm`), where rows are
    as long as a multiple of 16. Elsewhere the same is rounded and floats are multiplied.

    Args:
        codes: (outputs, inputs), float8_e4m3fn.
        scale: (outputs, 1), or (1, 1) for all, float32.
    """

    parts: ClassVar[tuple[str, ...]] = ("codes", "scale")
    codes: Tensor

    @staticmethod
    def __new__(cls, codes: Tensor, scale: Tensor) -> Self:  # noqa: D102 - told above
        return torch.Tensor._make_wrapper_subclass(cls, codes.shape, dtype=scale.dtype, device=codes.device)

    def __init__(self, codes: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.codes, self.scale = codes, scale
        self._packed = None

    @classmethod
    def of(cls, values: Tensor, scale: Tensor) -> Self:
        """The tensor that stands for values.

        Args:
            values: 8-bit floats times the scale, in float32.
            scale: (outputs, 1), or (1, 1) for all, float32.

        Raises:
            ValueError: If that is not so.
        """
        if values.dim() != 2 or scale.shape not in ((len(values), 1), (1, 1)):
            raise ValueError(f"scales of shape {tuple(scale.shape)} are none of rows of {tuple(values.shape)}")
        made = cls((values / scale).to(torch.float8_e4m3fn), scale)
        if not torch.equal(made.dequantize(), values):
            raise ValueError("they are no 8-bit floats times the scale")
        return made

    @property
    def has_kernel(self) -> bool:
        """Whether rows are as long as the kernel wants them."""
        return self.shape[1] % ROWS == 0

    def dequantize(self) -> Tensor:
        """The values that it stands for."""
        return self.codes.to(self.scale.dtype) * self.scale

    def linear(self, inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """As `functional.linear`."""
        codes, scales = _rounded(inputs)
        if not (self.has_kernel and inputs.numel() and _has_kernel(inputs.device)):
            rounded = (codes.to(scales.dtype) * scales).to(inputs.dtype)
            return functional.linear(rounded, self.dequantize().to(inputs.dtype), bias)
        weights, columns, one = self._ready((), self._as_the_kernel_wants)
        # Scales that differ by row and column are multiplied afterwards: so each kind of GPU gives whole float32.
        products = torch._scaled_mm(codes.reshape(-1, codes.shape[-1]), weights.t(), one, one, out_dtype=torch.float32)
        scaled = products[:, : len(self.codes)].reshape(*inputs.shape[:-1], len(self.codes)) * scales * columns
        outputs: Tensor = scaled.to(inputs.dtype)
        return outputs if bias is None else outputs + bias

    def _as_the_kernel_wants(self) -> tuple[Tensor, Tensor, Tensor]:
        rows = padded(self.codes.view(torch.uint8)).view(torch.float8_e4m3fn)
        return rows, self.scale.flatten(), torch.ones((), device=rows.device)


def _rounded(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs, (..., n), as 8-bit floats; and the scale of each row, (..., 1), float32."""
    largest = torch.linalg.vector_norm(inputs, torch.inf, -1, keepdim=True, dtype=torch.float32)
    # A product, since GPUs divide by a number in another way than CPUs. What then is larger than the largest by a
    # rounding error becomes the largest.
    scales = (largest * (1 / LARGEST)).clamp_min(_SMALLEST)
    return (inputs / scales).to(torch.float8_e4m3fn), scales


def _has_kernel(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= CAPABILITY
