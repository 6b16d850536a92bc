"""What compaction is worth with many small models: `pytest -m benchmark -s tests/benchmarks/test_compaction.py`."""

import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from cc_ray.recipe import Recipe
from cc_ray.store import Store
from cc_ray.store.compaction import compact
from cc_ray.views import open_views
from tests.benchmarks.make_store import METRICS
from tests.compare.small import TASK, model_row, new_store

MODELS, INSTANCES, CLASSES = int(os.environ.get("CC_RAY_BENCHMARK_MODELS", "10000")), 10, 10


@pytest.mark.benchmark
def test_compaction(tmp_path: Path) -> None:
    store = new_store(tmp_path / "small", directions={metric[0]: metric[3] for metric in METRICS})
    _say("publish a model", _seconds(lambda: _publish(store, 0)))
    with pytest.MonkeyPatch.context() as patched:
        # Four fifths of the time otherwise; a power cut would only end the benchmark.
        patched.setattr(os, "fsync", lambda handle: None)
        seconds = _seconds(lambda: _fill(store))
    _say(f"publish {MODELS:,} without sync", seconds, f"{1000 * seconds / MODELS:.1f} ms each")
    before = _figures(store)

    done: list[Any] = []
    seconds = _seconds(lambda: done.append(compact(store, keep_s=-1)))
    _say("compact", seconds, f"{done[0].batches:,} batches, {done[0].segments} segments, {done[0].removed:,} removed")
    after = _figures(store)

    for name, value in before.items():
        _say(name, after[name], f"before {1000 * value:.1f} ms, ratio {value / after[name]:.1f}")
    views = open_views(store.root)
    _publish(store, MODELS)
    _say("refreshed after one batch", _seconds(views.refreshed))
    _say("compact one batch", _seconds(lambda: compact(store, keep_s=-1)))
    _say("SELECT 1", min(_seconds(lambda: views.sql("SELECT 1")) for _ in range(20)))
    query = "SELECT name FROM models LIMIT 1"
    _say("open for one query on models", _seconds(lambda: open_views(store.root, only_for=query).sql(query)))
    shutil.rmtree(tmp_path)


def _figures(store: Store) -> dict[str, float]:
    opened: list[Any] = []
    figures = {"open_views": _seconds(lambda: opened.append(open_views(store.root)))}
    views = opened[0]
    scan = "SELECT count(*) AS n, avg(loss) FROM predictions"
    one = "SELECT * FROM predictions WHERE model_id = ?"
    assert views.sql(scan)["n"].to_pylist() == [MODELS * INSTANCES]
    figures["scan of all predictions"] = min(_seconds(lambda: views.sql(scan)) for _ in range(3))
    figures["one model's predictions"] = min(_seconds(lambda: views.sql(one, [_name(MODELS // 2)])) for _ in range(3))
    figures["version"] = _seconds(store.version)
    return figures


def _fill(store: Store) -> None:
    for number in range(1, MODELS):
        _publish(store, number)


def _name(number: int) -> str:
    return f"{number * 2_654_435_761 % 2**32:08x}"


def _publish(store: Store, number: int) -> None:
    name = _name(number)
    model = {**_MODEL, "model_id": name}
    lineage = [{"child": name, "parent": _name(0), "role": "parent"}] if number else []
    rows = {"models": [model], "lineage": lineage, "metrics": _named(_METRICS, name)}
    assert store.publish("step", name, {**rows, "predictions": _named(_PREDICTIONS, name)})


def _named(rows: pa.Table, model_id: str) -> pa.Table:
    return rows.append_column("model_id", pa.repeat(pa.scalar(model_id), rows.num_rows))


def _metrics() -> pa.Table:
    """Each metric over all instances and over each class."""
    slices = ["all", *(f"class:{label}" for label in range(CLASSES))]
    count = len(METRICS) * len(slices)
    values = np.random.default_rng(0).random(count)
    return pa.table(
        {
            "metric": [metric[0] for metric in METRICS for _ in slices],
            "split": ["evaluation"] * count,
            "slice": slices * len(METRICS),
            "device": [""] * count,
            "value": values,
            "ci_low": values,
            "ci_high": values,
            "n": pa.array([INSTANCES] * count, pa.int64()),
        }
    )


def _predictions() -> pa.Table:
    values = np.random.default_rng(0).dirichlet(np.ones(CLASSES), INSTANCES).astype(np.float32)
    numbers = {name: values[:, 0] for name in ("confidence", "true_probability", "loss", "margin", "entropy")}
    return pa.table(
        {
            "instance": np.arange(INSTANCES),
            "label": np.zeros(INSTANCES, np.int32),
            "prediction": values.argmax(axis=1).astype(np.int32),
            "correct": values.argmax(axis=1) == 0,
            **numbers,
            "probabilities": list(values),
        }
    )


def _model() -> dict[str, Any]:
    return model_row("", Recipe("net"), task_id=TASK)


_MODEL, _METRICS, _PREDICTIONS = _model(), _metrics(), _predictions()


def _seconds(do: Callable[[], object]) -> float:
    started = time.perf_counter()
    do()
    return time.perf_counter() - started


def _say(name: str, seconds: float, more: str = "") -> None:
    sys.stdout.write(f"{name:32} {1000 * seconds:10.1f} ms  {more}\n")
    sys.stdout.flush()
