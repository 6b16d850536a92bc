"""How long questions of behaviour take beside the prototype's algorithm, same data, same run.

`pytest -m benchmark -s tests/benchmarks/test_behaviours.py`; the largest stores take some minutes and 10 GB of disk.
"""

import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cc_ray.compare.behaviour.loading import load_answers, load_probabilities
from cc_ray.views import open_views
from tests.benchmarks import prototype_instances
from tests.benchmarks.make_predictions import make_predictions
from tests.benchmarks.measured import measured

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1_800)]
BASELINE_SHARE = 5
"""The prototype's algorithm, which is linear, is run on every fifth instance."""


def test_scalar_measures(tmp_path: Path) -> None:
    root = make_predictions(tmp_path / "store", models=20, instances=50_000, classes=10).layout.root

    _say("20 x 50,000 x 10, scalar measures", measured(root, "scalars"), _baseline(root, vectors=False))


def test_divergences_over_many_classes(tmp_path: Path) -> None:
    root = make_predictions(tmp_path / "store", models=20, instances=50_000, classes=1_000).layout.root
    baseline = _baseline(root, vectors=True)

    _say("20 x 50,000 x 1,000, any base", measured(root, "vectors, any base"), baseline)
    _say("20 x 50,000 x 1,000, recorded base", measured(root, "vectors, recorded base"), baseline)


def test_where_the_prototype_runs_out_of_memory(tmp_path: Path) -> None:
    root = make_predictions(tmp_path / "store", models=20, instances=200_000, classes=1_000).layout.root

    _say("20 x 200,000 x 1,000, any base", measured(root, "vectors, any base"))


def test_the_first_screen(tmp_path: Path) -> None:
    for instances in (250_000, 500_000, 1_000_000):
        root = make_predictions(tmp_path / f"{instances}", models=5, instances=instances, classes=10).layout.root
        _say(f"5 x {instances:,} x 10, first screen", measured(root, "first screen"))


def _baseline(root: Path, *, vectors: bool) -> float:
    """Seconds that the prototype's algorithm takes for all instances, reading included."""
    views = open_views(root)
    ids = views.sql("SELECT model_id FROM models ORDER BY step_index, name")["model_id"].to_pylist()
    started = time.perf_counter()
    answers = load_answers(views, ids)
    chosen = slice(None, None, BASELINE_SHARE)
    labels = answers[ids[0]].columns["label"].to_numpy()[chosen].astype(np.int64)
    if vectors:
        lists = {
            id: np.concatenate(list(load_probabilities(views, id, own.instances)))[chosen].astype(np.float64)
            for id, own in answers.items()
        }
        compared = {"kl": lists, "mse": lists}
    else:
        compared = {
            name: {id: _vector(own.columns[column])[chosen] for id, own in answers.items()}
            for name, column in (("difference in correctness", "correct"), ("difference", "true_probability"))
        }
    reading = time.perf_counter() - started
    started = time.perf_counter()
    predictions = {id: own.columns["prediction"].to_numpy()[chosen].astype(np.int64) for id, own in answers.items()}
    prototype_instances.compare(compared, labels, predictions)
    return reading + BASELINE_SHARE * (time.perf_counter() - started)


def _vector(column: object) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)[:, None]  # type: ignore[attr-defined]


def _say(name: str, found: dict[str, float], baseline: float | None = None) -> None:
    ratio = f"  prototype {baseline:6.1f} s  {baseline / found['first_s']:6.1f} x" if baseline else ""
    ratio += f" (warm {baseline / found['best_s']:6.0f} x)" if baseline else ""
    sys.stdout.write(
        f"\n{name:38} first {found['first_s']:7.3f} s  warm {found['best_s']:7.3f} s  "
        f"memory {found['rss_mb']:6.0f} MB{ratio}"
    )
