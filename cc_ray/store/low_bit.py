"""Weights that layers hold and compute with in low bits, as a kind of tensor.

Such a tensor stands where a layer's float weight stood. The layer's forward stays as it is; the tensor answers the call
of torch's function for it. To everything else it is the float values that it stands for, and it cannot be changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_map

TOP: Final = 63
"""Weights are whole numbers from -63 to 63: processors without VNNI add the products of two pairs in 16 bits, which
weights of 7 bits and inputs of 8 never overflow. So a model gives the same answers on all of them."""
LEVELS: Final = 255
"""Inputs are whole numbers from 0 to 255."""


class StaticInt8(Tensor):
    """The weight of a linear layer or convolution of two axes whose inputs become 8-bit integers of a fixed scale.

    On a CPU the layer multiplies integers (oneDNN). Elsewhere the same is rounded and floats are multiplied.

    Args:
        steps: The weight in whole multiples of the scale, int8 from -63 to 63.
        scale: One for each output channel, (channels, 1, ...), float32.
        input: Scale and zero point of the inputs, (2,), float32: x stands for round(x / scale + zero point).
    """

    steps: Tensor
    scale: Tensor
    input: Tensor

    @staticmethod
    def __new__(cls, steps: Tensor, scale: Tensor, input: Tensor) -> Self:  # noqa: D102 - told above
        return torch.Tensor._make_wrapper_subclass(cls, steps.shape, dtype=scale.dtype, device=steps.device)

    def __init__(self, steps: Tensor, scale: Tensor, input: Tensor) -> None:
        super().__init__()
        self.steps, self.scale, self.input = steps, scale, input
        self._taken = float(input[0]), int(input[1])
        self._half = torch.tensor(self._taken[1] + 0.5)
        self._packed: tuple[Any, Tensor, Tensor, Tensor] | None = None

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
        packed, scales, zeros = self._ready((), lambda: torch.ops.onednn.qlinear_prepack(self.steps, None))
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
        packed, scales, zeros = self._ready(
            told, lambda: torch.ops.onednn.qconv_prepack(self.steps, self.scale.flatten(), scale, zero, *told, None)
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

    def _ready(self, key: Any, pack: Callable[[], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Weight, scales and zero points as kernels want them, made when they are first needed."""
        if self._packed is None or self._packed[0] != key:
            # What the kernel packs has no memory that a mode could look at, as those do that count bytes.
            with _disable_current_modes():
                self._packed = key, pack(), self.scale.flatten(), torch.zeros(len(self.steps), dtype=torch.int32)
        return self._packed[1:]

    def _mapped(self, function: Callable[[Tensor], Tensor]) -> Self:
        return type(self)(function(self.steps), function(self.scale), function(self.input))

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        copied: Tensor = self._mapped(Tensor.clone)
        memo[id(self)] = nn.Parameter(copied, requires_grad=False) if isinstance(self, nn.Parameter) else copied
        return cast(Tensor, memo[id(self)])

    def __repr__(self, **_: Any) -> str:  # type: ignore[override] # torch's own is not typed alike
        return f"{type(self).__name__}({tuple(self.shape)}, input scale {self._taken[0]:.4g}, zero {self._taken[1]})"

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        """The tensors that it is made of, for torch."""
        return ["steps", "scale", "input"], None

    @classmethod
    def __tensor_unflatten__(cls, parts: Mapping[str, Tensor], told: None, size: Any, stride: Any) -> Self:
        """The other way round."""
        return cls(**parts)

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in _ANSWERS and isinstance(weight := args[1], cls):
            with torch.no_grad():
                return _ANSWERS[func](weight, *args, **(kwargs or {}))
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(  # type: ignore[override] # torch's own is not typed alike
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        told = dict(kwargs or {})
        if func in _COPIES:
            return args[0]._mapped(lambda part: func(part, *args[1:], **told | _without_type(told)))
        if func._schema.is_mutable:
            raise TypeError(f"{func} would change a weight that is held in low bits, which cannot be changed")
        args, told = tree_map(lambda each: each.dequantize() if isinstance(each, cls) else each, (args, told))
        return func(*args, **told)


def _without_type(told: Mapping[str, Any]) -> dict[str, Any]:
    """Where tensors are moved, their parts keep their types."""
    return {"dtype": None} if "dtype" in told else {}


def _pair(value: Any) -> tuple[int, ...]:
    return (value, value) if isinstance(value, int) else tuple(value)


_aten: Final = torch.ops.aten
_COPIES: Final = frozenset({_aten.detach.default, _aten.clone.default, _aten.alias.default, _aten._to_copy.default})
_ANSWERS: Final[dict[Any, Callable[..., Tensor]]] = {
    functional.linear: StaticInt8.linear,
    functional.conv2d: StaticInt8.conv2d,
}
"""The functions of torch that it answers itself."""
