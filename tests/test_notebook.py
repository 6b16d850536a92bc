import inspect
import textwrap
from pathlib import Path
from typing import Any

import holoviews as hv
import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from torch import nn

import cc_ray
from cc_ray.errors import CcRayError, ModelNotFoundError, QueryError, StoreError
from cc_ray.notebook import Notebook
from cc_ray.store import Store
from tests.benchmarks.make_store import make_store


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("notebook") / "store", models=12, instances=200).layout.root


def test_answers_are_arrow_tables(root: Path) -> None:
    store = cc_ray.open(root)

    assert store.sql("SELECT count(*) AS n FROM models WHERE seed >= ?", [0]).to_pylist() == [{"n": 12}]
    assert isinstance(store.models(), pa.Table)
    assert len(store.models().to_pandas()) == 12


def test_any_question_can_be_asked_by_name(root: Path) -> None:
    store = cc_ray.open(root)
    one, other = store.models()["model_id"].to_pylist()[:2]

    front = store.ask("front", objectives=["accuracy", "size_bytes"], at_most={"size_bytes": 10_000_000})
    page = store.ask("instances", ids=[other[:8]], base=one, between={other: (-1.0, 1.0)}, limit=3)

    assert front.num_rows == 12
    assert page.num_rows == 3
    assert store.ask("differences", table="variables", ids=[one, other]).num_rows >= 1
    with pytest.raises(QueryError, match="has no table 'rows'"):
        store.ask("differences", table="rows", ids=[one, other])
    with pytest.raises(CcRayError, match="did you mean 'front'"):
        store.ask("frnt")


def test_models_are_compared_by_name_or_identity(root: Path) -> None:
    store = cc_ray.open(root)
    one, other = store.models()["model_id"].to_pylist()[:2]

    comparison = store.compare([one[:8], other])

    assert comparison.base == one
    assert comparison.behaviours["model_id"].to_pylist() == [other]
    assert store.show(one).model["model_id"] == one


def test_charts_come_on_demand(root: Path) -> None:
    store = cc_ray.open(root)

    assert isinstance(store.trade_off(), hv.core.Dimensioned)
    assert isinstance(store.model_map(), hv.core.Dimensioned)
    assert isinstance(store.compare(store.models()["model_id"].to_pylist()[:3]).holoviews(), hv.core.Dimensioned)


def test_a_store_that_grows_is_seen(tmp_path: Path) -> None:
    store = cc_ray.open(make_store(tmp_path, models=2, instances=20).root)
    assert store.models().num_rows == 2

    make_store(tmp_path, models=4, instances=20)

    assert store.models().num_rows == 4


