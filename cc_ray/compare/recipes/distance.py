"""How far two recipes are from each other, and which of their steps belong together.

The distance is the smallest cost of turning one sequence of steps into the other: a step that only one of them has
costs 1, and two steps of one operation that are matched cost the mean difference of their parameters, in [0, 1]. Steps
of different operations are never matched.

Source: Needleman, Wunsch, 1970, "A general method applicable to the search for similarities in the amino acid sequence
of two proteins".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cc_ray.compare.recipes.traits import Taken, is_number

Costs = list[float]
"""Cost of reaching each prefix of the target, the empty one first."""

OTHER_BASE: Final = 1.0
"""What another base model adds to the distance of two recipes."""
OTHER_SEED: Final = 0.5
"""What another seed adds."""


def aligned(first: Sequence[Taken], second: Sequence[Taken]) -> list[tuple[int | None, int | None]]:
    """Places of steps that belong together, in order; None where only the other has one."""
    costs = [_start(second)]
    for step in first:
        costs.append(_next(costs[-1], step, second))
    pairs: list[tuple[int | None, int | None]] = []
    i, j = len(first), len(second)
    while i or j:
        if i and j and costs[i][j] == costs[i - 1][j - 1] + step_distance(first[i - 1], second[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif i and costs[i][j] == costs[i - 1][j] + 1:
            i -= 1
            pairs.append((i, None))
        else:
            j -= 1
            pairs.append((None, j))
    return pairs[::-1]


def distances(target: Sequence[Taken], others: Iterable[Sequence[Taken]]) -> list[float]:
    """Distance of each recipe from the target; what recipes begin with alike is reckoned once.

    Args:
        target: Steps of one recipe.
        others: Steps of the others, read by one `Reader`.
    """
    root = _Prefix(_start(target))
    found = []
    for steps in others:
        prefix = root
        for step in steps:
            following = prefix.following.get(id(step))
            if following is None:
                following = prefix.following[id(step)] = _Prefix(_next(prefix.costs, step, target))
            prefix = following
        found.append(prefix.costs[-1])
    return found


def step_distance(first: Taken, second: Taken) -> float:
    """Mean difference of the parameters of two steps of one operation, in [0, 1]; infinite between operations."""
    if first[0] != second[0]:
        return float("inf")
    if first[1] is second[1]:
        return 0.0
    keys = first[1].keys() | second[1].keys()
    return sum(_value_distance(first[1].get(key), second[1].get(key)) for key in sorted(keys)) / len(keys)


@dataclass
class _Prefix:
    """A beginning that several recipes share."""

    costs: Costs
    following: dict[int, _Prefix] = field(default_factory=dict)
    """By identity of the next step."""


def _start(target: Sequence[Taken]) -> Costs:
    return [float(place) for place in range(len(target) + 1)]


def _next(before: Costs, step: Taken, target: Sequence[Taken]) -> Costs:
    costs = [before[0] + 1]
    for place, other in enumerate(target):
        matched = before[place] + step_distance(step, other)
        costs.append(min(matched, before[place + 1] + 1, costs[place] + 1))
    return costs


def _value_distance(first: Any, second: Any) -> float:
    """0 for equal values, 1 for different ones; numbers differ relative to the larger, by 1 at most."""
    if first == second:
        return 0.0
    if not (is_number(first) and is_number(second)):
        return 1.0
    return float(min(1.0, abs(first - second) / max(abs(first), abs(second))))
