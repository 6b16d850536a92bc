from pathlib import Path
from typing import Any

import pytest

from cc_ray.imports.definitions import Defined, defined
from cc_ray.imports.reading import read_results
from tests.imports.files import model, write


def of(folder: Path, *metrics: dict[str, Any], taken: Any = (), task: str = "small") -> dict[str, Defined]:
    values = {metric["name"]: 1.0 for metric in metrics}
    file = write(folder, [model("a", metrics=values)], metrics=metrics, name=f"{task}.json")
    return defined(read_results(file), taken)


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("Top-1 Accuracy", "higher"),
        ("F1", "higher"),
        ("Latency", "lower"),
        ("Model Size", "lower"),
        ("Accuracy Loss", "lower"),
        ("error_rate", "lower"),
        ("Sparsity", "none"),
        ("Oversized", "none"),
    ],
)
def test_names_tell_the_direction(tmp_path: Path, name: str, direction: str) -> None:
    assert of(tmp_path, {"name": name})[name].row["direction"] == direction


@pytest.mark.parametrize(
    ("said", "scale", "row"),
    [
        ({"format": ".2~%", "min": 0, "max": 1}, 1.0, {"format": "percent", "unit": "", "min": 0.0, "max": 1.0}),
        ({"unit": "%", "min": 0, "max": 100}, 0.01, {"format": "percent", "unit": "", "min": 0.0, "max": 1.0}),
        ({"unit": "%", "max": None}, 0.01, {"format": "percent", "unit": "", "max": None}),
        ({"unit": "%", "max": 1.0}, 1.0, {"format": "percent", "max": 1.0}),
        ({"unit": "%", "format": ".1%"}, 1.0, {"format": "percent"}),
        ({"unit": "ms"}, 1.0, {"format": "ms", "unit": "ms", "metric": "score_ms"}),
        ({"unit": "s", "format": ".2~"}, 1.0, {"format": "number", "unit": "s", "metric": "score_s"}),
        ({"unit": "bytes"}, 1.0, {"format": "bytes", "unit": "bytes"}),
        ({"format": ".2~s"}, 1.0, {"format": "count", "unit": ""}),
        ({"format": "00", "unit": None, "min": "low", "max": 10**400}, 1.0, {"format": "number", "max": None}),
    ],
)
def test_unit_and_format_tell_the_rest(tmp_path: Path, said: dict[str, Any], scale: float, row: dict[str, Any]) -> None:
    found = of(tmp_path, {"name": "Score", **said})["Score"]

    assert found.scale == scale
    assert {name: found.row[name] for name in row} == row


def test_what_was_rescaled_or_not_declared_is_said(tmp_path: Path) -> None:
    found = of(tmp_path, {"name": "F1", "unit": "%", "max": 100})["F1"]
    file = write(tmp_path, [model("a", metrics={"Extra": 1})], metrics=[])

    assert "hundredth" in found.row["meaning"]
    assert "not declared" in defined(read_results(file), [])["Extra"].row["meaning"]


def test_names_are_columns_that_nothing_else_has(tmp_path: Path) -> None:
    names = ("Name", "base", "Loss", "Loss low", "loss", "%", "Größe")

    found = of(tmp_path, *({"name": name} for name in names))

    assert [metric.metric for metric in found.values()] == [
        "metric_name", "metric_base", "loss", "metric_loss_low", "loss_small", "metric", "gr_e"
    ]  # fmt: skip


def test_a_name_that_means_something_else_in_the_store_is_not_used(tmp_path: Path) -> None:
    first = of(tmp_path, {"name": "Size", "max": 5}, {"name": "Sparsity"})
    taken = [metric.row for metric in first.values()]

    second = of(tmp_path, {"name": "Size", "max": 7}, {"name": "Sparsity"}, taken=taken, task="other")

    assert [metric.metric for metric in second.values()] == ["size_other", "sparsity"]
