import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cc_ray import compare
from cc_ray.compare.behaviour import loading
from cc_ray.compare.insights import scene
from cc_ray.recipe import Recipe
from cc_ray.views import open_views
from tests.benchmarks.make_predictions import make_predictions
from tests.compare.small import add_model, answers, model_row, new_store, predictions_of


def test_answers_are_the_same_however_few_models_fit_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    views = open_views(make_predictions(tmp_path, models=5, instances=300).root)
    ids = compare.models(views).sort_by([("step_index", "ascending"), ("name", "ascending")])["model_id"].to_pylist()

    def ask() -> list[pa.Table]:
        return [
            compare.behaviours(views, ids, ids[0]),
            compare.behaviours_by_class(views, ids, ids[1]),
            compare.measures(views, ids, ids[0]),
            compare.measure_distribution(views, ids, ids[0]),
            compare.instances(views, ids, ids[0], only="lost", sort="change").table,
            compare.calibration(views, ids),
            compare.reliability(views, ids),
            compare.accuracy_tests(views, ids, ids[0]),
            compare.insights(views),
        ]

    whole = ask()
    monkeypatch.setattr(loading, "GROUP_ROWS", 650)
    monkeypatch.setattr(loading, "KEPT_BYTES", 1)
    monkeypatch.setattr(scene, "CELL_ROWS", 650)

    assert ask() == whole


def test_rows_are_found_in_the_batch_of_another_model(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "aaaa", labels=[0, 1], probabilities=answers([0, 1]))
    rows = [row for id in ("bbbb", "cccc") for row in predictions_of(id, [0, 1], answers([0, 0]))]
    made = {"models": [model_row("bbbb", Recipe("net")), model_row("cccc", Recipe("net"))], "predictions": rows}
    assert store.publish("step", "several", made)

    found = loading.load_answers(open_views(tmp_path), ["aaaa", "bbbb", "cccc"])

    assert [answers_.columns["prediction"].to_pylist() for answers_ in found.values()] == [[0, 1], [0, 0], [0, 0]]


def test_threads_that_ask_at_once_find_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = new_store(tmp_path)
    add_model(store, "aaaa", labels=[0, 1], probabilities=answers([0, 1]))
    views = open_views(tmp_path)
    footer = loading._footer

    def slow_footer(fragment: Any) -> Any:
        time.sleep(0.2)
        return footer(fragment)

    monkeypatch.setattr(loading, "_footer", slow_footer)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: loading.load_answers(views, ["aaaa"])["aaaa"], range(8)))

    assert [answers_.instances.tolist() for answers_ in found] == [[0, 1]] * 8
