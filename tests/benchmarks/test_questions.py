"""How long questions take: `pytest -m benchmark -s tests/benchmarks/test_questions.py`."""

import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from cc_ray import compare
from cc_ray.views import Views, open_views
from tests.benchmarks.make_store import make_store

MODELS, INSTANCES = 65, 10_000
OBJECTIVES = ("accuracy", "size_bytes", "latency_p50_ms")
QUESTIONS: dict[str, Callable[[Views, list[str]], Any]] = {
    "flips of all against one": lambda v, ids: v.sql(
        "SELECT model_id, count(*) FROM flips WHERE base_id = ? GROUP BY model_id", ids[:1]
    ),
    "models": lambda v, ids: compare.models(v),
    "show": lambda v, ids: compare.show(v, ids[-1]),
    "resolve": lambda v, ids: compare.resolve(v, ids[-1][:6]),
    "descendants": lambda v, ids: compare.descendants(v, ids[:1]),
    "front": lambda v, ids: compare.front(v, OBJECTIVES),
    "recommendations": lambda v, ids: compare.recommendations(v, OBJECTIVES),
    "differences, 5 models": lambda v, ids: compare.differences(v, ids[5:10]),
    "differences, all models": lambda v, ids: compare.differences(v, ids),
    "behaviours, 5 models": lambda v, ids: compare.behaviours(v, ids[5:10], ids[0]),
    "behaviours, all models": lambda v, ids: compare.behaviours(v, ids, ids[0]),
    "behaviours_by_class, 5 models": lambda v, ids: compare.behaviours_by_class(v, ids[5:10], ids[0]),
    "behaviours_by_class, all models": lambda v, ids: compare.behaviours_by_class(v, ids, ids[0]),
    "prediction_changes": lambda v, ids: compare.prediction_changes(v, ids[5], ids[0]),
    "instances, 5 models": lambda v, ids: compare.instances(v, ids[5:10], ids[0], only="lost", sort="change"),
    "instances, all models": lambda v, ids: compare.instances(v, ids, ids[0], only="lost", sort="change"),
    "layer_tree, 5 models": lambda v, ids: compare.layer_tree(v, ids[5:10], ids[0]),
    "layer_tree, all models": lambda v, ids: compare.layer_tree(v, ids, ids[0]),
    "most_changed_layers": lambda v, ids: compare.most_changed_layers(v, ids[5], ids[0]),
    "compare, 5 models": lambda v, ids: compare.compare(v, ids[5:10], ids[0]),
    "compare, all models": lambda v, ids: compare.compare(v, ids, ids[0]),
}


@pytest.mark.benchmark
def test_questions(tmp_path_factory: pytest.TempPathFactory) -> None:
    store = make_store(tmp_path_factory.mktemp("store"), models=MODELS, instances=INSTANCES)
    started = time.perf_counter()
    views = open_views(store.root)
    _say("open_views", [time.perf_counter() - started])
    ids = compare.models(views)["model_id"].to_pylist()

    for name, ask in QUESTIONS.items():
        _say(name, [_seconds(ask, views, ids) for _ in range(3)])


def _seconds(ask: Callable[[Views, list[str]], Any], views: Views, ids: list[str]) -> float:
    started = time.perf_counter()
    ask(views, ids)
    return time.perf_counter() - started


def _say(name: str, seconds: list[float]) -> None:
    sys.stdout.write(f"{name:34} first {1000 * seconds[0]:7.1f} ms  best {1000 * min(seconds):7.1f} ms\n")
