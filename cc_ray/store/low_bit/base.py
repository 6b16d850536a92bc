"""What the kinds of tensor share that hold a layer's weight in low bits.

Such a tensor stands where a layer's float weight stood. The layer's forward stays as it is; the tensor answers the call
of torch's function for it. To everything else it is the float values that it stands for, and it cannot be changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_map

ROWS: Final = 16
"""Kernels want the rows of a weight in multiples of it: zeros stand below those that there are."""


class LowBit(Tensor):
    """A weight in low bits; its parts are given by position when one is made, and `told` by name.

    A kind has a method for each function of torch that it answers: `linear`, `conv2d`.
    """

    parts: ClassVar[tuple[str, ...]]
    """Names of the tensors that it is made of."""
    scale: Tensor
    """What its numbers are multiplied by, float32."""
    _packed: tuple[Any, tuple[Any, ...]] | None

    def dequantize(self) -> Tensor:
        """The values that it stands for, float32."""
        # Each kind has its own; tensors have a metaclass of theirs, which leaves no room for an abstract one.
        raise NotImplementedError

    @property
    def told(self) -> dict[str, int]:
        """What one needs to know besides the parts."""
        return {}

    @property
    def has_kernel(self) -> bool:
        """Whether kernels take a weight of this shape; else the values that it stands for are multiplied."""
        return True

    def _ready(self, key: Any, pack: Callable[[], tuple[Any, ...]]) -> tuple[Any, ...]:
        """The weight as kernels want it, made when it is first needed."""
        if self._packed is None or self._packed[0] != key:
            # What some kernels pack has no memory that a mode could look at, as those do that count bytes.
            with _disable_current_modes():
                self._packed = key, pack()
        return self._packed[1]

    def _mapped(self, function: Callable[[Tensor], Tensor]) -> Self:
        return type(self)(*(function(getattr(self, part)) for part in self.parts), **self.told)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        copied: Tensor = self._mapped(Tensor.clone)
        memo[id(self)] = nn.Parameter(copied, requires_grad=False) if isinstance(self, nn.Parameter) else copied
        return cast(Tensor, memo[id(self)])

    def __repr__(self, **_: Any) -> str:  # type: ignore[override] # torch's own is not typed alike
        return f"{type(self).__name__}({tuple(self.shape)}, {self.device})"

    def __tensor_flatten__(self) -> tuple[list[str], dict[str, int]]:
        """The tensors that it is made of, for torch."""
        return list(self.parts), self.told

    @classmethod
    def __tensor_unflatten__(cls, parts: Mapping[str, Tensor], told: Mapping[str, int], size: Any, stride: Any) -> Self:
        """The other way round."""
        return cls(*(parts[part] for part in cls.parts), **told)

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        answer = getattr(cls, _ANSWERS.get(func, ""), None)
        if answer is not None and isinstance(weight := args[1], cls):
            with torch.no_grad():
                return answer(weight, *args, **(kwargs or {}))
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


def padded(rows: Tensor) -> Tensor:
    """With rows of zeros up to a multiple of `ROWS`; (n, ...)."""
    return torch.cat((rows, rows.new_zeros(-len(rows) % ROWS, *rows.shape[1:])))


def _without_type(told: Mapping[str, Any]) -> dict[str, Any]:
    """Where tensors are moved, their parts keep their types."""
    return {"dtype": None} if "dtype" in told else {}


_aten: Final = torch.ops.aten
_COPIES: Final = frozenset({_aten.detach.default, _aten.clone.default, _aten.alias.default, _aten._to_copy.default})
_ANSWERS: Final[dict[Any, str]] = {functional.linear: "linear", functional.conv2d: "conv2d"}
"""The functions of torch that a kind may answer itself, by the name of its method."""
