"""Models that were made alike but for one parameter."""

from pathlib import Path
from typing import Any

from cc_ray.compare.recipes.lineage import edges
from cc_ray.compare.recipes.sweeps import sweeps
from cc_ray.recipe import Step
from cc_ray.store import Store
from cc_ray.views import open_views
from tests.compare.small import add_model, new_store


def pruned(sparsity: float, scope: str = "global") -> Step:
    return Step("magnitude_pruning", {"sparsity": sparsity, "scope": scope})


def family(root: Path, *steps: Step) -> Store:
    store = new_store(root)
    add_model(store, "base00")
    for place, step in enumerate(steps):
        add_model(store, f"child{place}", parent="base00", steps=[step])
    return store


def members(root: Path) -> list[tuple[str, Any, list[str]]]:
    """Operation and parameter of each sweep, and its models in order."""
    found: dict[str, tuple[str, Any, list[str]]] = {}
    for row in sweeps(open_views(root)).to_pylist():
        found.setdefault(row["sweep"], (row["operation"], row["parameter"], []))[2].append(row["model_id"])
    return list(found.values())


def test_siblings_that_differ_in_one_parameter_are_a_sweep_in_its_order(tmp_path: Path) -> None:
    family(tmp_path, pruned(0.9), pruned(0.1), pruned(0.5), pruned(0.5, "layer"))

    assert members(tmp_path) == [("magnitude_pruning", "sparsity", ["child1", "child2", "child0"])]


def test_two_are_no_sweep(tmp_path: Path) -> None:
    family(tmp_path, pruned(0.9), pruned(0.1), Step("calibrate", {"batches": 1}))

    assert members(tmp_path) == []


def test_what_one_step_made_of_a_sweep_is_a_sweep(tmp_path: Path) -> None:
    store = family(tmp_path, pruned(0.1), pruned(0.5), pruned(0.9))
    tuned = Step("fine_tune", {"epochs": 1})
    for place, sparsity in enumerate((0.1, 0.5, 0.9)):
        add_model(store, f"tuned{place}", parent=f"child{place}", steps=[pruned(sparsity), tuned])

    assert members(tmp_path) == [
        ("magnitude_pruning", "sparsity", ["child0", "child1", "child2"]),
        ("fine_tune", "sparsity", ["tuned0", "tuned1", "tuned2"]),
    ]


def test_a_model_is_in_the_largest_of_its_sweeps_alone(tmp_path: Path) -> None:
    grid = [pruned(sparsity, scope) for sparsity in (0.1, 0.2, 0.3, 0.4) for scope in ("global", "layer", "block")]
    family(tmp_path, *grid)

    found = members(tmp_path)

    assert [(parameter, len(ids)) for _, parameter, ids in found] == [("sparsity", 4)] * 3
    assert len({id for _, _, ids in found for id in ids}) == 12


def test_edges_tell_their_roles(tmp_path: Path) -> None:
    family(tmp_path, pruned(0.1))

    (row,) = edges(open_views(tmp_path)).to_pylist()
    assert (row["child"], row["parent"], row["role"], row["operation"]) == (
        "child0", "base00", "parent", "magnitude_pruning",
    )  # fmt: skip
