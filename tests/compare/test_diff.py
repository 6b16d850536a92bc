from pathlib import Path
from typing import Any

import pytest

from cc_ray.compare.recipes.diff import nearest, only_what_differs
from cc_ray.compare.recipes.distance import aligned, distances
from cc_ray.compare.recipes.traits import Reader, Taken
from cc_ray.errors import ModelNotFoundError
from cc_ray.recipe import Step
from cc_ray.store import Store
from cc_ray.views import open_views
from tests.compare.small import add_model, new_store


def prune(sparsity: float, scope: str = "global") -> Step:
    return Step("prune", {"sparsity": sparsity, "scope": scope})


TUNE = Step("tune", {"epochs": 1})
QUANTIZE = Step("quantize", {"bits": 8})


def read(*recipes: list[Step]) -> list[list[Taken]]:
    reader = Reader()
    return [[reader.step(step.to_json()) for step in steps] for steps in recipes]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return new_store(tmp_path, directions={"accuracy": "higher", "size_bytes": "lower"})


def differing(store: Store, model: str, other: str) -> dict[tuple[str, str], dict[str, Any]]:
    rows = only_what_differs(open_views(store.root), model, other).to_pylist()
    return {(row["kind"], row["name"]): row for row in rows}


def test_steps_of_one_operation_belong_together() -> None:
    first, second = read([prune(0.5), TUNE, QUANTIZE], [prune(0.9), QUANTIZE, TUNE])

    assert aligned(first, first) == [(0, 0), (1, 1), (2, 2)]
    assert aligned(first, second) == [(0, 0), (None, 1), (1, 2), (2, None)]
    assert aligned(first, []) == [(0, None), (1, None), (2, None)]


def test_the_distance_counts_steps_and_parts_of_parameters() -> None:
    target, *others = read(
        [prune(0.5), TUNE], [prune(0.5), TUNE], [prune(0.5)], [prune(0.25), TUNE], [prune(0.5, "layer"), TUNE], []
    )

    # Of a step's three values, scope, sparsity and version, one differs: by half, or wholly.
    assert distances(target, others) == pytest.approx([0, 1, 0.5 / 3, 1 / 3, 2])


def test_equal_models_have_no_rows(store: Store) -> None:
    for model_id in ("one", "two"):
        add_model(store, model_id, steps=[TUNE], metrics={"accuracy": 0.5})

    assert differing(store, "one", "two") == {}


def test_recipes_are_told_apart_step_by_step(store: Store) -> None:
    add_model(store, "one", steps=[prune(0.5), TUNE])
    add_model(store, "two", base="vit", steps=[prune(0.9), QUANTIZE])

    found = differing(store, "one", "two")

    assert {key: (row["value"], row["other_value"]) for key, row in found.items()} == {
        ("base", "base"): ("net", "vit"),
        ("parameter", "prune sparsity"): ("0.5", "0.9"),
        ("step", "tune"): ("tune(epochs=1)", None),
        ("step", "quantize"): (None, "quantize(bits=8)"),
    }
    assert found["parameter", "prune sparsity"]["difference"] == pytest.approx(-0.4)
    assert found["step", "tune"]["meaning"] == "only the model has this step, as its step 2 of 2."


def test_metrics_say_whether_their_intervals_overlap(store: Store) -> None:
    add_model(store, "one", metrics={"accuracy": (0.9, 0.88, 0.92), "size_bytes": 10.0})
    add_model(store, "near", metrics={"accuracy": (0.89, 0.87, 0.91), "size_bytes": 10.0})
    add_model(store, "far", metrics={"accuracy": (0.5, 0.48, 0.52)})

    near, far = differing(store, "one", "near"), differing(store, "one", "far")

    assert list(near) == [("metric", "accuracy")]
    row = near["metric", "accuracy"]
    assert (row["difference"], row["within_noise"]) == (pytest.approx(0.01), True)
    assert row["meaning"] == "Accuracy: 0.9 against 0.89 (+0.01, the intervals overlap)."
    assert far["metric", "accuracy"]["within_noise"] is False
    lacking = far["metric", "size_bytes"]
    assert (lacking["value"], lacking["other_value"], lacking["difference"]) == ("10", None, None)
    assert lacking["meaning"] == "Size_bytes was measured of the model only."


def test_metadata_is_told_apart_with_its_unit(tmp_path: Path) -> None:
    store = new_store(tmp_path, tasks=("digits-1", "letters-1"))
    add_model(store, "one")
    add_model(store, "two", seed=3, task_id="letters-1")

    found = differing(store, "one", "two")

    assert list(found) == [("metadata", "task_id"), ("metadata", "seed")]
    assert (found["metadata", "seed"]["value"], found["metadata", "seed"]["other_value"]) == ("0", "3")


def test_the_nearest_models_come_first_and_only_of_the_same_task(tmp_path: Path) -> None:
    store = new_store(tmp_path, tasks=("digits-1", "letters-1"))
    add_model(store, "model", steps=[prune(0.5)])
    add_model(store, "tuned", steps=[prune(0.5), TUNE])
    add_model(store, "harder", steps=[prune(0.6)])
    add_model(store, "again", steps=[prune(0.5)], seed=1)
    add_model(store, "other", steps=[prune(0.5)], base="vit")
    add_model(store, "foreign", steps=[prune(0.5)], task_id="letters-1")
    views = open_views(tmp_path)

    found = nearest(views, "model")

    assert found["model_id"].to_pylist() == ["harder", "again", "tuned", "other"]
    assert found["distance"].to_pylist() == pytest.approx([0.1 / 0.6 / 3, 0.5, 1, 1])
    assert nearest(views, "model", 1)["model_id"].to_pylist() == ["harder"]


def test_an_unknown_model_is_an_error(store: Store) -> None:
    add_model(store, "one")
    views = open_views(store.root)

    with pytest.raises(ModelNotFoundError):
        only_what_differs(views, "one", "gone")
    with pytest.raises(ModelNotFoundError):
        nearest(views, "gone")
