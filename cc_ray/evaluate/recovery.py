"""Recovery: what becomes of a model when some of its modules are put back to the weights of an ancestor.

Nothing is copied: the modules of the two models change places for as long as one answers. What comes out is what a step
of the operation `restore` makes. Nothing here knows of a cluster: `search/bisect.py` does the same in many processes.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from torch import nn

from cc_ray.compress.checks import same_values
from cc_ray.evaluate.judge import Judge, sqnr_db
from cc_ray.evaluate.stored_model import StoredModel
from cc_ray.recipe import identity
from cc_ray.store.artifacts import GRID_SUFFIXES


@dataclass(frozen=True)
class Unit:
    """What can only be put back together: one module, or several that share a tensor."""

    modules: tuple[str, ...]
    """Their paths; what lies below them does not belong to it."""
    include: tuple[str, ...]
    """Patterns that name the same to `restore`."""
    kind: str
    """Class of the first module."""

    @property
    def name(self) -> str:
        """Path of the first module."""
        return self.modules[0]


@dataclass(frozen=True)
class Units:
    """The modules that differ between two models of one architecture."""

    able: tuple[Unit, ...]
    """Those that can be put back, in the model's order."""
    left_out: tuple[str, ...]
    """Paths of those whose tensors have other shapes or are not in both, or that are tied to one whose have."""


def differing(model: nn.Module, donor: nn.Module) -> Units:
    """Find the modules that differ.

    Args:
        model: The younger model.
        donor: An ancestor of the same architecture.
    """
    mine, theirs = _tensors(model), _tensors(donor)
    able, left_out = [], []
    for group in _tied(mine):
        if any(mine[path].keys() != theirs.get(path, {}).keys() for path in group):
            left_out += group
            continue
        tensors = [(mine[path][name], theirs[path][name]) for path in group for name in mine[path]]
        if any(ours.shape != other.shape for ours, other in tensors):
            left_out += group
        elif not all(same_values(ours, other) for ours, other in tensors):
            able.append(_unit(model, group, mine))
    left_out += [path for path in theirs if path not in mine]
    return Units(tuple(able), tuple(left_out))


@contextmanager
def put_back(model: nn.Module, donor: nn.Module, modules: Collection[str]) -> Iterator[None]:
    """Let modules of two models change places while the block runs, what lies below them not included.

    Args:
        model: Has the donor's modules meanwhile.
        donor: Has the model's.
        modules: Paths.
    """
    pairs = [(model.get_submodule(path), donor.get_submodule(path)) for path in modules]
    _swap(pairs)
    try:
        yield
    finally:
        _swap(pairs)


@dataclass(frozen=True)
class Mixture:
    """A model with some modules put back."""

    model_id: str
    parent_id: str
    modules: tuple[str, ...]
    """Paths, in order of name."""

    @property
    def key(self) -> str:
        """Names the batch of its rows."""
        return identity("recovery", self.model_id, self.parent_id, list(self.modules))


class Mixer:
    """A model and an ancestor whose modules can be put back: both and the data are loaded once.

    Args:
        stored: The model.
        parent: The ancestor.
    """

    def __init__(self, stored: StoredModel, parent: StoredModel) -> None:
        self._model, self._donor = stored.load(), parent.load()
        self._judge = Judge(stored)
        self._own = self._judge.answers(self._donor).outputs

    def measure(self, mixture: Mixture) -> list[dict[str, Any]]:
        """Rows of `schema.RECOVERIES`, one a metric."""
        start = time.perf_counter()
        with put_back(self._model, self._donor, mixture.modules):
            answers = self._judge.answers(self._model)
            values = self._judge.values(self._model, answers)
        row = {
            "model_id": mixture.model_id,
            "parent_id": mixture.parent_id,
            "modules": list(mixture.modules),
            "output_sqnr_db": sqnr_db(answers.outputs, self._own),
            "duration_s": time.perf_counter() - start,
            "at": datetime.now(UTC),
        }
        return [row | {"metric": name, "value": value.value} for name, value in values.items()]


def _tensors(model: nn.Module) -> dict[str, dict[str, Any]]:
    """Tensors by path of their module and name within it, in the model's order; grids go with what lies on them."""
    found: dict[str, dict[str, Any]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        path, _, attribute = name.rpartition(".")
        if not name.endswith(GRID_SUFFIXES):
            found.setdefault(path, {})[attribute] = tensor
    return found


def _tied(tensors: dict[str, dict[str, Any]]) -> list[list[str]]:
    """Paths, those together that share a tensor."""
    groups: dict[str, list[str]] = {}
    owner: dict[int, str] = {}
    for path, held in tensors.items():
        group = groups[path] = [path]
        for tensor in held.values():
            other = groups[owner.setdefault(id(tensor), path)]
            if other is not group:
                other += group
                groups |= dict.fromkeys(group, other)
                group = other
    return list({id(group): group for group in groups.values()}.values())


def _unit(model: nn.Module, group: Sequence[str], tensors: dict[str, dict[str, Any]]) -> Unit:
    include = [name for path in group for name in _include(path, tensors)]
    return Unit(tuple(group), tuple(include), type(model.get_submodule(group[0])).__name__)


def _include(path: str, tensors: dict[str, dict[str, Any]]) -> list[str]:
    """The path alone, unless it stands for modules below it too: then the tensors."""
    above = f"{path}." if path else ""
    if path and not any(other.startswith(above) for other in tensors):
        return [path]
    return [f"{above}{name}" for name in tensors[path]]


def _swap(pairs: Sequence[tuple[nn.Module, nn.Module]]) -> None:
    """Exchange all that modules hold but for the modules below them."""
    for ours, theirs in pairs:
        below, theirs_below = ours._modules, theirs._modules
        ours.__dict__, theirs.__dict__ = theirs.__dict__, ours.__dict__
        ours._modules, theirs._modules = below, theirs_below
