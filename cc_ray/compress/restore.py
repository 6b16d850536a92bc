"""Put named modules back to the weights that they had after an earlier step.

Restoring part after part finds the layers whose compression did the damage.

Source: Boggust, Sivaraman, Assogba, Ren, Moritz and Hohman, 2024, "Compress and Compare: Interactively Evaluating
Efficiency and Behavior Across ML Model Compression Experiments", https://arxiv.org/abs/2408.03274 (case study 1)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from cc_ray.compress.base import Context, Family, Finding, Operation, Representation, operation
from cc_ray.compress.targets import Patterns, listed, matches, unmatched
from cc_ray.errors import NotApplicableError
from cc_ray.store.artifacts import GRID_SUFFIXES, copy_grid, is_quantized


@operation("restore")
class Restore(Operation):
    """Copies parameters and buffers of the named modules from an ancestor."""

    family: ClassVar[Family | None] = "recovery"
    accepts: ClassVar[frozenset[Representation]] = frozenset({"float", "simulated", "quantized"})
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ({"include": ["*"]}, {"include": ["*.weight"]})

    include: Annotated[Patterns, Field(min_length=1)]
    """Paths of modules, which stand for all that is below them, or of tensors such as `*.weight`."""
    from_step: Annotated[int, Field(ge=0)] = 0
    """Whose weights: 0 is the base model, k the model after k steps of the same recipe."""

    def ancestors(self) -> tuple[int, ...]:
        """The donor."""
        return (self.from_step,)

    def suit(self, model: nn.Module) -> None:
        """Make sure that a pattern names something."""
        if not any(_named(pattern, model) for pattern in self.include):
            raise NotApplicableError(self.name, f"include={listed(self.include)} matches no module; {_known(model)}.")

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Copy tensor after tensor; shapes must agree."""
        donor = context.ancestor(self.from_step)
        context.donors.append(self.from_step)
        named = {pattern: _named(pattern, donor) for pattern in self.include}
        restored = [name for name in donor.state_dict(keep_vars=True) if any(name in found for found in named.values())]
        if not restored:
            raise NotApplicableError(
                self.name, f"include={listed(self.include)} matches nothing there; {_known(donor)}."
            )
        self._check_shapes(model, donor, restored)
        for name in restored:
            _copy(model, donor, name)
        context.findings.extend(unmatched(pattern) for pattern, found in named.items() if not found)
        context.findings.append(
            Finding(
                "restored",
                "info",
                f"{len(restored)} tensors with {_size(donor, restored):,} values were restored from "
                f"{'the base model' if not self.from_step else f'the model after step {self.from_step}'}.",
            )
        )
        return model

    def _check_shapes(self, model: nn.Module, donor: nn.Module, names: list[str]) -> None:
        ours, theirs = model.state_dict(keep_vars=True), donor.state_dict(keep_vars=True)
        for name in names:
            if name not in ours:
                raise NotApplicableError(
                    self.name,
                    f"'{name}' is no longer in the model, whose layers a step after step {self.from_step} changed. "
                    "Restore from a later step or narrow include.",
                )
            if ours[name].shape != theirs[name].shape:
                raise NotApplicableError(
                    self.name,
                    f"'{name}' has shape {tuple(ours[name].shape)}, but {tuple(theirs[name].shape)} after step "
                    f"{self.from_step}: a step between changed it. Restore from a later step or narrow include.",
                )


def _named(pattern: str, model: nn.Module) -> set[str]:
    """Parameters and buffers below the modules that a pattern names, or named themselves."""
    names = {name for name in model.state_dict(keep_vars=True) if not name.endswith(GRID_SUFFIXES)}
    return {name for name in names if matches(pattern, name.rpartition(".")[0]) or matches(pattern, name)}


def _copy(model: nn.Module, donor: nn.Module, name: str) -> None:
    path, _, attribute = name.rpartition(".")
    module, other = model.get_submodule(path), donor.get_submodule(path)
    ours, theirs = getattr(module, attribute), getattr(other, attribute)
    if is_quantized(ours) or is_quantized(theirs):
        setattr(module, attribute, nn.Parameter(theirs.detach(), requires_grad=theirs.requires_grad))
    else:
        with torch.no_grad():  # in place, so that tied weights stay tied
            ours.copy_(theirs)
    copy_grid(module, other, attribute)


def _size(model: nn.Module, names: list[str]) -> int:
    state: dict[str, Tensor] = model.state_dict(keep_vars=True)
    return sum(state[name].numel() for name in names)


def _known(model: nn.Module) -> str:
    return f"it has {listed(path for path, module in model.named_modules() if module._parameters)}"
