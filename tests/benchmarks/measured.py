"""Ask one question of a store in a process of its own and say what it took: seconds, and memory beyond the imports.

`python -m tests.benchmarks.measured STORE QUESTION` prints JSON: `first_s` (files read), `best_s` (of two more) and
`rss_mb` (peak resident memory over that of the process before it opened the store).
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from cc_ray import compare
from cc_ray.compare.behaviour.pairing import each_paired, pairs
from cc_ray.compare.behaviour.values import Measure, values_of
from cc_ray.views import Views, open_views

Ask = Callable[[Views, list[str]], Any]
SCALARS: Final[tuple[Measure, ...]] = ("correct", "true_probability")
DIVERGENCES: Final[tuple[Measure, ...]] = ("kl", "mse")


def _differences(views: Views, ids: list[str], base: str, measures: tuple[Measure, ...]) -> None:
    """What the prototype computes: each instance's value and difference, class means, a histogram a model."""
    wanted = pairs(views, ids, base)
    vectors = [name for name in measures if name in DIVERGENCES]
    for _, table in each_paired(views, wanted, vectors):
        for name in measures:
            values_of(table, name, "value")
            values_of(table, name, "difference")
    for name in measures:
        compare.measures(views, ids, base, name, by_class=True)
        compare.measure_distribution(views, ids, base, name)


def _first_screen(views: Views, ids: list[str]) -> None:
    base, others = ids[0], ids[1:]
    compare.behaviours(views, others, base)
    compare.behaviours_by_class(views, others, base)
    for model_id in others:
        compare.prediction_changes(views, model_id, base)
    compare.instances(views, others, base, only="lost", sort="change")


QUESTIONS: Final[dict[str, Ask]] = {
    "scalars": lambda views, ids: _differences(views, ids[1:], ids[0], SCALARS),
    "vectors, recorded base": lambda views, ids: _differences(views, ids[1:], ids[0], DIVERGENCES),
    # A child as base: nothing is recorded against it.
    "vectors, any base": lambda views, ids: _differences(views, [ids[0], *ids[2:]], ids[1], DIVERGENCES),
    "first screen": _first_screen,
}


def measured(root: Path, question: str) -> dict[str, float]:
    """Run this file for one question.

    Args:
        root: The store.
        question: One of `QUESTIONS`.
    """
    command = [sys.executable, "-m", "tests.benchmarks.measured", str(root), question]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _main(root: str, question: str) -> None:
    empty = peak_mb()
    views = open_views(root)
    ids = views.sql("SELECT model_id FROM models ORDER BY step_index, name")["model_id"].to_pylist()
    seconds = [_seconds(QUESTIONS[question], views, ids) for _ in range(3)]
    found = {"first_s": seconds[0], "best_s": min(seconds[1:]), "rss_mb": peak_mb() - empty}
    sys.stdout.write(json.dumps(found))


def peak_mb() -> float:
    """Peak resident memory of this process; what `getrusage` tells begins with the parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def _seconds(ask: Ask, views: Views, ids: list[str]) -> float:
    started = time.perf_counter()
    ask(views, ids)
    return time.perf_counter() - started


if __name__ == "__main__":
    _main(*sys.argv[1:])
