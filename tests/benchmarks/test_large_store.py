"""Every question of very many prediction rows: `pytest -m benchmark -s tests/benchmarks/test_large_store.py`.

Each is asked in a process of its own. Sizes by environment: `CC_RAY_LARGE_MODELS` (1,000) models of
`CC_RAY_LARGE_INSTANCES` (100,000) instances; `CC_RAY_LARGE_STORE` names such a store that is there already. A single
question: `python -m tests.benchmarks.test_large_store STORE QUESTION`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from cc_ray import compare
from cc_ray.compare.catalogue import QUESTIONS, answer
from cc_ray.errors import CcRayError
from cc_ray.store import Store
from cc_ray.store.compaction import compact
from cc_ray.views import Views, open_views
from tests.benchmarks.make_large_store import make_large_store
from tests.benchmarks.measured import peak_mb

MODELS: Final = int(os.environ.get("CC_RAY_LARGE_MODELS", "1000"))
INSTANCES: Final = int(os.environ.get("CC_RAY_LARGE_INSTANCES", "100000"))
OBJECTIVES: Final = ["accuracy", "size_bytes"]

SQL: Final[dict[str, str]] = {
    "count": "SELECT count(*) AS n FROM predictions",
    "loss by model": "SELECT model_id, avg(loss) FROM predictions GROUP BY model_id",
    "flips of all": "SELECT model_id, count(*) FROM flips WHERE base_id = '{base}' GROUP BY model_id",
    "class accuracy": "SELECT model_id, label, avg(correct::INT) FROM predictions GROUP BY ALL",
    "behaviours of all": "SELECT * FROM behaviours WHERE base_id = '{base}'",
}
"""Typical questions in SQL; `{base}` stands for the oldest model."""


def arguments(name: str, ids: list[str]) -> dict[str, Any]:
    """What a question is asked of this store, by parameter: all models where it takes several.

    Args:
        name: One of the catalogue's.
        ids: All models, the base model first.
    """
    given: dict[str, Any] = {
        "ids": ids, "models": ids, "base": ids[0], "model": ids[-1], "other": ids[-2], "text": ids[-1],
        "objectives": OBJECTIVES, "metric": "accuracy", "bounds": {"size_bytes": 5e5}, "at_most": {"size_bytes": 5e5},
        "study": "synthetic", "path": "", "compressed_ids": ids[len(ids) // 2 :], "base_ids": ids[: len(ids) // 2],
    }  # fmt: skip
    question = next(question for question in QUESTIONS if question.name == name)
    needed = [one.name for one in question.parameters if one.required or one.name in ("ids", "base")]
    missing = [parameter for parameter in needed if parameter not in given]
    if missing:
        raise ValueError(f"say what {name} is to be asked about {', '.join(missing)}.")
    return {parameter: given[parameter] for parameter in needed}


def ask(views: Views, name: str) -> int:
    """Ask a question of the catalogue, or one of `SQL`; returns the number of rows of all tables."""
    ids = compare.models(views).sort_by("step_index")["model_id"].to_pylist()
    if name in SQL:
        return int(views.sql(SQL[name].format(base=ids[0])).num_rows)
    question = next(question for question in QUESTIONS if question.name == name)
    found = answer(question.function(views, **arguments(name, ids)))
    return sum(table.num_rows for table in found.tables.values())


@pytest.mark.benchmark
@pytest.mark.timeout(7_200)
def test_a_large_store(tmp_path: Path) -> None:
    given = os.environ.get("CC_RAY_LARGE_STORE")
    root = Path(given) if given else tmp_path / "store"
    if not given:
        make = _seconds(lambda: make_large_store(root, models=MODELS, instances=INSTANCES))
        _say("make", *make)
        _say("compact", *_seconds(lambda: compact(Store(root), keep_s=-1)))
    for name in [*SQL, *(question.name for question in QUESTIONS)]:
        command = [sys.executable, "-m", "tests.benchmarks.test_large_store", str(root), name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        last = done.stderr.strip().rpartition("\n")[2]
        found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {"said": last}
        _say(
            name,
            found.get("clock_s", 0),
            found.get("worked_s", 0),
            f"{found.get('rss_mb', 0):7.0f} MB  {found['said']}",
        )


def _seconds(do: Callable[[], object]) -> tuple[float, float]:
    clock, worked = time.perf_counter(), time.process_time()
    do()
    return time.perf_counter() - clock, time.process_time() - worked


def _say(name: str, clock: float, worked: float, more: str = "") -> None:
    sys.stdout.write(f"{name:24} {clock:8.2f} s on the clock {worked:8.2f} s worked  {more}\n")
    sys.stdout.flush()


def _main(root: str, name: str) -> None:
    said: list[str] = []

    def asked() -> None:
        try:
            said.append(f"{ask(open_views(root), name):,} rows")
        except CcRayError as error:
            said.append(f"refused: {str(error)[:160]}")

    clock, worked = _seconds(asked)
    sys.stdout.write(json.dumps({"clock_s": clock, "worked_s": worked, "rss_mb": peak_mb(), "said": said[0]}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
