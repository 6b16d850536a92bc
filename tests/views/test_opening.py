from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from cc_ray.errors import QueryError, StoreError
from cc_ray.recipe import Recipe
from cc_ray.schema import TABLES
from cc_ray.views import open_views
from cc_ray.views.definitions import definitions
from tests.compare.small import add_model, answers, model_row, new_store


def test_every_table_and_view_of_an_empty_store_answers(tmp_path: Path) -> None:
    views = open_views(new_store(tmp_path).root)

    for name in {*TABLES, *(definition.name for definition in definitions())} - {"tasks", "metric_definitions"}:
        assert views.sql(f"FROM {name}").num_rows == 0


def test_rows_come_back_with_their_types(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "aaaa", labels=[0, 1], probabilities=answers([0, 2]))
    views = open_views(tmp_path)

    predictions = views.sql("FROM predictions ORDER BY instance")
    assert predictions.cast(TABLES["predictions"].schema).equals(store.read("predictions"))
    assert views.sql("SELECT created_at FROM models")["created_at"].type == pa.timestamp("us", tz="Etc/UTC")


def test_values_go_by_position_or_by_name(tmp_path: Path) -> None:
    views = open_views(new_store(tmp_path).root)

    assert views.sql("SELECT ? + 1 AS n", [1])["n"].to_pylist() == [2]
    assert views.sql("SELECT $one + 1 AS n", {"one": 1})["n"].to_pylist() == [2]


@pytest.mark.parametrize(
    "question",
    [
        "FROM tasks",
        "SHOW TABLES",
        "DESCRIBE models",
        "SUMMARIZE tasks",
        "EXPLAIN SELECT 1",
        "VALUES (1)",
        "PIVOT tasks ON task USING count(*)",
    ],
)
def test_every_way_to_ask_is_allowed(tmp_path: Path, question: str) -> None:
    assert open_views(new_store(tmp_path).root).sql(question).num_columns


@pytest.mark.parametrize(
    "statement",
    [
        "COPY models TO '{outside}'",
        "COPY (SELECT 1) TO '{outside}'",
        "WITH c AS (COPY (SELECT 1) TO '{outside}') SELECT 1",
        "EXPORT DATABASE '{outside}'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM read_parquet('https://localhost/x.parquet')",
        "ATTACH '{outside}'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET threads = 1",
        "SET enable_external_access = true",
        "RESET lock_configuration",
        "PRAGMA threads = 1",
        "CREATE TABLE mine (i INT)",
        "CREATE TEMP VIEW models AS SELECT 1",
        "DROP TABLE models",
        "DELETE FROM models",
        "WITH gone AS (DELETE FROM models RETURNING *) SELECT * FROM gone",
        "INSERT INTO tasks SELECT * FROM tasks",
        "BEGIN",
        "SELECT 1; DROP TABLE models",
        "",
    ],
)
def test_what_is_no_question_is_refused(tmp_path: Path, statement: str) -> None:
    views = open_views(new_store(tmp_path / "store").root)
    outside = tmp_path / "outside"

    with pytest.raises(QueryError):
        views.sql(statement.format(outside=outside))

    assert not outside.exists()
    assert views.sql("FROM models").num_rows == 0


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("SELECT * FROM model", "SHOW TABLES"),
        ("SELECT nme FROM models", "DESCRIBE"),
        ("SELEC 1", "syntax error"),
        ("SELECT * FROM read_csv('x')", "no files"),
        ("DROP TABLE models", "a DROP statement is not a question"),
        ("SELECT 1; SELECT 2", "2 were given"),
    ],
)
def test_an_error_says_in_one_line_what_to_do(tmp_path: Path, question: str, said: str) -> None:
    with pytest.raises(QueryError, match=said) as caught:
        open_views(new_store(tmp_path).root).sql(question)

    assert "\n" not in str(caught.value)


def test_names_of_python_are_not_tables(tmp_path: Path) -> None:
    secret = pa.table({"a": [1]})

    with pytest.raises(QueryError):
        open_views(new_store(tmp_path).root).sql("FROM secret")
    assert secret


def test_the_own_connection_spoils_nothing(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "aaaa")
    views = open_views(tmp_path)

    views.connection.execute("DROP VIEW edges")
    views.connection.execute("DELETE FROM models")

    assert views.sql("SELECT model_id FROM models")["model_id"].to_pylist() == ["aaaa"]
    assert views.sql("FROM edges").num_rows == 0
    assert views.connection.execute("SELECT count(*) FROM predictions").fetchall() == [(0,)]


def test_many_threads_ask_at_once(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    ids = [add_model(store, f"model{i}", labels=[0, 1], probabilities=answers([0, 2])) for i in range(4)]
    views = open_views(tmp_path)

    def ask(model_id: str) -> list[int]:
        found = views.sql("SELECT prediction FROM predictions WHERE model_id = ? ORDER BY instance", [model_id])
        return list(found["prediction"].to_pylist())

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, ids * 10)) == [[0, 2]] * 40


def test_views_stay_as_they_were_until_refreshed(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "aaaa", labels=[0], probabilities=answers([0]))
    views = open_views(tmp_path)
    assert views.refreshed() is views

    add_model(store, "bbbb", parent="aaaa", labels=[0], probabilities=answers([1]), metrics={"accuracy": 0.0})
    newer = views.refreshed()

    assert newer.version != views.version
    for table in ("models", "predictions"):
        assert views.sql(f"FROM {table}").num_rows == 1
        assert newer.sql(f"FROM {table}").num_rows == 2
    assert newer.sql("SELECT parent FROM edges")["parent"].to_pylist() == ["aaaa"]


def test_refreshing_reads_anew_where_files_went_away(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "aaaa")
    views = open_views(tmp_path)

    (tmp_path / "batches" / "step" / "aaaa").rename(tmp_path / "gone")
    store.publish("step", "merged", {"models": [model_row(name, Recipe("net")) for name in ("bbbb", "cccc")]})

    assert views.refreshed().sql("SELECT model_id FROM models ORDER BY 1")["model_id"].to_pylist() == ["bbbb", "cccc"]


def test_a_folder_that_is_no_store_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not a CC-Ray store"):
        open_views(tmp_path)


@pytest.mark.parametrize("table", ["models", "predictions"])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path, table: str) -> None:
    store = new_store(tmp_path)
    add_model(store, "aaaa", labels=[0], probabilities=answers([0]))
    file = tmp_path / "batches" / "step" / "aaaa" / f"{table}.parquet"
    file.write_bytes(file.read_bytes()[:40])

    with pytest.raises((StoreError, QueryError), match=str(file)):
        open_views(tmp_path).sql(f"FROM {table}")
