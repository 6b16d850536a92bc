"""How a model's architecture differs from the base model as built: a list of changes that the model itself carries.

An operation changes modules by `change` alone. Saving writes the list into the file's header; loading replays it on
the base model as built, by the same functions, and then fills in the tensors. A change is data: a kind of the closed
list here, the path of a module that is there, whole numbers. No code, class or free attribute comes from a file, and
nothing takes memory by it: what a change makes has no values until the file's own tensors are put there.

Paths keep their meaning: what is taken out of a list leaves a gap in its numbers, the others are not renamed. Layers of
two models that have the same name are the same layer, and can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from cc_ray.store.weights import Change

Numbers = Mapping[str, int]


class Factors(nn.Sequential):
    """Two layers in place of one."""

    @property
    def weight(self) -> Tensor:
        """For code that asks a layer for its weight's type, place or shape; whoever computes with it gets NaN."""
        pair: tuple[Any, Any] = (self[0], self[1])
        first, last = (layer._parameters["weight"] for layer in pair)
        shape = (len(last), first.shape[1], *(max(pair) for pair in zip(first.shape[2:], last.shape[2:], strict=True)))
        return torch.full((), torch.nan, dtype=last.dtype, device=last.device).expand(shape)


Make = Callable[[nn.Module, Numbers], nn.Module | None]
"""Takes the module and the change's numbers; gives what takes its place, or None where nothing does."""

NUMBERS: Final = frozenset(
    {
        "all_head_size", "embed_dim", "head_dim", "inner_dim", "layer_idx", "n_heads", "num_attention_heads",
        "num_heads", "num_key_value_groups", "num_key_value_heads", "split_size",
    }
)  # fmt: skip
"""Attributes of attention modules that shapes do not tell: the only ones that a file may set."""

_CHANGES: Final = "_cc_ray_changes"
_kinds: Final[dict[str, Make]] = {}


def change(model: nn.Module, kind: str, path: str, **numbers: int) -> nn.Module | None:
    """Change the module at a path, and let the model carry that.

    New layers hold no values yet: the caller gives them tensors, of any length, and calls `fit`.

    Args:
        model: Changed in place.
        kind: One of `kinds()`.
        path: Of the module.
        numbers: What the kind takes.

    Returns:
        What stands at the path now; None where nothing does.

    Raises:
        ValueError: If there is no such kind or module, or it is not one that can be changed like this.
    """
    return _replayed(model, Change(kind=kind, path=path, numbers=numbers))


def changes_of(model: nn.Module) -> tuple[Change, ...]:
    """How a model differs from the base model as built, in the order in which it was changed."""
    found: tuple[Change, ...] = vars(model).get(_CHANGES, ())
    return found


def replay(model: nn.Module, changes: Iterable[Change]) -> None:
    """Change a base model as built as another was changed.

    Raises:
        ValueError: As `change`.
    """
    for each in changes:
        _replayed(model, each)


def kinds() -> tuple[str, ...]:
    """Names of all kinds of change."""
    return tuple(_kinds)


def fit(module: nn.Module) -> None:
    """Make a module's own numbers agree with the shape of its weight."""
    weight = module._parameters.get("weight")
    if weight is None:
        return
    if isinstance(module, nn.LayerNorm):
        module.normalized_shape = tuple(weight.shape)
    if is_transposed_linear(module):
        module.__dict__.update(zip(("nx", "nf"), weight.shape, strict=True))
    names = next((names for kind, names in _AXES.items() if isinstance(module, kind)), ())
    for axis, name in enumerate(names):
        length = weight.shape[axis]
        setattr(module, name, length * module.groups if isinstance(module, _ConvNd) and axis == 1 else length)


def is_transposed_linear(module: nn.Module) -> bool:
    """Whether it is transformers' `Conv1D`, whose weight lies as (inputs, outputs)."""
    return type(module).__name__ == "Conv1D" and "nf" in vars(module)


def _replayed(model: nn.Module, asked: Change) -> nn.Module | None:
    if asked.kind not in _kinds:
        raise ValueError(f"'{asked.kind}' is no kind of change; known are {', '.join(_kinds)}")
    owner, _, name = asked.path.rpartition(".")
    try:
        holder = model.get_submodule(owner)
        module = holder._modules[name]
    except (AttributeError, KeyError):
        raise ValueError(f"there is no module '{asked.path}'") from None
    if module is None:
        raise ValueError(f"there is no module '{asked.path}'")
    if asked.kind == "removed" and not isinstance(holder, nn.ModuleList | nn.Sequential):
        raise ValueError(f"'{asked.path}' is no member of a list of modules")
    try:
        made = _kinds[asked.kind](module, asked.numbers)
    except ValueError as error:
        raise ValueError(f"'{asked.path}' is a {type(module).__name__}: {error}") from None
    if made is None:
        del holder._modules[name]
    else:
        holder._modules[name] = made.train(module.training)
    setattr(model, _CHANGES, (*changes_of(model), asked))
    return made


