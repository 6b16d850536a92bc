from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from cc_ray.compare.behaviour.exemplars import exemplars
from cc_ray.errors import ModelNotFoundError, NotComparableError
from cc_ray.views import Views, open_views
from tests.compare.drawn import add_classes, real_predictions
from tests.compare.small import add_model, answers, new_store

LABELS = [0, 1, 2, 0, 1]
BASES = {"b1": [0, 1, 2, 0, 1], "b2": [0, 1, 2, 1, 1], "b3": [0, 2, 2, 0, 1]}
COMPRESSED = {"c1": [1, 1, 2, 0, 1], "c2": [1, 2, 2, 2, 0], "c3": [1, 2, 2, 1, 2]}
"""Modal: 1, 2, 2, a tie of all three with the base's 0, a tie of all three with the base's 1."""


def filled(root: Path, models: dict[str, list[int]]) -> Views:
    store = new_store(root)
    for model_id, predictions in models.items():
        add_model(store, model_id, labels=LABELS, probabilities=answers(predictions))
    return open_views(root)


def test_instances_whose_modal_prediction_changes_are_found(tmp_path: Path) -> None:
    found = exemplars(filled(tmp_path, BASES | COMPRESSED), COMPRESSED, BASES).to_pylist()

    assert [row["instance"] for row in found] == [0, 1]
    assert [(row["base_prediction_name"], row["prediction_name"]) for row in found] == [("zero", "one"), ("one", "two")]
    assert [(row["base_agreement"], row["agreement"]) for row in found] == [(1, 1), (2 / 3, 2 / 3)]
    assert [(row["base_correct"], row["correct"], row["tied"]) for row in found] == [(True, False, False)] * 2
    assert [row["label_name"] for row in found] == ["zero", "one"]


def test_a_tie_makes_no_exemplar_unless_the_base_has_no_part_in_it(tmp_path: Path) -> None:
    models = {"b1": [0, 1, 2, 0, 1], "c1": [0, 2, 1, 0, 1], "c2": [1, 0, 1, 0, 1]}

    found = exemplars(filled(tmp_path, models), ["c1", "c2"], ["b1"]).to_pylist()

    assert [(row["instance"], row["prediction"], row["tied"]) for row in found] == [(2, 1, False), (1, 0, True)]


def test_of_two_modal_predictions_of_the_base_the_first_class_counts(tmp_path: Path) -> None:
    models = {"b1": [2, 1, 2, 0, 1], "b2": [1, 1, 2, 0, 1], "c1": [2, 1, 2, 0, 1]}

    found = exemplars(filled(tmp_path, models), ["c1"], ["b1", "b2"]).to_pylist()

    assert [(row["instance"], row["base_prediction"], row["prediction"], row["tied"]) for row in found] == [
        (0, 1, 2, True)
    ]


def test_populations_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    views = filled(tmp_path, BASES)

    with pytest.raises(NotComparableError, match="the compressed population has no models"):
        exemplars(views, [], BASES)
    with pytest.raises(NotComparableError, match="the base population has no models"):
        exemplars(views, BASES, [])
    with pytest.raises(NotComparableError, match="b1 cannot be in both populations"):
        exemplars(views, ["b1"], BASES)
    with pytest.raises(ModelNotFoundError):
        exemplars(views, ["gone"], BASES)


def test_real_networks_give_what_scipy_counts(tmp_path: Path) -> None:
    labels, predictions = real_predictions()
    store = new_store(tmp_path)
    ids = [add_classes(store, name, labels, classes) for name, classes in predictions.items()]

    found = exemplars(open_views(tmp_path), ids[:1], ids[1:])

    every = np.stack([predictions[name] for name in ids[1:]])
    changed = np.flatnonzero(stats.mode(every).mode != predictions[ids[0]])
    np.testing.assert_array_equal(np.sort(found["instance"].to_numpy()), changed)
