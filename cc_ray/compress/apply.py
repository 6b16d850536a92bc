"""Run one step: a private copy, the operation, the checks."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from cc_ray.compress.base import Context, Finding, Operation, Representation
from cc_ray.compress.checks import check
from cc_ray.compress.representation import representation_of
from cc_ray.compress.steps import operation_of, refusal
from cc_ray.errors import InvalidRecipeError
from cc_ray.recipe import Step
from cc_ray.tasks import Split, splits_used


@dataclass(frozen=True)
class Outcome:
    """What a step made."""

    model: nn.Module
    """The child, in evaluation mode on the CPU."""
    representation: Representation
    """How it holds its weights."""
    findings: tuple[Finding, ...]
    """What the operation and the checks noticed."""
    donors: tuple[int, ...]
    """Step indices of the ancestors whose weights were taken."""
    teachers: tuple[int, ...]
    """Step indices of the ancestors whose answers were learnt from."""
    kept: Mapping[str, list[list[int]]]
    """Of tensors that lost channels, by name: for each axis the parent's indices that are left."""
    data_used: tuple[Split, ...]
    """Splits of the task's data that the operation read, as it was seen to do."""


def apply_step(step: Step, model: nn.Module, context: Context) -> Outcome:
    """Make the child of a model.

    The same step, model and seed give the same child; torch's global random state is left as it was found.

    Args:
        step: Operation and parameters.
        model: The parent; never changed.
        context: Data, seed, ancestors; its findings and donors are added to.

    Raises:
        UnknownOperationError: If nobody registered the operation.
        InvalidRecipeError: If a parameter does not fit, or the operation cannot work on weights held like these.
        NotApplicableError: If the operation finds nothing to work on.
    """
    made = operation_of(step)
    if (found := representation_of(model)) not in made.accepts:
        raise InvalidRecipeError(refusal(made, found))
    with splits_used() as used:
        child = let_work(made, copy.deepcopy(model), context)
    _unsign_zeros(child)
    context.findings.extend(check(made, model, child))
    return Outcome(
        child,
        representation_of(child),
        tuple(context.findings),
        tuple(context.donors),
        tuple(context.teachers),
        context.kept,
        tuple(sorted(used)),
    )


def let_work(made: Operation, model: nn.Module, context: Context) -> nn.Module:
    """Let an operation compress a model that is the caller's own; torch's global random state is left as it was found.

    Args:
        made: The operation; whether it can work on such a model is checked before.
        model: Changed in place, or used up.
        context: Data, seed, ancestors; its findings and donors are added to.

    Returns:
        The compressed model, in evaluation mode.

    Raises:
        NotApplicableError: If the operation finds nothing to work on.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(context.seed)
        made.suit(model)
        return made.apply(model.eval(), context).eval()


@torch.no_grad()
def _unsign_zeros(model: nn.Module) -> None:
    """Make every -0.0 a 0.0: they compute alike, but only the latter is stored as no value."""
    for parameter in model.parameters():
        if type(parameter) is nn.Parameter and parameter.is_floating_point():
            parameter.add_(0.0)
