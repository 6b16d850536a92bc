"""Which weights of a model an operation works on.

Without patterns: the weights of all linear layers and convolutions. Norms, embeddings and biases stay out unless a
pattern names the tensor, because pruning a few kilobytes of normalisation weights is enough to destroy a model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, StringConstraints
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from cc_ray.compress.base import Context, Finding, Operation
from cc_ray.errors import NotApplicableError
from cc_ray.store.artifacts import is_quantized
from cc_ray.store.structure import is_transposed_linear

NORMS: Final = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
SHOWN: Final = 5
"""How many names a message lists before it only counts."""

Pattern = Annotated[str, StringConstraints(min_length=1)]
Patterns = Annotated[tuple[Pattern, ...], AfterValidator(lambda patterns: tuple(sorted(set(patterns))))]
"""Patterns with `*`, `?` and `[...]`; order and repetition mean nothing."""


@dataclass(frozen=True)
class Target:
    """One weight tensor of a model."""

    path: str
    """Path of the module; empty for the model itself."""
    attribute: str
    """Name of the tensor within the module."""
    module: nn.Module

    @property
    def name(self) -> str:
        """Name of the tensor within the model."""
        return f"{self.path}.{self.attribute}" if self.path else self.attribute

    @property
    def tensor(self) -> Tensor:
        """The tensor itself."""
        tensor: Tensor = getattr(self.module, self.attribute)
        return tensor

    @property
    def channel_axis(self) -> int:
        """The axis along which the layer's output channels lie."""
        return int(isinstance(self.module, _ConvTransposeNd) or is_transposed_linear(self.module))


class Targeted(Operation):
    """An operation on weights that patterns choose."""

    works_on: ClassVar[str] = "linear layers and convolutions"
    confined: ClassVar[bool] = False
    """Whether `apply` changes nothing but the modules of its targets: then the rest of a model need not be copied."""

    include: Patterns = ()
    """Only these: paths of modules, which stand for all that is below them. A path of a tensor, ending in `.weight` or
    `.bias`, also reaches norms, embeddings and biases. Empty: every linear layer and convolution."""
    exclude: Patterns = ()
    """Not these, in the same form."""

    def suit(self, model: nn.Module) -> None:
        """Make sure that there are targets."""
        self.targets(model)

    def targets(self, model: nn.Module, context: Context | None = None) -> list[Target]:
        """The tensors to work on, in the model's order; shared tensors once.

        Args:
            model: The model.
            context: Takes a finding for each pattern that matches nothing.

        Raises:
            NotApplicableError: If there are none.
        """
        found = [target for target in _tensors(model) if self._chosen(target)]
        for pattern in (*self.include, *self.exclude):
            if context and not any(named_by(pattern, target) for target in _tensors(model)):
                context.findings.append(unmatched(pattern))
        if not found:
            raise NotApplicableError(self.name, self._nothing(model))
        return found

    def _chosen(self, target: Target) -> bool:
        if any(named_by(pattern, target) for pattern in self.exclude):
            return False
        patterns = [pattern for pattern in self.include if named_by(pattern, target)]
        if any(_is_tensor_pattern(pattern, target) for pattern in patterns):
            return True
        return is_layer_weight(target) and bool(patterns or not self.include)

    def _nothing(self, model: nn.Module) -> str:
        if not (self.include or self.exclude):
            return "it has no linear layer and no convolution with float weights."
        names = [target.path for target in _tensors(model) if is_layer_weight(target)]
        return (
            f"include={listed(self.include)} and exclude={listed(self.exclude)} leave no layer. "
            f"Its layers are {listed(names)}."
        )


def is_norm(module: nn.Module) -> bool:
    """Whether it normalises: of torch, or one that a model brings along, such as `LlamaRMSNorm`."""
    return isinstance(module, NORMS) or type(module).__name__.endswith("Norm")


def is_layer(module: nn.Module) -> bool:
    """Whether it is a linear layer or a convolution."""
    return isinstance(module, nn.Linear | _ConvNd) or is_transposed_linear(module)


def is_layer_weight(target: Target) -> bool:
    """Whether it is the weight of a linear layer or convolution that no embedding shares."""
    return target.attribute == "weight" and is_layer(target.module)


def layer_weights(model: nn.Module) -> list[Target]:
    """Float weights of all linear layers and convolutions, in the model's order."""
    return [target for target in _tensors(model) if is_layer_weight(target)]


def matches(pattern: str, path: str) -> bool:
    """Whether a pattern names a module, or one that it lies in."""
    return fnmatchcase(path, pattern) or fnmatchcase(path, f"{pattern}.*")


def listed(names: Iterable[str]) -> str:
    """Names for a message: the first few and how many more."""
    known = list(names)
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return ", ".join(f"'{name}'" for name in known[:SHOWN]) + more or "nothing"


def unmatched(pattern: str) -> Finding:
    """What to say of a pattern that names nothing."""
    return Finding(
        "pattern_unmatched", "warning", f"the pattern '{pattern}' matches nothing in this model; check its spelling."
    )


def _tensors(model: nn.Module) -> Iterator[Target]:
    """Every float parameter once; what an embedding shares comes as the embedding's."""
    embedded = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    seen: set[int] = set()
    for path, module in model.named_modules():
        for attribute, tensor in module._parameters.items():
            if tensor is None or id(tensor) in seen or is_quantized(tensor) or not tensor.is_floating_point():
                continue
            if id(tensor) in embedded and not isinstance(module, nn.Embedding):
                continue
            seen.add(id(tensor))
            yield Target(path, attribute, module)


def named_by(pattern: str, target: Target) -> bool:
    """Whether a pattern names a target: the module, one that it lies in, or the tensor."""
    return matches(pattern, target.path) or _is_tensor_pattern(pattern, target)


def _is_tensor_pattern(pattern: str, target: Target) -> bool:
    ends_in_tensor = pattern.rpartition(".")[2] in {"weight", "bias", target.attribute}
    return ends_in_tensor and fnmatchcase(target.name, pattern)
