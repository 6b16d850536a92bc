"""How long statistical questions take: `pytest -m benchmark -s tests/benchmarks/test_statistics.py`."""

import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from cc_ray import compare
from cc_ray.compare.behaviour.accuracy import accuracy_tests, same_accuracy
from cc_ray.compare.behaviour.calibration import calibration, reliability
from cc_ray.compare.behaviour.exemplars import exemplars
from cc_ray.compare.behaviour.repeats import noise_floor, one_seed_warning
from cc_ray.compare.behaviour.slices import slice_behaviours, worst_slices
from cc_ray.compare.behaviour.transitions import confusion_matrices, error_overlap, lost_overlap, transition_matrix
from cc_ray.views import Views, open_views
from tests.benchmarks.make_predictions import make_predictions
from tests.benchmarks.make_store import make_store

MODELS, INSTANCES = 65, 10_000
CONDITIONS = {"unsure": "confidence < 0.6", "large": "octet_length(payload) > 200"}
BASELINE = "SELECT model_id, avg(correct::INT), avg(confidence), avg(loss) FROM predictions GROUP BY model_id"
QUESTIONS: dict[str, Callable[[Views, list[str]], Any]] = {
    "calibration, all models": lambda v, ids: calibration(v, ids),
    "reliability, all models": lambda v, ids: reliability(v, ids),
    "reliability, equal mass": lambda v, ids: reliability(v, ids, "mass"),
    "exemplars, 60 against 5": lambda v, ids: exemplars(v, ids[5:], ids[:5]),
    "slice_behaviours, all models": lambda v, ids: slice_behaviours(v, ids, ids[0]),
    "slice_behaviours, 2 conditions": lambda v, ids: slice_behaviours(v, ids, ids[0], conditions=CONDITIONS),
    "worst_slices": lambda v, ids: worst_slices(v, ids[5], ids[0]),
    "transition_matrix": lambda v, ids: transition_matrix(v, ids[5], ids[0]),
    "transition_matrix, by label": lambda v, ids: transition_matrix(v, ids[5], ids[0], by_label=True),
    "confusion_matrices, all models": lambda v, ids: confusion_matrices(v, ids),
    "error_overlap, 8 models": lambda v, ids: error_overlap(v, ids[2:10], ids[0]),
    "lost_overlap, all models": lambda v, ids: lost_overlap(v, ids, ids[0]),
    "noise_floor, all models": lambda v, ids: noise_floor(v),
    "one_seed_warning, all models": lambda v, ids: one_seed_warning(v, ids, ids[0]),
    "accuracy_tests, all models": lambda v, ids: accuracy_tests(v, ids, ids[0]),
    "same_accuracy, all models": lambda v, ids: same_accuracy(v, ids),
}


@pytest.mark.benchmark
def test_statistics(tmp_path_factory: pytest.TempPathFactory) -> None:
    store = make_store(tmp_path_factory.mktemp("store"), models=MODELS, instances=INSTANCES)
    views = open_views(store.root)
    ids = compare.models(views)["model_id"].to_pylist()
    baseline = min(_seconds(lambda v, ids: v.sql(BASELINE), views, ids) for _ in range(3))
    sys.stdout.write(f"\nbaseline, means in SQL: {1000 * baseline:.1f} ms\n")

    for name, ask in QUESTIONS.items():
        seconds = [_seconds(ask, views, ids) for _ in range(3)]
        sys.stdout.write(
            f"{name:32} first {1000 * seconds[0]:7.1f} ms  best {1000 * min(seconds):7.1f} ms  "
            f"{min(seconds) / baseline:5.1f} x baseline\n"
        )


@pytest.mark.benchmark
def test_calibration_of_many_classes(tmp_path_factory: pytest.TempPathFactory) -> None:
    store = make_predictions(tmp_path_factory.mktemp("store"), models=3, instances=20_000, classes=1_000, record=False)
    views = open_views(store.root)
    ids = compare.models(views)["model_id"].to_pylist()
    baseline = _seconds(lambda v, ids: v.sql("SELECT sum(len(probabilities)) FROM predictions"), views, ids)
    seconds = _seconds(lambda v, ids: calibration(v, ids), views, ids)

    sys.stdout.write(
        f"\n3 x 20,000 x 1,000: {seconds:.2f} s, {seconds / baseline:.1f} x reading the probabilities once\n"
    )


def _seconds(ask: Callable[[Views, list[str]], Any], views: Views, ids: list[str]) -> float:
    started = time.perf_counter()
    ask(views, ids)
    return time.perf_counter() - started
