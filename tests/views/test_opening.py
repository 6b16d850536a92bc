from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from cc_ray.errors import QueryError, StoreError
from cc_ray.recipe import Recipe
from cc_ray.schema import TABLES
from cc_ray.store.compaction import compact
from cc_ray.views import open_views
from cc_ray.views.definitions import definitions, needed
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


def test_a_name_that_is_nearly_one_of_the_store_is_told_the_right_one(tmp_path: Path) -> None:
    views = open_views(new_store(tmp_path).root)
    assert views.sql("FROM tasks").num_rows == 1

    with pytest.raises(QueryError, match='Did you mean "model_metrics"'):
        views.sql("FROM model_metric")


def test_many_threads_ask_for_every_table_and_view_at_once(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "aaaa", labels=[0], probabilities=answers([0]), metrics={"accuracy": 1.0})
    names = [*TABLES, *(definition.name for definition in definitions())]
    views = open_views(tmp_path)

    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda name: views.sql(f"FROM {name}").num_rows, names * 3))

    assert counts == [open_views(tmp_path).sql(f"FROM {name}").num_rows for name in names] * 3


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


def test_views_go_on_while_files_move_and_say_when_they_are_gone(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "aaaa", labels=[0], probabilities=answers([0]), metrics={"accuracy": 1.0})
    views = open_views(tmp_path)

    compact(store, keep_s=1000)
    assert views.sql("FROM predictions").num_rows == 1
    moved = views.refreshed()
    assert moved is not views and moved.version == views.version
    compact(store, keep_s=-1)

    with pytest.raises(QueryError, match=r"refreshed\(\)"):
        views.sql("FROM predictions")
    assert views.sql("FROM models").num_rows == 1
    assert moved.refreshed() is moved
    assert moved.sql("SELECT model_id, accuracy FROM predictions JOIN model_metrics USING (model_id)").num_rows == 1


def test_a_compacted_store_and_what_came_after_are_seen_alike(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "aaaa", labels=[0], probabilities=answers([0]))
    compact(store, keep_s=1000)
    add_model(store, "bbbb", parent="aaaa", labels=[0], probabilities=answers([0]))
    views = open_views(tmp_path)

    for table in ("models", "predictions"):
        assert views.sql(f"SELECT model_id FROM {table} ORDER BY 1")["model_id"].to_pylist() == ["aaaa", "bbbb"]
    assert views.sql("FROM edges").num_rows == 1


def test_tables_of_a_question_are_forgotten_after_it(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "aaaa", labels=[0, 1], probabilities=answers([0, 2]))
    views = open_views(tmp_path)
    mine = pa.table({"n": [1, 2, 3]})

    for name in ("mine", "predictions", "Predictions", "models"):
        assert views.sql(f"FROM {name}", tables={name: mine}).num_rows == 3
        with pytest.raises(QueryError):
            views.sql(f"SELECT nothing FROM {name}", tables={name: mine})
    with pytest.raises(QueryError, match="SHOW TABLES"):
        views.sql("FROM mine")
    assert views.sql("FROM predictions").num_rows == 2
    assert views.sql("FROM models").num_rows == 1


def test_an_error_spoils_no_later_question(tmp_path: Path) -> None:
    views = open_views(new_store(tmp_path).root)

    for _ in range(3):
        with pytest.raises(QueryError):
            views.sql("SELECT 'a'::INT")
        with pytest.raises(QueryError):
            views.sql("SELECT 1; SELECT 2")
        assert views.sql("PIVOT tasks ON task USING count(*)").num_rows == 1


def test_the_views_say_what_rows_and_columns_are(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "aaaa", metrics={"accuracy": 1.0})
    views = open_views(tmp_path)
    query = """
        SELECT comment FROM duckdb_columns()
        WHERE (table_name, column_name) IN (('predictions', 'loss'), ('pairs', 'lost'), ('model_metrics', 'accuracy'))
        ORDER BY table_name
    """

    for _ in range(2):
        found = views.sql(query)["comment"].to_pylist()
        assert found[:2] == ["accuracy", "the base is right and the model wrong"]
        assert found[2].startswith("-ln of the true class's probability") and found[2].endswith("in nats")
    assert views.connection.execute(query).fetchall() == [(comment,) for comment in found]


@pytest.mark.parametrize("name", sorted({*TABLES, *(definition.name for definition in definitions())}))
def test_what_is_opened_for_one_query_suffices_for_it(tmp_path: Path, name: str) -> None:
    store = new_store(tmp_path)
    add_model(store, "aaaa", labels=[0], probabilities=answers([0]), metrics={"accuracy": 1.0})
    add_model(store, "bbbb", parent="aaaa", labels=[0], probabilities=answers([1]), metrics={"accuracy": 0.0})
    query = f'SELECT * FROM "{name.upper()}" ORDER BY ALL'

    found = open_views(tmp_path, only_for=query).sql(query)

    assert found.to_pylist() == open_views(tmp_path).sql(query).to_pylist()


def test_what_a_query_does_not_name_is_not_opened(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "aaaa")
    views = open_views(tmp_path, only_for="SELECT 1 FROM trials -- and stored.studies")
    add_model(store, "bbbb")

    for each in (views, views.refreshed()):
        assert each.sql("SHOW TABLES")["name"].to_pylist() == ["studies", "trials"]
        with pytest.raises(QueryError):
            each.sql("FROM models")


@pytest.mark.parametrize(
    "query",
    [
        "SHOW TABLES",
        "from (describe)",
        "DESC;",
        "SELECT * FROM (DESC)",
        "summarize x",
        "SELECT * FROM Information_Schema.tables",
        "FROM duckdb_tables()",
        "FROM pg_catalog.pg_tables",
        "PRAGMA_table_info('x')",
        "FROM query('FROM mod' || 'els')",
        "FROM query_table('mod' || 'els')",
    ],
)
def test_a_query_that_asks_what_there_is_needs_everything(query: str) -> None:
    assert needed(query) is None


def test_a_query_needs_what_it_names_and_what_that_is_made_from() -> None:
    assert needed("SELECT 1 ORDER BY 1 DESC") == frozenset()
    assert needed("SELECT name FROM Edges e ORDER BY name DESC") == frozenset({"edges", "lineage", "models"})
    assert needed("FROM stored.trials") == frozenset({"trials"})
    assert {"models", "metrics", "lineage", "ancestry"} <= (needed("FROM metric_changes") or set())


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
