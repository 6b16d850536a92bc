"""Smallest sets: exact where they are few, greedy and then cut down beyond.

Given members and a test that sets of them pass or fail, find the smallest set that passes. Passing is not taken to be
monotone: a larger set may fail. So a set is called the smallest only where every smaller one was tested.

1. Every member alone. If one passes, it is the smallest set.
2. All but one, for each member: the worse that is, the more the member is needed. The shortest run of the most needed
   ones that passes is found by bisection; all members of one kind are tried beside it.
3. The smallest set so far is cut down until no member can be left out: it is 1-minimal (Zeller and Hildebrandt).
4. Sets of two, then of three and so on while they are smaller than that, within a budget of tests, those of the most
   needed members first. One that passes is the smallest; if all were tested and none does, the set of step 3 is.

Ranking by what is lost without a member, not by what it brings alone, matters where many are needed together: each of
them alone brings nothing. On pruned vision transformers it led to sets of 12 and 8, the other order to 19 and 14.

Source: Zeller and Hildebrandt, 2002, "Simplifying and Isolating Failure-Inducing Input", IEEE Transactions on Software
Engineering 28(2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, islice
from math import comb
from typing import Final

_CUTS: Final = 7
"""Lengths that are tested at once in a bisection."""


@dataclass(frozen=True)
class Verdict:
    """What a test says of a set."""

    passes: bool
    merit: tuple[float, ...]
    """How good it is: of two that pass, or of two members alone, the larger is the better."""


Set = frozenset[str]
Test = Callable[[Sequence[Set]], Sequence[Verdict]]
"""Tests sets, several at once; remembers what it tested."""


@dataclass(frozen=True)
class Found:
    """The answer."""

    members: tuple[str, ...] | None
    """The set, in the order of the members; None where no set that was tested passes."""
    failing_size: int
    """Every set of so many members or fewer was tested and fails; -1 for none."""

    @property
    def is_smallest(self) -> bool:
        """Whether it is known that no smaller set passes."""
        return self.members is not None and self.failing_size >= len(self.members) - 1


def smallest(members: Sequence[str], test: Test, *, kinds: Mapping[str, str], budget: int, width: int) -> Found:
    """Find the smallest set of members that passes.

    Args:
        members: All there are; without repetition.
        test: The test.
        kinds: Kind by member.
        budget: So many sets may be tested in step 4.
        width: So many sets are tested at once where the first that passes is enough.
    """
    if test([frozenset()])[0].passes:
        return Found((), -1)
    alone = [frozenset([member]) for member in members]
    if (single := best_of(alone, test)) is not None:
        return Found(tuple(single), 0)
    needed = by_need(members, test)
    start = _start(needed, kinds, test)
    if start is None:
        return Found(None, min(1, len(members)))
    known = cut_down([member for member in needed if member in start], test)
    found = _exact(needed, known, test, budget, width)
    return replace(found, members=tuple(member for member in members if member in (found.members or ())))


def best_of(sets: Sequence[Set], test: Test) -> Set | None:
    """Of the sets that pass the smallest, of equals the best; None where none passes."""
    passing = [(each, verdict) for each, verdict in zip(sets, test(sets), strict=True) if verdict.passes]
    return min(passing, key=lambda pair: (len(pair[0]), [-merit for merit in pair[1].merit]))[0] if passing else None


def by_need(members: Sequence[str], test: Test) -> list[str]:
    """Members in the order of how bad all the others are without them, worst first."""
    verdicts = test([frozenset(members) - {member} for member in members])
    return [member for member, _ in sorted(zip(members, verdicts, strict=True), key=lambda pair: pair[1].merit)]


def shortest_run(members: Sequence[str], test: Test) -> Sequence[str]:
    """The first so many members that pass, by bisection; all of them, which are known to pass, at most.

    Where passing is not monotone, a shorter run may pass too.
    """
    low, high = 0, len(members)
    while high - low > 1:
        lengths = sorted({low + (high - low) * part // (_CUTS + 1) for part in range(1, _CUTS + 1)} - {low, high})
        verdicts = test([frozenset(members[:length]) for length in lengths])
        high = next((length for length, verdict in zip(lengths, verdicts, strict=True) if verdict.passes), high)
        low = max([low, *(length for length in lengths if length < high)])
    return members[:high]


def cut_down(members: Sequence[str], test: Test) -> Sequence[str]:
    """Leave members of a set that passes out until it would fail without any one of them."""
    while len(members) > 1:
        whole = frozenset(members)
        verdicts = zip(members, test([whole - {member} for member in members]), strict=True)
        spare = sorted(((verdict.merit, member) for member, verdict in verdicts if verdict.passes), reverse=True)
        # Each can be left out alone; how many of them together?
        fewer = best_of([whole - {member for _, member in spare[:count]} for count in range(1, len(spare) + 1)], test)
        if fewer is None:
            break
        members = [member for member in members if member in fewer]
    return members


def _start(needed: Sequence[str], kinds: Mapping[str, str], test: Test) -> Set | None:
    """A small set that passes; None where none was found."""
    whole = frozenset(needed)
    alike = [frozenset(each for each in needed if kinds[each] == kind) for kind in dict.fromkeys(kinds.values())]
    larger = [whole, *(whole - {member} for member in needed)]
    run = [frozenset(shortest_run(needed, test))] if needed and test([whole])[0].passes else []
    return best_of(list(dict.fromkeys([*run, *alike, *larger])), test) if needed else None


def _exact(needed: Sequence[str], known: Sequence[str], test: Test, budget: int, width: int) -> Found:
    """Look for a set smaller than one that is known."""
    for size in range(2, len(known)):
        count = comb(len(needed), size)
        sets = map(frozenset, islice(combinations(needed, size), budget))
        while wave := list(islice(sets, width)):
            if (passing := best_of(wave, test)) is not None:
                return Found(tuple(passing), size - 1)
        if count > budget:
            return Found(tuple(known), size - 1)
        budget -= count
    return Found(tuple(known), len(known) - 1)
