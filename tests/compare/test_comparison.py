import subprocess
import sys
from pathlib import Path

import pytest

from cc_ray.compare import compare
from cc_ray.errors import ModelNotFoundError, NotComparableError
from cc_ray.recipe import Step
from cc_ray.views import Views, open_views
from tests.compare.small import add_model, answers, new_store


@pytest.fixture
def views(tmp_path: Path) -> Views:
    store = new_store(tmp_path, directions={"accuracy": "higher", "size_bytes": "lower"})
    layer = {"layer": "fc", "shape": [4], "parameters": 4, "zeros": 0}
    add_model(store, "base", metrics={"accuracy": 1.0, "size_bytes": 100.0}, labels=[0, 1],
              probabilities=answers([0, 1]), layers=[layer])  # fmt: skip
    for seed, (model_id, zeros) in enumerate((("one0", 1), ("two0", 2))):
        add_model(store, model_id, parent="base", steps=[Step("tune")], seed=seed, metrics={"accuracy": 0.5},
                  labels=[0, 1], probabilities=answers([0, 0]),
                  layers=[{**layer, "zeros": zeros, "relative_change": 0.1}])  # fmt: skip
    return open_views(tmp_path)


def test_models_stand_beside_the_base_in_all_respects(views: Views) -> None:
    found = compare(views, ["one0", "two0"], "base")

    assert (found.base, found.ids) == ("base", ("one0", "two0"))
    assert found.behaviours["lost"].to_pylist() == [1, 1]
    assert found.classes["model_id"].to_pylist() == ["one0", "one0", "two0", "two0"]
    assert found.layers["model_id"].to_pylist() == ["one0", "two0"]


def test_metrics_stand_beside_the_bases(views: Views) -> None:
    found = compare(views, ["one0"], "base").metrics.to_pylist()

    assert [(row["metric"], row["model_id"], row["value"], row["difference"]) for row in found] == [
        ("accuracy", "base", 1.0, 0.0), ("accuracy", "one0", 0.5, -0.5), ("size_bytes", "base", 100.0, 0.0)
    ]  # fmt: skip


def test_without_a_base_the_first_is_it_or_the_root_of_a_single_one(views: Views) -> None:
    assert (compare(views, ["two0", "one0"]).base, compare(views, ["two0", "one0"]).ids) == ("two0", ("one0",))
    assert (compare(views, ["two0"]).base, compare(views, ["two0"]).ids) == ("base", ("two0",))


@pytest.mark.parametrize("ids", [["base"], ["base", "base"], []])
def test_a_model_and_itself_are_nothing_to_compare(views: Views, ids: list[str]) -> None:
    with pytest.raises(NotComparableError):
        compare(views, ids)


def test_an_unknown_base_is_an_error(views: Views) -> None:
    with pytest.raises(ModelNotFoundError):
        compare(views, ["one0"], "gone")


def test_asking_loads_nothing_that_works_or_draws() -> None:
    code = "import sys, cc_ray.compare, cc_ray.views; print(*sorted({name.partition('.')[0] for name in sys.modules}))"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert not {"torch", "ray", "panel", "holoviews", "transformers", "sklearn", "statsmodels"} & set(loaded)
