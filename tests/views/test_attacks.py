"""Hostile SQL against the worker: what must not be reached is refused, what takes too much is bounded."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from cc_ray.errors import LimitError, QueryError
from cc_ray.views.isolated import Limits, Request, Workers
from tests.compare.small import add_model, answers, new_store

PATIENT = Limits(seconds=30)
SHORT = Limits(seconds=0.5, memory_bytes=256 * 2**20, result_bytes=8 * 2**20, rows=100)

REFUSED = {
    "files": [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_csv_auto('/etc/passwd')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_blob('/proc/self/environ')",
        "SELECT * FROM read_json('/etc/passwd')",
        "SELECT * FROM read_ndjson('/etc/passwd')",
        "SELECT * FROM read_json_objects('/etc/passwd')",
        "SELECT * FROM read_parquet('{root}/batches/step/aaaa/models.parquet')",
        "SELECT * FROM parquet_metadata('{root}/batches/step/aaaa/models.parquet')",
        "SELECT * FROM parquet_schema('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM '{root}/store.json'",
        "SELECT * FROM \"/etc/passwd.csv\"",
        "SELECT * FROM '/etc/\u202epasswd'",
        "SELECT * FROM read_text('file:///etc/passwd')",
        "SELECT * FROM read_text(['/etc/passwd', '/etc/hosts'])",
        "SELECT * FROM read_text(chr(47) || 'etc/passwd')",
        "SELECT * FROM read_parquet('https://localhost/x.parquet')",
        "SELECT * FROM read_parquet('s3://bucket/x.parquet')",
        "SELECT * FROM read_duckdb('/tmp/x.db')",
    ],
    "writing": [
        "COPY models TO '{outside}'",
        "COPY (SELECT 1) TO '/dev/stdout'",
        "COPY tasks FROM '/etc/passwd'",
        "WITH c AS (COPY (SELECT 1) TO '{outside}') SELECT 1",
        "WITH a AS (WITH b AS (COPY (SELECT 1) TO '{outside}') SELECT 1) SELECT * FROM a",
        "WITH gone AS (DELETE FROM models RETURNING *) SELECT * FROM gone",
        "WITH new AS (INSERT INTO tasks SELECT * FROM tasks RETURNING *) SELECT * FROM new",
        "EXPORT DATABASE '{outside}'",
        "IMPORT DATABASE '{outside}'",
        "ATTACH '{outside}' AS other",
        "DETACH memory",
        "USE information_schema",
        "CREATE TABLE mine AS SELECT 1",
        "CREATE OR REPLACE MACRO count(x) AS 1",
        "CREATE TYPE mood AS ENUM ('a')",
        "CREATE SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')",
        "ALTER TABLE models ADD COLUMN x INT",
        "UPDATE models SET name = 'x'",
        "VACUUM",
        "ANALYZE",
        "CHECKPOINT",
        "FORCE CHECKPOINT",
    ],
    "settings": [
        "INSTALL httpfs",
        "LOAD httpfs",
        "LOAD '/tmp/evil.duckdb_extension'",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "SET SESSION memory_limit = '100GB'",
        "RESET lock_configuration",
        "PRAGMA enable_external_access",
        "PRAGMA memory_limit = '100GB'",
        "SET python_enable_replacements = true",
        "SET VARIABLE x = 1",
        "CALL pragma_version()",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "DEALLOCATE p",
        "BEGIN",
        "COMMIT",
    ],
    "shapes": [
        "",
        "--",
        "/* nothing",
        ";;;",
        "SELECT 1; SELECT 2",
        "SELECT 1; COPY (SELECT 1) TO '{outside}'",
        "SELECT 1 -- \n; DROP TABLE models",
        "SELECT /* ; */ 1; /* */ DROP TABLE models",
        "SELECT * FROM Request",
        "SELECT * FROM views",
        "SELECT * FROM query('COPY (SELECT 1) TO ''{outside}''')",
        "SELECT * FROM query('SELECT 1; DROP TABLE models')",
        "SELECT * FROM query('SELECT * FROM read_text(''/etc/passwd'')')",
        "SELECT * FROM query_table('/etc/passwd')",
        "SELECT getenv('PATH')",
        "SELECT 1\x00; DROP TABLE models",
        "ＳＥＬＥＣＴ 1",
        "SELECT '\u0000' FROM nowhere",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{outside}'",
        "SELECT $missing",
        "SELECT ?",
        "SELECT error('x')",
    ],
}  # fmt: skip
BOMBS = {
    "counting": "SELECT count(*) FROM range(1000000000000) a WHERE hash(a.range) = 0",
    "cartesian": "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE hash(a.range + b.range) = 0",
    "recursion": "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r",
    "doubling": "WITH RECURSIVE r AS (SELECT 'x' AS t UNION ALL SELECT t || t FROM r) SELECT max(length(t)) FROM r",
    "long text": "SELECT repeat('x', 3000000000)",
    "long texts": "SELECT sum(length(repeat('x' || i, 100000000))) FROM range(1000) t(i)",
    "list of numbers": "SELECT list(i) FROM range(10000000000) t(i)",
    "range list": "SELECT len(range(4000000000))",
    "resized list": "SELECT list_resize([1], 4000000000)",
    "list of lists": "SELECT list_transform(range(100000), lambda x: range(100000))",
    "padding": "SELECT lpad('x', 2000000000, 'y')",
    "sorting": "SELECT repeat('x', 1000) || i AS t FROM range(100000000) t(i) ORDER BY t",
    "grouping": "SELECT i, list(i) FROM range(1000000000) t(i) GROUP BY i ORDER BY i DESC",
    "regular expression": "SELECT sum(regexp_matches(repeat('a', 9999) || i, '(a*)*b')::INT) FROM range(10000000) t(i)",
    "edit distance": "SELECT levenshtein(repeat('a', 100000), repeat('b', 100000))",
    "wide answer": "SELECT repeat('x', 1000000) FROM range(100)",
    "names": "SELECT string_agg(i::VARCHAR, ',') FROM range(1000000000) t(i)",
    "unnesting": "SELECT count(*) FROM (SELECT unnest(range(1000000)) FROM range(1000000))",
    "format": "SELECT format('{{:>2000000000}}', 1)",
    "hugest numbers": "SELECT sum(sqrt(i::HUGEINT * i)) FROM range(1000000000000) t(i)",
}


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    store = new_store(tmp_path_factory.mktemp("attacked") / "store")
    add_model(store, "aaaa", labels=[0, 1], probabilities=answers([0, 2]))
    with Workers(store.root, at_once=4, spare=False) as made:
        yield made


def honest(workers: Workers) -> None:
    found = workers.ask(Request("SELECT model_id, count(*) AS n FROM predictions GROUP BY ALL", limits=PATIENT))
    assert found.table.to_pylist() == [{"model_id": "aaaa", "n": 2}]


@pytest.mark.parametrize("kind", REFUSED)
def test_what_a_query_must_not_reach_is_refused(workers: Workers, kind: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    before = sorted(Path(workers.root).rglob("*"))

    def attack(text: str) -> None:
        query = text.format(outside=outside, root=workers.root)
        with pytest.raises(QueryError) as caught:
            found = workers.ask(Request(query, limits=PATIENT))
            raise AssertionError(f"{query!r} answered {found.table.to_pylist()}")
        assert not isinstance(caught.value, LimitError), query
        assert "root:" not in str(caught.value)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(attack, REFUSED[kind]))

    # Each query had a process of its own: what one of them broke outside of it is there at the end.
    honest(workers)
    assert not outside.exists()
    assert sorted(Path(workers.root).rglob("*")) == before


def test_what_takes_too_much_is_stopped(workers: Workers) -> None:
    def attack(kind: str) -> None:
        with pytest.raises(LimitError):
            found = workers.ask(Request(BOMBS[kind].format(), limits=SHORT))
            raise AssertionError(f"{kind} answered {found.table.to_pylist()}")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(attack, BOMBS))

    honest(workers)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT " + "(" * 3000 + "1" + ")" * 3000,
        "SELECT " + "1+" * 20_000 + "1",
        "SELECT " + ", ".join(f"{i} AS c{i}" for i in range(9_000)),
        "SELECT 1 IN (" + ", ".join(map(str, range(150_000))) + ")",
        "SELECT " + "NOT " * 5_000 + "true",
        " UNION ALL ".join(["SELECT 1"] * 2_000),
        "SELECT " + "[" * 1_000 + "]" * 1_000,
        "SELECT '" + "x" * 900_000 + "'",
        "WITH c0 AS (SELECT 1), "
        + ", ".join(f"c{i} AS (SELECT * FROM c{i - 1}, c{i - 1})" for i in range(1, 30))
        + " SELECT count(*) FROM c29",
    ],
    ids=["parentheses", "sum", "columns", "in", "not", "union", "lists", "text", "doubling"],
)  # fmt: skip
def test_monstrous_statements_are_answered_or_refused(workers: Workers, query: str) -> None:
    try:
        assert workers.ask(Request(query, limits=replace(SHORT, seconds=1))).rows <= SHORT.rows
    except QueryError as error:
        assert len(str(error)) < 2_500
    honest(workers)


def test_there_are_many_attacks() -> None:
    assert sum(map(len, REFUSED.values())) + len(BOMBS) >= 100


def test_endless_answers_are_cut(workers: Workers) -> None:
    found = workers.ask(Request("FROM range(1000000000000)", limits=replace(PATIENT, rows=100)))

    assert (found.rows, found.truncated) == (100, True)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT name, value FROM duckdb_settings()",
        "FROM duckdb_databases()",
        "FROM duckdb_extensions()",
        "FROM duckdb_views()",
        "FROM duckdb_secrets()",
        "EXPLAIN SELECT * FROM predictions",
        "SELECT current_setting('home_directory'), current_setting('temp_directory')",
        "FROM pragma_database_list()",
    ],
)
def test_nothing_tells_where_the_store_is(workers: Workers, query: str) -> None:
    try:
        told = str(workers.ask(Request(query, limits=PATIENT)).table.to_pylist())
    except QueryError as error:
        told = str(error)

    assert workers.root not in told
    assert str(Path.home()) + "/" not in told
