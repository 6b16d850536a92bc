"""Selections of the research prototype's own results, against what it made of them."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from cc_ray.compare import differences, models
from cc_ray.imports.compress_and_compare import import_results
from cc_ray.store import Store
from cc_ray.views import Views, open_views

CIFAR: Final = Path(__file__).parents[2].parent / "shared" / "data" / "compress_and_compare" / "cifar10_resnet20.json"
DRAWN: Final = 40
PROTOTYPE: Final = {2: 0.53, 3: 0.10, 4: 0.01, 6: 0.0, 8: 0.02, 12: 0.0, 16: 0.0}
"""Share of random selections that the prototype told apart by one or two variables, by number of models."""


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Views:
    if not CIFAR.exists():
        pytest.skip(f"{CIFAR.name} is not on this machine")
    store = Store(tmp_path_factory.mktemp("cifar"), create=True)
    import_results(store, CIFAR)
    return open_views(store.root)


def variables(views: Views, ids: Sequence[str]) -> int:
    """How many there are; every selection must be told apart wholly."""
    found = differences(views, ids)
    names = found.variables["variable"].to_pylist()
    assert len({tuple(row[name] for name in names) for row in found.labels.to_pylist()}) == len(ids)
    return len(names)


def children(views: Views) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in models(views).select(["model_id", "parent"]).to_pylist():
        if row["parent"]:
            found.setdefault(row["parent"], []).append(row["model_id"])
    return found


def subtree(model_id: str, made: dict[str, list[str]]) -> list[str]:
    return [model_id, *(one for child in made.get(model_id, []) for one in subtree(child, made))]


@pytest.mark.parametrize("count", list(PROTOTYPE))
def test_random_selections_are_told_apart_by_few_variables_more_often_than_before(cifar: Views, count: int) -> None:
    ids, rng = models(cifar)["model_id"].to_pylist(), random.Random(count)

    found = [variables(cifar, rng.sample(ids, count)) for _ in range(DRAWN)]

    few = sum(number <= 2 for number in found) / DRAWN
    assert few > PROTOTYPE[count]
    assert count > 8 or few >= 0.9


def test_children_of_a_node_are_one_variable(cifar: Views) -> None:
    found = [variables(cifar, its) for its in children(cifar).values() if len(its) > 1]

    assert sum(number == 1 for number in found) >= len(found) - 1
    assert max(found) <= 2


def test_a_node_with_its_children_and_whole_subtrees_are_two_variables_at_most(cifar: Views) -> None:
    made = children(cifar)
    nodes = [[parent, *its] for parent, its in made.items()]
    subtrees = [found for parent in made if len(found := subtree(parent, made)) <= 16]

    assert max(variables(cifar, ids) for ids in [*nodes, *subtrees]) <= 2


@pytest.mark.parametrize("column", ["step_index", "operation"])
def test_columns_of_the_map_are_two_variables_at_most(cifar: Views, column: str) -> None:
    groups: dict[object, list[str]] = {}
    for row in models(cifar).select(["model_id", column]).to_pylist():
        groups.setdefault(row[column], []).append(row["model_id"])

    assert max(variables(cifar, ids) for ids in groups.values() if 1 < len(ids) <= 16) <= 2
