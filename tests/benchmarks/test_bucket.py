"""A store in a bucket beside one in a folder: `pytest -m benchmark -s tests/benchmarks/test_bucket.py`.

The server runs on this machine and takes most of the processor's time: what counts is the ratio, and the requests.
"""

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cc_ray.store import Store
from cc_ray.store.compaction import compact
from cc_ray.views import open_views
from tests.compare.small import add_model, answers

BATCHES = int(os.environ.get("CC_RAY_BENCHMARK_BATCHES", "1000"))
WRITERS = 8


@pytest.mark.benchmark
@pytest.mark.timeout(1800)
def test_publish_open_and_compact(bucket_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, bucket = (_figures(root, monkeypatch) for root in (str(tmp_path / "store"), bucket_url))

    for name, seconds in folder.items():
        sys.stdout.write(
            f"{name:42} folder {1000 * seconds:9.1f} ms  bucket {1000 * bucket[name]:9.1f} ms  "
            f"ratio {bucket[name] / seconds:6.1f}\n"
        )
    sys.stdout.flush()


def _figures(root: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    store = Store(root, create=True)
    figures = {"publish one batch": _seconds(lambda: _publish(store, BATCHES))}
    with ThreadPoolExecutor(WRITERS) as pool:
        # Whole lists, so that what a thread raises is raised here.
        publish = _seconds(lambda: list(pool.map(lambda number: _publish(store, number), range(BATCHES))))
    figures[f"publish {BATCHES:,} batches, {WRITERS} at once"] = publish
    figures["open views where they were written"] = _seconds(lambda: open_views(root))
    monkeypatch.setenv("CC_RAY_CACHE", f"{os.environ['CC_RAY_CACHE']}-of-another")
    figures["open views elsewhere"] = _seconds(lambda: open_views(root))
    views = open_views(root)
    figures["ask whether anything is new"] = _seconds(views.refreshed)
    figures["all predictions, the first time"] = _seconds(lambda: views.sql("SELECT avg(loss) FROM predictions"))
    figures["compact"] = _seconds(lambda: compact(store, keep_s=-1))
    monkeypatch.setenv("CC_RAY_CACHE", f"{os.environ['CC_RAY_CACHE']}-of-a-third")
    figures["open views elsewhere, compacted"] = _seconds(lambda: open_views(root))
    return figures


def _publish(store: Store, number: int) -> None:
    metrics = {"accuracy": 0.5}
    add_model(store, f"m{number:05}", labels=[0, 1, 2], probabilities=answers([0, 1, 1]), metrics=metrics)


def _seconds(do: Callable[[], object]) -> float:
    started = time.perf_counter()
    do()
    return time.perf_counter() - started
