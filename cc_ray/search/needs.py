"""What the steps of a search space ask of the cluster, and which of it no node has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from cc_ray.errors import InvalidRecipeError
from cc_ray.recipe import BASE_STEP
from cc_ray.resources import Resources
from cc_ray.search.space import SearchSpace

LATENCY: Final = "latency"
"""Stands for the timing of models among the operations."""
_REST: Final = "*"

Needs = Mapping[str, Resources]
"""By operation, with `train base` and `latency`."""


def needs_of(space: SearchSpace, operations: Iterable[str]) -> Needs:
    """What each operation of a space asks for: what the space says, else the operation itself, else the task.

    Args:
        space: The search space.
        operations: Names of those that its recipes use.

    Raises:
        InvalidRecipeError: If the space says something of what it does not use.
    """
    # Imported here: those who only wait for steps need no torch.
    from cc_ray.compress import operations as registered
    from cc_ray.tasks import tasks

    usual = tasks[space.task].resources
    own = {name: registered[name].resources or usual for name in operations} | {BASE_STEP: usual, LATENCY: usual}
    for name in space.resources:
        if name not in own and name != _REST:
            raise InvalidRecipeError(
                f"search space '{space.name}': 'resources' names '{name}'; allowed: "
                f"'{_REST}', {', '.join(sorted(own))}."
            )
    rest = space.resources.get(_REST)
    return {name: space.resources.get(name) or rest or asked for name, asked in own.items()}


def options(asked: Resources) -> dict[str, Any]:
    """The same as options of a Ray task."""
    found = {"num_cpus": asked.cpus, "num_gpus": asked.gpus, "resources": dict(asked.custom)}
    if asked.memory_bytes:
        found["memory"] = asked.memory_bytes
    if asked.accelerator_type:
        found["accelerator_type"] = asked.accelerator_type
    return found


def without_node(needs: Needs, nodes: Iterable[Mapping[str, float]]) -> Needs:
    """What no node has; Ray would let it wait for ever.

    Args:
        needs: What the steps ask for.
        nodes: What each node has, by Ray's names.
    """
    there = list(nodes)
    return {name: asked for name, asked in needs.items() if not any(_has(node, asked) for node in there)}


def _has(node: Mapping[str, float], asked: Resources) -> bool:
    wanted = {"CPU": asked.cpus, "GPU": asked.gpus, "memory": float(asked.memory_bytes), **asked.custom}
    if asked.accelerator_type:
        wanted[f"accelerator_type:{asked.accelerator_type}"] = 0.001
    return all(node.get(kind, 0.0) >= amount for kind, amount in wanted.items())
