"""Compress a few layers of a model without copying the rest of it."""

from __future__ import annotations

import copy
from collections.abc import Collection
from itertools import chain

from torch import nn

from cc_ray.compress.apply import let_work
from cc_ray.compress.base import Context
from cc_ray.compress.steps import operation_of
from cc_ray.compress.targets import Targeted
from cc_ray.recipe import Step


def compress_alone(step: Step, model: nn.Module, context: Context) -> nn.Module:
    """Make the child of a model as `apply_step` does, without its checks, to be looked at and dropped.

    Args:
        step: Operation and parameters; known to suit the model.
        model: The parent, in evaluation mode; never changed.
        context: Data, seed, ancestors; its findings are added to.

    Returns:
        The child. Where the operation is `confined`, it shares the tensors of all other modules with its parent:
        neither may be changed while both are in use.

    Raises:
        NotApplicableError: If the operation finds nothing to work on.
    """
    made = operation_of(step)
    if isinstance(made, Targeted) and made.confined:
        return let_work(made, partly_copied(model, {target.path for target in made.targets(model)}), context)
    return let_work(made, copy.deepcopy(model), context)


def partly_copied(model: nn.Module, paths: Collection[str]) -> nn.Module:
    """A copy of a model in which only some modules have tensors of their own.

    Args:
        model: The model.
        paths: Of these modules, not of what lies below them; tensors that are tied to theirs are copied once.
    """
    own = {id(tensor) for path in paths for tensor in _tensors(model.get_submodule(path), recurse=False)}
    # What deepcopy finds in its memo it takes for copied already.
    shared = {id(tensor): tensor for tensor in _tensors(model) if id(tensor) not in own}
    return copy.deepcopy(model, shared)


def _tensors(module: nn.Module, *, recurse: bool = True) -> chain[nn.Parameter | object]:
    return chain(module.parameters(recurse), module.buffers(recurse))