def _kind(name: str) -> Callable[[Make], Make]:
    def add(make: Make) -> Make:
        _kinds[name] = make
        return make

    return add


@_kind("removed")
def _removed(module: nn.Module, numbers: Numbers) -> None:
    """A member of a list is gone; the others keep their names."""
    _expect(numbers, ())


@_kind("identity")
def _identity(module: nn.Module, numbers: Numbers) -> nn.Module:
    """A batch norm is gone: another layer does its work."""
    _expect(numbers, ())
    if not isinstance(module, _BatchNorm):
        raise ValueError("a batch norm is expected")
    return nn.Identity()


@_kind("bias")
def _bias(module: nn.Module, numbers: Numbers) -> nn.Module:
    """A layer without bias has one."""
    _expect(numbers, ())
    if not isinstance(module, nn.Linear | _ConvNd) or module.bias is not None:
        raise ValueError("a linear layer or convolution without bias is expected")
    length = module.out_features if isinstance(module, nn.Linear) else module.out_channels
    module.bias = nn.Parameter(module.weight.new_zeros(length), module.weight.requires_grad)
    return module


@_kind("factored")
def _factored(module: nn.Module, numbers: Numbers) -> nn.Module:
    """A layer is two that follow each other; of a convolution the first has its kernel and the second is 1x1."""
    _expect(numbers, ())
    if isinstance(module, nn.Linear) or is_transposed_linear(module):
        return _two_linear(module)
    convolution = _plain_convolution(module)
    kernel = {"kernel_size": convolution.kernel_size, "stride": convolution.stride, "padding": convolution.padding}
    return _two_convolutions(convolution, {**kernel, "dilation": convolution.dilation}, {"kernel_size": 1})


@_kind("separated")
def _separated(module: nn.Module, numbers: Numbers) -> nn.Module:
    """A convolution of two axes is two: the first has the kernel's height, the second its width."""
    _expect(numbers, ())
    convolution = _plain_convolution(module)
    if not isinstance(convolution, nn.Conv2d) or isinstance(convolution.padding, str):
        raise ValueError("a convolution of two axes whose padding is given in numbers is expected")
    told = {name: getattr(convolution, name) for name in ("kernel_size", "stride", "padding", "dilation")}
    neutral = {"kernel_size": 1, "stride": 1, "padding": 0, "dilation": 1}
    first = {name: (pair[0], neutral[name]) for name, pair in told.items()}
    second = {name: (neutral[name], pair[1]) for name, pair in told.items()}
    return _two_convolutions(convolution, first, second)


@_kind("numbers")
def _numbers(module: nn.Module, numbers: Numbers) -> nn.Module:
    """Whole numbers that a module holds besides its tensors are smaller than they were."""
    _expect(numbers, NUMBERS)
    for name, value in numbers.items():
        before = vars(module).get(name)
        if type(before) is not int or not 0 <= value <= before:
            raise ValueError(f"{name}={value} does not fit, it has {before}")
        setattr(module, name, value)  # a name of NUMBERS
    return module


def _expect(numbers: Numbers, names: Iterable[str]) -> None:
    if unknown := sorted(set(numbers) - set(names)):
        raise ValueError(f"a change like this takes no number '{unknown[0]}'")


def _two_linear(module: nn.Module) -> nn.Module:
    weight: Any = module.weight
    inward, outward = weight.shape if is_transposed_linear(module) else weight.shape[::-1]
    told = {"device": "meta", "dtype": weight.dtype}
    first = nn.Linear(inward, 1, bias=False, **told)
    second = nn.Linear(1, outward, bias=module.bias is not None, **told)
    return Factors(first, second).requires_grad_(weight.requires_grad)


def _two_convolutions(module: _ConvNd, first: Mapping[str, Any], second: Mapping[str, Any]) -> nn.Module:
    kind: Any = type(module)
    told = {"padding_mode": module.padding_mode, "device": "meta", "dtype": module.weight.dtype}
    before = kind(module.in_channels, 1, bias=False, **first, **told)
    after = kind(1, module.out_channels, bias=module.bias is not None, **second, **told)
    return Factors(before, after).requires_grad_(module.weight.requires_grad)


def _plain_convolution(module: nn.Module) -> _ConvNd:
    if not isinstance(module, _ConvNd) or isinstance(module, _ConvTransposeNd) or module.groups != 1:
        raise ValueError("a linear layer, or a convolution with one group, is expected")
    return module


_AXES: Final[dict[type[nn.Module], tuple[str, ...]]] = {
    nn.Linear: ("out_features", "in_features"),
    nn.Embedding: ("num_embeddings", "embedding_dim"),
    nn.GroupNorm: ("num_channels",),
    nn.modules.batchnorm._NormBase: ("num_features",),
    _ConvTransposeNd: ("in_channels", "out_channels"),
    _ConvNd: ("out_channels", "in_channels"),
}
"""What the lengths of a weight's axes are called on its module; the first kind that fits counts."""
