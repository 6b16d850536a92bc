from collections.abc import Callable, Sequence
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from cc_ray.search.smallest import Found, Set, Test, Verdict, by_need, cut_down, shortest_run, smallest

MEMBERS = tuple("abcdefg")
KINDS = {member: "vowel" if member in "ae" else "consonant" for member in MEMBERS}


def counted(passes: Callable[[Set], bool], merit: Callable[[Set], float] = len) -> tuple[Test, dict[Set, Verdict]]:
    """A test that remembers, and what it was asked for the first time."""
    known: dict[Set, Verdict] = {}

    def test(sets: Sequence[Set]) -> list[Verdict]:
        return [known.setdefault(each, Verdict(passes(each), (merit(each),))) for each in sets]

    return test, known


def find(passes: Callable[[Set], bool], budget: int = 10_000) -> Found:
    test, _ = counted(passes)
    return smallest(MEMBERS, test, kinds=KINDS, budget=budget, width=4)


def brute_force(passes: Callable[[Set], bool]) -> int | None:
    """Size of the smallest set that passes."""
    for size in range(len(MEMBERS) + 1):
        if any(passes(frozenset(each)) for each in combinations(MEMBERS, size)):
            return size
    return None


@given(st.frozensets(st.frozensets(st.sampled_from(MEMBERS)), min_size=1, max_size=4))
def test_of_what_needs_some_members_the_smallest_set_is_found_and_proved(needs: frozenset[Set]) -> None:
    found = find(lambda chosen: any(need <= chosen for need in needs))

    assert found.members is not None and found.is_smallest
    assert len(found.members) == min(map(len, needs)) and frozenset(found.members) in needs


@given(st.sets(st.frozensets(st.sampled_from(MEMBERS)), max_size=40), st.integers(0, 30))
def test_whatever_passes_what_is_said_of_an_answer_is_true(passing: set[Set], budget: int) -> None:
    def passes(chosen: Set) -> bool:
        return chosen in passing

    found, size = find(passes, budget), brute_force(passes)

    assert size is None or found.failing_size < size
    if found.members is not None:
        assert frozenset(found.members) in passing
        assert found.is_smallest == (len(found.members) == found.failing_size + 1)
        assert not found.is_smallest or len(found.members) == size
        assert not any(frozenset(found.members) - {each} in passing for each in found.members)


def test_without_a_budget_a_set_is_minimal_and_said_to_be_no_more() -> None:
    found = find(lambda chosen: chosen >= {"b", "c", "d"} or chosen >= {"f", "g"}, budget=0)

    assert found.members is not None
    assert found.is_smallest == (len(found.members) == 2)
    assert found.failing_size == 1


def test_members_stand_in_their_own_order() -> None:
    assert find(lambda chosen: chosen >= {"e", "b"}).members == ("b", "e")


def test_all_of_a_kind_are_tried() -> None:
    members = [f"layer{place}" for place in range(40)]
    kinds = {member: "norm" if member.endswith("3") else "linear" for member in members}
    norms = frozenset(member for member in members if kinds[member] == "norm")
    # More than them fail too: no run of the most needed members passes.
    test, _ = counted(lambda chosen: chosen == norms, merit=lambda chosen: 0.0)

    assert set(smallest(members, test, kinds=kinds, budget=0, width=4).members or ()) == norms


def test_the_shortest_run_is_found_by_bisection() -> None:
    members = [str(number) for number in range(100)]
    test, known = counted(lambda chosen: len(chosen) >= 61)

    assert len(shortest_run(members, test)) == 61
    assert len(known) < 25


def test_the_most_needed_come_first() -> None:
    test, _ = counted(lambda chosen: False, merit=lambda chosen: -2.0 * ("c" not in chosen) - ("e" not in chosen))

    assert by_need(MEMBERS, test)[:2] == ["c", "e"]


def test_what_can_be_spared_together_is_left_out_together() -> None:
    members = [str(number) for number in range(50)]
    test, known = counted(lambda chosen: {"7", "30"} <= chosen)

    assert set(cut_down(members, test)) == {"7", "30"}
    assert len(known) < 110


def test_of_no_members_nothing_is_found() -> None:
    test, _ = counted(lambda chosen: False)

    assert smallest([], test, kinds={}, budget=10, width=4) == Found(None, 0)