def test_the_folder_may_come_from_the_environment(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC_RAY_STORE", str(root))

    assert cc_ray.open().models().num_rows == 12


def test_errors_are_ours(root: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        cc_ray.open(tmp_path / "nothing")
    with pytest.raises(ModelNotFoundError):
        cc_ray.open(root).show("nope")
    with pytest.raises(QueryError):
        cc_ray.open(root).sql("SELECT nope FROM models")


def digits_of(seed: int, *, error: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels, (200,), and probabilities, (200, 3), that are off now and then."""
    random = np.random.default_rng(seed)
    labels = np.arange(200) % 3
    scores = np.eye(3)[labels] * 2 + random.normal(0, error, (200, 3))
    return labels, np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)


def test_models_of_a_script_are_logged_and_compared(tmp_path: Path) -> None:
    labels, dense = digits_of(0, error=0.5)
    _, pruned = digits_of(1, error=1.5)
    weights = {"layer.weight": np.arange(-6, 6, dtype=np.float32).reshape(3, 4), "layer.bias": np.ones(3, np.float32)}
    zeroed = {**weights, "layer.weight": np.where(abs(weights["layer.weight"]) < 3, 0, weights["layer.weight"])}

    store = cc_ray.open(tmp_path / "store", create=True)
    base = store.log_model(
        "my net",
        task="my task",
        predictions={"label": labels, "probabilities": dense},
        model=weights,
        class_names=["a", "b", "c"],
    )
    child = store.log_model(
        "my pruned net",
        task="my task",
        parent="my net",
        operation="my_pruning",
        parameters={"sparsity": 5 / 12},
        metrics={"accuracy": 0.99, "latency_p50_ms": (1.5, 1.4, 1.6), "my score": 3},
        predictions=pruned,
        model=zeroed,
        others={"teacher": "my net"},
    )

    listed = {row["model_id"]: row for row in store.models().to_pylist()}
    assert listed[child]["parent"] == base
    assert listed[child]["accuracy"] == (pruned.argmax(axis=1) == labels).mean()
    assert listed[child]["sparsity"] == pytest.approx(5 / 12)
    assert (listed[child]["latency_p50_ms"], listed[child]["my_score"]) == (1.5, 3)
    comparison = store.compare(["my pruned net"], base="my net")
    assert comparison.classes["label_name"].to_pylist() == ["a", "b", "c"]
    assert comparison.behaviours["kl_mean"][0].as_py() > 0
    assert comparison.layers.num_rows
    noticed = store.show(child).findings.to_pylist()
    assert ("metric_differs", 0.99) in {(row["check"], row["expected"]) for row in noticed}
    roles = store.sql("SELECT role FROM lineage WHERE child = ? ORDER BY role", [child])
    assert roles["role"].to_pylist() == ["parent", "teacher"]
    assert isinstance(store.model_map(), hv.core.Dimensioned)


def test_logging_the_same_again_changes_nothing(tmp_path: Path) -> None:
    store, net = cc_ray.open(tmp_path / "store", create=True), nn.Linear(2, 2)
    content: dict[str, Any] = {"metrics": {"accuracy": 0.9}, "predictions": {"y_true": [0, 1], "y_pred": [0, 0]}}

    first = store.log_model("net", task="two", model=net, **content)
    version = Store(tmp_path / "store").version()

    assert store.log_model("net", task="two", model=net, **content) == first
    assert Store(tmp_path / "store").version() == version
    with pytest.raises(CcRayError, match=r"'net' with other content .* Choose another name"):
        store.log_model("net", task="two", model=nn.Linear(2, 2), **content)
    assert len(list((tmp_path / "store").rglob("*.safetensors"))) == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": ""}, "name must be a text, found ''"),
        ({"metrics": {"accuracy": "high"}}, "metric 'accuracy' is 'high': a finite number"),
        ({"metrics": {"accuracy": float("nan")}}, "metric 'accuracy' is nan"),
        ({"metrics": [0.9]}, "metrics must be a dictionary by name"),
        ({"operation": "prune"}, "operation 'prune' needs a parent"),
        ({"parent": "nobody"}, "no model 'nobody' in this task"),
        ({"parent": "x", "parameters": {"a": object()}}, "parameters must be plain data"),
        ({"seed": -1}, "seed must be a whole number from 0, found -1"),
        ({"predictions": [0, 1]}, "the true labels are missing"),
        ({"predictions": {"label": [0, 1], "prediction": [0]}}, "columns of one length"),
        ({"predictions": {"label": [0], "probabilities": [[0.5, 0.1]]}}, "row 0, counted from 0, sums to 0.6"),
        ({"predictions": {"label": [0], "prediction": [object()]}}, "must be numbers or texts"),
        ({"model": 3}, "model must be a torch module, or arrays by name"),
        ({"model": {"weight": "heavy"}}, "'weight' must be an array or tensor"),
        ({"others": {"friend": "x"}}, "'friend' is no role"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, wrong: dict[str, Any], said: str
) -> None:
    store = cc_ray.open(tmp_path / "store", create=True)
    version = Store(tmp_path / "store").version()

    with pytest.raises(CcRayError, match=said):
        store.log_model(**{"name": "net", "task": "two", **wrong})

    assert Store(tmp_path / "store").version() == version
    assert not list((tmp_path / "store").rglob("*.safetensors"))


def test_the_example_of_log_model_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = inspect.getdoc(Notebook.log_model) or ""
    code = textwrap.dedent("    store" + text.split("    store", 1)[1].split("Args:")[0])
    labels, probabilities = digits_of(0, error=0.5)

    exec(code, {"cc_ray": cc_ray, "labels": labels, "probabilities": probabilities, "net": nn.Linear(2, 2)})

    assert cc_ray.open("my-store").models()["name"].to_pylist() == ["my net", "my pruned net"]
