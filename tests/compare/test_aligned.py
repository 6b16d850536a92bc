from pathlib import Path

import numpy as np
import pytest

from cc_ray.compare.behaviour.aligned import aligned
from cc_ray.errors import NotComparableError
from cc_ray.recipe import Recipe
from cc_ray.store import Store
from cc_ray.views import open_views
from tests.compare.drawn import add_classes
from tests.compare.small import add_model, answers, model_row, new_store


def add_at(store: Store, model_id: str, instances: list[int], right: list[bool]) -> None:
    """A model that answers only these instances of class 0."""
    rows = [
        {"model_id": model_id, "instance": at, "label": 0, "prediction": 0 if correct else 1, "correct": correct}
        | {"confidence": 0.9, "true_probability": 0.9, "loss": 0.1, "margin": 0.8, "entropy": 0.3}
        | {"probabilities": [0.9, 0.1]}
        for at, correct in zip(instances, right, strict=True)
    ]
    store.publish("step", model_id, {"models": [model_row(model_id, Recipe("net"))], "predictions": rows})


def test_answers_stand_at_the_places_of_the_bases_instances(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_at(store, "base", [2, 3, 5, 8], [True, True, False, True])
    add_at(store, "child", [1, 3, 5, 8, 9], [True, False, True, True, True])

    found = aligned(open_views(tmp_path), ["child"], "base")

    assert found.ids == ("base", "child")
    assert found.instances.tolist() == [2, 3, 5, 8]
    assert found.answered[1].tolist() == [False, True, True, True]
    assert found.lost[1].tolist() == [False, True, False, False]
    assert found.gained[1].tolist() == [False, False, True, False]
    assert found.base_correct[1].tolist() == [False, True, False, True]
    assert not (found.lost[0] | found.gained[0]).any()
    assert found.rows(["child", "base"]).tolist() == [1, 0]


def test_unknown_numbers_are_nan(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "base", labels=[0, 1], probabilities=answers([0, 1]))
    add_classes(store, "classes", [0, 1], np.array([0, 1]))

    confidence = aligned(open_views(tmp_path), ["classes"], "base", ("correct", "confidence")).columns["confidence"]

    np.testing.assert_allclose(confidence, [[0.8, 0.8], [np.nan, np.nan]])


def test_models_without_a_common_instance_are_refused(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_at(store, "base", [1, 2], [True, True])
    add_at(store, "child", [3, 4], [True, True])

    with pytest.raises(NotComparableError, match="child and the base base answered no instance in common"):
        aligned(open_views(tmp_path), ["child"], "base")
