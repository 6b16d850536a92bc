"""A plain DuckDB sees through the exported SQL what CC-Ray sees."""

import json
import os
from pathlib import Path

import duckdb
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.arrow import ArrowFSWrapper

from cc_ray.schema import TABLES
from cc_ray.store import Store
from cc_ray.store.compaction import compact
from cc_ray.views import open_views
from cc_ray.views.definitions import definitions
from cc_ray.views.export import views_sql
from tests.benchmarks.make_store import make_store
from tests.compare.small import add_model, answers, new_store

NAMES = sorted({*TABLES, *(definition.name for definition in definitions())})


class InBucket(ArrowFSWrapper):  # type: ignore[misc]
    """How a DuckDB without its httpfs extension reads s3:// addresses."""

    protocol = "s3"


def s3() -> pafs.S3FileSystem:
    return pafs.S3FileSystem(
        endpoint_override=os.environ["AWS_ENDPOINT_URL"].partition("//")[2], scheme="http", region="us-east-1"
    )


def loaded(root: Path | str) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:")
    if str(root).startswith("s3://"):
        connection.register_filesystem(InBucket(s3()))
    connection.execute(views_sql(str(root)))
    return connection


def assert_same(root: Path | str, client: duckdb.DuckDBPyConnection | None = None) -> None:
    client, views = client or loaded(root), open_views(root)
    for name in NAMES:
        query = f"SELECT * FROM {name} ORDER BY ALL"
        found, expected = client.sql(query).to_arrow_table(), views.sql(query)
        assert found.column_names == expected.column_names, name
        assert list(map(repr, found.to_pylist())) == list(map(repr, expected.to_pylist())), name


def partly_compacted(root: Path | str, keep_s: float) -> Store:
    store = make_store(root, models=6, instances=12)
    compact(store, keep_s=keep_s)
    add_model(store, "aaaa", labels=[0, 1], probabilities=answers([0, 1]), metrics={"accuracy": 1.0})
    compact(store, keep_s=keep_s)
    add_model(store, "bbbb", labels=[0, 1], probabilities=answers([0, 1]), metrics={"accuracy": 1.0})
    return store


@pytest.mark.parametrize("keep_s", [1000, -1], ids=["old files are there", "old files are gone"])
def test_a_partly_compacted_store_is_seen_alike(tmp_path: Path, keep_s: float) -> None:
    assert_same(partly_compacted(tmp_path, keep_s).root)


def test_a_store_that_was_never_compacted_is_seen_alike(tmp_path: Path) -> None:
    assert_same(make_store(tmp_path, models=4, instances=12).root)


def test_an_empty_store_has_every_table_and_view(tmp_path: Path) -> None:
    assert_same(new_store(tmp_path / "it's a store").root)


def test_columns_that_older_files_lack_are_null(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "aaaa", labels=[0], probabilities=answers([0]))
    file = store.layout.batch("step", "aaaa") / "predictions.parquet"
    pq.write_table(pq.read_table(file).drop_columns(["mse_from_base"]), file)
    store.layout.marker.write_text(json.dumps({"schema_version": 1}))

    assert_same(tmp_path)


def test_a_text_serves_a_store_that_grows(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    client = loaded(tmp_path)
    assert client.sql("FROM predictions").fetchall() == []
    add_model(store, "aaaa", labels=[0], probabilities=answers([0]))

    client.execute(views_sql(str(tmp_path)))

    assert len(client.sql("FROM predictions").fetchall()) == 1


def test_a_client_finds_what_rows_and_columns_are(tmp_path: Path) -> None:
    client = loaded(new_store(tmp_path).root)

    said = dict(client.sql("SELECT view_name, comment FROM duckdb_views() WHERE NOT internal").fetchall())
    assert said["pairs"].startswith("A row is an instance")
    columns = "SELECT comment FROM duckdb_columns() WHERE table_name = 'metrics' AND column_name = 'value'"
    assert client.sql(columns).fetchall() == [("the value, in the metric's unit",)]


@pytest.mark.parametrize(
    "keep_s",
    [pytest.param(1000, id="old files are there"), pytest.param(-1, id="old files are gone", marks=pytest.mark.slow)],
)
def test_a_store_in_a_bucket_is_seen_alike(bucket_url: str, keep_s: float) -> None:
    assert_same(partly_compacted(bucket_url, keep_s).root)


def test_a_copy_in_a_bucket_is_seen_alike(tmp_path: Path, bucket_url: str) -> None:
    store = partly_compacted(tmp_path / "store", keep_s=1000)
    copy = f"{bucket_url}/store"
    pafs.copy_files(str(store.root), copy.removeprefix("s3://"), destination_filesystem=s3())

    assert_same(store.root, loaded(copy))


def test_over_http_what_was_compacted_is_asked_for_by_name(tmp_path: Path) -> None:
    text = views_sql("https://example.org/store/")

    assert "read_text('https://example.org/store/segments/manifest.json')" in text
    assert "glob" not in text
    assert "s3://bucket/store/batches/step/*/models.parquet" in views_sql("s3://bucket/store")
