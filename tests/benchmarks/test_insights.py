"""How long insights, lint and efficiency take: `pytest -m benchmark -s tests/benchmarks/test_insights.py`.

The baseline, measured in the same run, is one pass over all predictions that gives each model's accuracy.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from cc_ray.compare import lint
from cc_ray.compare.insights import insights
from cc_ray.compare.trade_offs.efficiency import efficiency
from cc_ray.views import Views, open_views
from tests.benchmarks.make_store import make_store

PASS = "SELECT model_id, avg(correct::INT) FROM predictions GROUP BY ALL"
SIZES = [(65, 10_000), (1_000, 500)]
QUESTIONS: dict[str, Callable[[Views], Any]] = {"insights": insights, "lint": lint, "efficiency": efficiency}


@pytest.mark.benchmark
@pytest.mark.parametrize(("count", "instances"), SIZES)
def test_questions_about_everything(tmp_path_factory: pytest.TempPathFactory, count: int, instances: int) -> None:
    views = open_views(make_store(tmp_path_factory.mktemp("store"), models=count, instances=instances).root)
    baseline = _best(lambda views: views.sql(PASS), views)
    sys.stdout.write(f"\n{count} models x {instances} instances: one pass {1000 * baseline:.0f} ms\n")

    for name, ask in QUESTIONS.items():
        best = _best(ask, views)
        sys.stdout.write(f"  {name:12} {1000 * best:7.0f} ms  {best / baseline:5.1f} x one pass\n")


def _best(ask: Callable[[Views], Any], views: Views) -> float:
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        ask(views)
        seconds.append(time.perf_counter() - started)
    return min(seconds)
