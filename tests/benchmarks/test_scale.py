"""Questions over very many models, beside the plain way: `pytest -m benchmark -s tests/benchmarks/test_scale.py`.

The plain way (`plain.py`) is measured on fewer models, where it is named, because it takes too long on all.
"""

import json
import random
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from cc_ray import compare
from cc_ray.compare.recipes.diff import nearest, only_what_differs
from cc_ray.compare.trade_offs.compromises import best_under, knee, spanning
from cc_ray.compare.trade_offs.fronts import fronts
from cc_ray.compare.trade_offs.hypervolume import hypervolume, hypervolume_history
from cc_ray.imports.compress_and_compare import import_results
from cc_ray.store import Store
from cc_ray.views import Views, open_views
from tests.benchmarks import plain
from tests.benchmarks.make_lineage import OBJECTIVES, make_lineage

MODELS: Final = 10_000
FEW: Final = 1_000
"""Models of the plain front and lineage."""
CIFAR: Final = Path(__file__).parents[2].parent / "shared" / "data" / "compress_and_compare" / "cifar10_resnet20.json"
SELECTIONS: Final = (55, 4, 50, 7, 0, 1, 2, 3)
"""Seeds of random selections of 16 models; the first are among the prototype's slowest of sixty."""

QUESTIONS: Final[dict[str, Callable[[Views, list[str]], Any]]] = {
    "models": lambda v, ids: compare.models(v),
    "front of 3 objectives": lambda v, ids: compare.front(v, OBJECTIVES),
    "fronts by operation": lambda v, ids: fronts(v, OBJECTIVES),
    "hypervolume": lambda v, ids: hypervolume(v, OBJECTIVES),
    "hypervolume_history": lambda v, ids: hypervolume_history(v, OBJECTIVES),
    "spanning": lambda v, ids: spanning(v, OBJECTIVES),
    "knee": lambda v, ids: knee(v, OBJECTIVES),
    "best_under": lambda v, ids: best_under(v, "accuracy", {"size_bytes": 2e5}),
    "descendants of a base": lambda v, ids: compare.descendants(v, ids[:1]),
    "ancestors of all": lambda v, ids: compare.ancestors(v, ids),
    "nearest": lambda v, ids: nearest(v, ids[-1]),
    "only_what_differs": lambda v, ids: only_what_differs(v, ids[-1], ids[-2]),
    "insights": lambda v, ids: compare.insights(v),
    "differences, 16 models": lambda v, ids: compare.differences(v, ids[-16:]),
    "differences, 5,000 models": lambda v, ids: compare.differences(v, ids[-5_000:]),
}


@pytest.mark.benchmark
def test_ten_thousand_models(tmp_path: Path) -> None:
    _say("make the store", _seconds(lambda: make_lineage(tmp_path, models=MODELS)))
    _say("open_views", _seconds(lambda: open_views(tmp_path)))
    views = open_views(tmp_path)
    ids = views.sql("SELECT model_id FROM models ORDER BY created_at")["model_id"].to_pylist()

    for name, ask in QUESTIONS.items():
        first, again = (_seconds(partial(ask, views, ids)) for _ in range(2))
        _say(f"{name}, first", first)
        _say(f"{name}, warm", again)


@pytest.mark.benchmark
def test_the_plain_way_of_lineage_and_front(tmp_path: Path) -> None:
    views = open_views(make_lineage(tmp_path, models=FEW).root)
    table = compare.models(views)
    rows, ids = table.select(["model_id", "parent"]).to_pylist(), table["model_id"].to_pylist()
    values = np.stack([-table["accuracy"].to_numpy(), table["size_bytes"].to_numpy(), table["latency_p50_ms"]], axis=1)
    points = [tuple(row) for row in values.tolist()]
    compare.front(views, OBJECTIVES)

    _ratio(f"descendants, {FEW} models", lambda: plain.descendants(rows, ids[0]),
           lambda: compare.descendants(views, ids[:1]))  # fmt: skip
    _ratio(f"ancestors of all, {FEW} models", lambda: [plain.ancestors(rows, one) for one in ids],
           lambda: compare.ancestors(views, ids))  # fmt: skip
    _ratio(f"front by values against both fronts, {FEW} models", lambda: plain.front(points),
           lambda: compare.front(views, OBJECTIVES))  # fmt: skip


@pytest.mark.benchmark
def test_the_prototypes_search_for_differences(tmp_path: Path) -> None:
    if not CIFAR.exists():
        pytest.skip(f"{CIFAR.name} is not on this machine")
    import_results(Store(tmp_path, create=True), CIFAR)
    views = open_views(tmp_path)
    wanted = compare.models(views).select(["model_id", "parent", "operation", "parameters"]).to_pylist()
    rows = [{**row, "parameters": json.loads(row["parameters"])} for row in wanted]
    compare.differences(views, [row["model_id"] for row in rows])

    for seed in SELECTIONS:
        chosen = random.Random(seed).sample([row["model_id"] for row in rows], 16)
        search = plain.Search(rows, chosen)
        _ratio(f"differences, 16 models, selection {seed}", search.cost, partial(compare.differences, views, chosen))


def _seconds(ask: Callable[[], Any]) -> tuple[float, float]:
    """Time on the clock, and time that this process worked: the same on an idle machine with one thread."""
    clock, worked = time.perf_counter(), time.process_time()
    ask()
    return time.perf_counter() - clock, time.process_time() - worked


def _ratio(name: str, plainly: Callable[[], Any], ask: Callable[[], Any]) -> None:
    """Of the time worked: other processes on the machine do not disturb it."""
    before, now = _seconds(plainly)[1], min(_seconds(ask)[1] for _ in range(3))
    sys.stdout.write(f"{name:52} plain {1000 * before:8.1f} ms  ours {1000 * now:8.1f} ms  ratio {before / now:6.1f}\n")


def _say(name: str, seconds: tuple[float, float]) -> None:
    clock, worked = seconds
    sys.stdout.write(f"{name:36} {1000 * clock:8.1f} ms on the clock {1000 * worked:8.1f} ms worked\n")
