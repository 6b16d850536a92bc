from pathlib import Path

import holoviews as hv
import pyarrow as pa
import pytest

import cc_ray
from cc_ray.errors import ModelNotFoundError, QueryError, StoreError
from tests.benchmarks.make_store import make_store


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("notebook") / "store", models=12, instances=200).root


def test_answers_are_arrow_tables(root: Path) -> None:
    store = cc_ray.open(root)

    assert store.sql("SELECT count(*) AS n FROM models WHERE seed >= ?", [0]).to_pylist() == [{"n": 12}]
    assert isinstance(store.models(), pa.Table)
    assert len(store.models().to_pandas()) == 12


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
