"""The views for any DuckDB client: SQL text that a plain `duckdb` loads, without CC-Ray.

The text names no batch: it finds out what is published when it is loaded, so one text serves a growing store. Load it
again to see what was published since.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pyarrow as pa

from cc_ray.schema import BATCHES, TABLES, Table
from cc_ray.views.database import LARGE
from cc_ray.views.definitions import comments, definitions, identifier, literal

_TYPES: Final = {
    pa.string(): "VARCHAR",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.binary(): "BLOB",
    pa.timestamp("us", tz="UTC"): "TIMESTAMP WITH TIME ZONE",
}


def views_sql(root: str) -> str:
    """Statements that define every table and view of a store in a DuckDB database.

    Small tables are copied as they are when the text is loaded; large ones are read from their files at each question.
    Files that a compaction replaces stay for an hour: load the text again after that.

    Args:
        root: The store's folder or URL, or the address of a copy: s3://, gcs:// or another one that DuckDB can list.
            Over http:// and https:// nothing can be listed: only what was compacted is found.

    Returns:
        SQL for DuckDB 2.0 or newer. Credentials and extensions for an address are the client's.
    """
    root = root.rstrip("/")
    parts = [
        f"-- Tables and views of the CC-Ray store {' '.join(root.split())}. Load this again for newer rows.",
        *_found(root),
        "CREATE SCHEMA IF NOT EXISTS stored",
        *(_table(table) for table in TABLES.values()),
        *(_replacing(definition.statement) for definition in definitions()),
        comments(
            [*sorted(LARGE), *(each.name for each in definitions() if each.kind == "VIEW")],
            [*_plain(), *(each.name for each in definitions() if each.kind == "TABLE")],
        ),
    ]
    return ";\n".join(part.rstrip(";") for part in parts).replace(";\n", "\n", 1) + ";\n"


def _found(root: str) -> Iterator[str]:
    """Variables: the segments that count, the batches that they hold, and the files of each table."""
    # The manifest before the batches: what is compacted in between still has files of its own for a while.
    yield f"""SET VARIABLE cc_ray_segments = (
    SELECT coalesce(list({{'kind': s->>'kind', 'id': s->>'id'}}), [])
    FROM (SELECT unnest((content::JSON->'segments')::JSON[]) AS s
          FROM read_text({literal(f"{root}/segments/manifest.json") if _is_http(root) else _pattern(root)}))
)"""
    yield f"""SET VARIABLE cc_ray_keys = (
    SELECT coalesce(list({literal(f"{root}/segments/")} || s.kind || '/' || s.id || '/keys.parquet'), [])
    FROM (SELECT unnest(getvariable('cc_ray_segments')) AS s)
)"""
    yield """SET VARIABLE cc_ray_covered = (
    SELECT map_from_entries(list((folder, true)))
    FROM query(CASE WHEN len(getvariable('cc_ray_keys')) = 0 THEN 'SELECT NULL AS folder WHERE false' ELSE
        'SELECT DISTINCT parse_path(filename)[-3] || ''/'' || key AS folder
         FROM read_parquet(getvariable(''cc_ray_keys''), filename = true, union_by_name = true)' END)
)"""
    yield from _writers(root)
    for table in TABLES.values():
        yield _files(root, table)


def _writers(root: str) -> Iterator[str]:
    """Variables: in a store of a bucket, whose files count of each batch that no segment holds; else nothing."""
    if _is_http(root):
        return
    yield f"""SET VARIABLE cc_ray_markers = (
    SELECT coalesce(list(file), []) FROM glob({literal(f"{root}/published/*/*")})
    WHERE NOT coalesce(map_contains(getvariable('cc_ray_covered'),
        parse_path(file)[-2] || '/' || parse_path(file)[-1]), false)
)"""
    yield """SET VARIABLE cc_ray_writers = (
    SELECT coalesce(list({'kind': parse_path(filename)[-2], 'folder': concat_ws('/', parse_path(filename)[-2],
        parse_path(filename)[-1], content::JSON->>'writer')}), [])
    FROM query(CASE WHEN len(getvariable('cc_ray_markers')) = 0
        THEN 'SELECT NULL::VARCHAR AS filename, NULL::VARCHAR AS content WHERE false'
        ELSE 'SELECT filename, content FROM read_text(getvariable(''cc_ray_markers''))' END)
)"""


def _pattern(root: str) -> str:
    # A pattern that finds nothing is no error, a missing file is: a new store has no manifest.
    return literal(f"{root}/segments/manifest.jso[n]")


def _files(root: str, table: Table) -> str:
    kinds = [kind for kind, tables in BATCHES.items() if table in tables]
    among = ", ".join(literal(kind) for kind in kinds)
    loose = " UNION ALL ".join(
        f"FROM glob({literal(f'{root}/batches/{kind}/*/{table.name}.parquet')})" for kind in kinds
    )
    batches = f"""
        UNION ALL
        SELECT file FROM ({loose})
        WHERE NOT coalesce(map_contains(getvariable('cc_ray_covered'),
            parse_path(file)[-3] || '/' || parse_path(file)[-2]), false)
        UNION ALL
        SELECT {literal(f"{root}/batches/")} || w.folder || {literal(f"/{table.name}.parquet")} AS file
        FROM (SELECT unnest(getvariable('cc_ray_writers')) AS w)
        WHERE w.kind IN ({among})"""
    return f"""SET VARIABLE cc_ray_{table.name} = (
    SELECT coalesce(list(file), []) FROM (
        SELECT {literal(f"{root}/segments/")} || s.kind || '/' || s.id || {literal(f"/{table.name}.parquet")} AS file
        FROM (SELECT unnest(getvariable('cc_ray_segments')) AS s)
        WHERE s.kind IN ({among}){"" if _is_http(root) else batches}
    )
)"""


def _is_http(root: str) -> bool:
    return root.startswith(("http://", "https://"))


def _table(table: Table) -> str:
    """A table's rows; an empty one, and columns that older files lack, come from a row of nulls that is left out."""
    columns = ", ".join(f"NULL::{_type(column.type)} AS {identifier(column.name)}" for column in table.columns)
    names = ", ".join(identifier(column.name) for column in table.columns)
    covered = table.name in {definition.name for definition in definitions()}
    kind = "VIEW" if table.name in LARGE else "TABLE"
    files = f"getvariable(''cc_ray_{table.name}'')"
    return f"""CREATE OR REPLACE {kind} {"stored." if covered else ""}{table.name} AS
SELECT {names} FROM (
    SELECT {columns} WHERE false
    UNION ALL BY NAME
    FROM query(CASE WHEN len(getvariable('cc_ray_{table.name}')) = 0
        THEN 'SELECT NULL AS {identifier(table.columns[0].name)} WHERE false'
        ELSE 'FROM read_parquet({files}, union_by_name = true, hive_partitioning = false)' END)
)"""


def _type(type_: pa.DataType) -> str:
    if pa.types.is_list(type_):
        return f"{_type(type_.value_type)}[]"
    return _TYPES[type_]


def _plain() -> list[str]:
    covered = {definition.name for definition in definitions()}
    return [name for name in TABLES if name not in LARGE and name not in covered]


def _replacing(statement: str) -> str:
    return statement.replace("CREATE ", "CREATE OR REPLACE ", 1)
