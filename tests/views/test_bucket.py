"""What is asked of a store in a bucket is answered as by one in a folder."""

import os
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from cc_ray import compare
from cc_ray.api import build_api
from cc_ray.cli import app
from cc_ray.errors import QueryError
from cc_ray.store import Store
from cc_ray.store.compaction import compact
from cc_ray.views import open_views
from cc_ray.views.definitions import definitions
from cc_ray.views.isolated import Request, Workers
from dashboards.snapshot import Source
from tests.benchmarks.make_store import make_store
from tests.compare.small import add_model, answers

NAMES = sorted({"models", "metrics", "predictions", "layers", *(definition.name for definition in definitions())})


@pytest.fixture
def both(bucket_url: str, tmp_path: Path) -> tuple[Store, Store]:
    """The same rows in a folder and in a bucket."""
    return make_store(tmp_path / "store", models=6, instances=12), make_store(bucket_url, models=6, instances=12)


def files_here(store: Store, name: str) -> list[Path]:
    return [file for file in store.snapshot([])[name] if file.exists()]


def forget(store: Store) -> Store:
    """The same store as another machine sees it, which has read nothing yet."""
    os.environ["CC_RAY_CACHE"] += "-of-another"
    return Store(store.root)


def test_every_view_is_alike(both: tuple[Store, Store]) -> None:
    folder, bucket = both
    compact(bucket, keep_s=-1)
    for store in both:
        add_model(store, "aaaa", labels=[0, 1], probabilities=answers([0, 1]), metrics={"accuracy": 1.0})
    here, there = open_views(folder.root), open_views(forget(bucket).root)

    for name in NAMES:
        query = f"SELECT * FROM {name} ORDER BY ALL"
        assert list(map(repr, there.sql(query).to_pylist())) == list(map(repr, here.sql(query).to_pylist())), name


def test_only_files_that_a_question_reads_are_brought(both: tuple[Store, Store]) -> None:
    store = forget(both[1])
    views = open_views(store.root)
    assert len(files_here(store, "models")) == 6 and not files_here(store, "predictions")

    models = views.sql("SELECT model_id FROM models")["model_id"].to_pylist()
    compare.behaviours(views, models[:1], models[1])
    assert len(files_here(store, "predictions")) == 2
    assert views.sql("SELECT count(DISTINCT model_id) AS n FROM predictions")["n"].to_pylist() == [6]
    assert len(files_here(store, "predictions")) == 6


def test_views_follow_a_store_that_grows_and_is_compacted(both: tuple[Store, Store]) -> None:
    store = both[1]
    views = open_views(store.root)
    assert views.refreshed() is views

    add_model(store, "aaaa")
    views = views.refreshed()
    assert views.sql("FROM models").num_rows == 7
    compact(store, keep_s=-1)
    assert views.refreshed() is not views
    assert views.refreshed().sql("FROM models").num_rows == 7


def test_workers_that_may_reach_nothing_see_the_store_as_it_is(both: tuple[Store, Store]) -> None:
    store = forget(both[1])

    with Workers(store.root) as workers:
        for added in ("aaaa", "bbbb"):
            count = workers.ask(Request("SELECT count(*) AS n FROM predictions")).table["n"].to_pylist()
            add_model(store, added, labels=[0], probabilities=answers([0]))
            assert workers.ask(Request("SELECT count(*) AS n FROM predictions")).table["n"].to_pylist() == [
                count[0] + 1
            ]
        compact(store, keep_s=-1)
        assert workers.ask(Request("FROM models")).rows == 8
        with pytest.raises(QueryError):
            workers.ask(Request(f"FROM read_parquet('{store.files('models')[0]}')"))


def test_the_server_answers_from_a_bucket(both: tuple[Store, Store]) -> None:
    root = str(both[1].root)
    client = TestClient(build_api(root))

    assert len(client.get("/v1/models").json()["rows"]) == 6
    found = client.post("/v1/sql", json={"query": "SELECT count(*) AS n FROM models"})
    assert found.json()["rows"] == [{"n": 6}]
    assert len(Source(root).snapshot.models) == 6


def test_the_command_line_asks_a_bucket(both: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(both[1].root)
    runner = CliRunner()
    for words in (["models"], ["sql", "SELECT count(*) AS n FROM models"], ["compact"]):
        found = runner.invoke(app, [*words, "--store", root])
        assert found.exit_code == 0, found.output
    name = both[1].read("models")["model_id"].to_pylist()[0]
    monkeypatch.setenv("CC_RAY_STORE", root)
    assert runner.invoke(app, ["show", name]).exit_code == 0
