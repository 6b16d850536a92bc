"""The worker: opens the store, waits for one request on standard input, writes one answer, and ends.

An empty line says that the query begins. The answer is a line of JSON, `{"rows": ..., "truncated": ...,
"version": ...}` or `{"error": ..., "kind": ...}`, and behind it the rows in the format asked for.
"""

from __future__ import annotations

import json
import os
import sys
import sysconfig
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from cc_ray.errors import CcRayError, QueryError, TooLargeError
from cc_ray.formats import encode
from cc_ray.store import Store
from cc_ray.store.written import SUFFIX, WrittenStore
from cc_ray.views.database import lock
from cc_ray.views.definitions import needed
from cc_ray.views.isolated.confinement import allow_reading, cores, expose, limit, stand_back
from cc_ray.views.isolated.request import LONGEST_LINE, Limits, Request
from cc_ray.views.opening import Views
from cc_ray.views.statements import check, explained, shortened

BATCH_ROWS: Final = 2048
"""Rows that are fetched at a time; DuckDB's own step."""
OWN_SHARE: Final = 0.8
"""Part of a query's memory that DuckDB counts itself; the rest is for what it does not count, and for the answer."""

_SETTINGS: Final = {"temp_directory": "", "max_expression_depth": 500}
"""Nothing is put on the disk; half of DuckDB's depth, because its stack is bounded, too."""

_PROGRAM: Final = (
    Path(__file__).parents[2],
    sys.prefix,
    sys.base_prefix,
    sysconfig.get_path("purelib"),
    "/usr/lib",
    "/usr/share/zoneinfo",
)
_MACHINE: Final = ("/proc/self", "/sys/fs/cgroup")
"""Where DuckDB looks how much memory there is; it crashes if it may not."""
_OUT_OF_MEMORY: Final = (MemoryError, duckdb.OutOfMemoryException, pa.ArrowMemoryError)


def main(root: str, *, spare: bool) -> None:
    """Answer one request over a store, then end.

    Args:
        root: The store's folder; or the file in which one of a bucket is written down, see `written.py`.
        spare: Open all of the store before the request is there, so that it is answered at once; otherwise only what
            the request needs is opened.
    """
    expose()
    allow_reading([Path(root).parents[1] if root.endswith(SUFFIX) else root, *_PROGRAM, *_MACHINE])
    opened = _attempt(lambda: _opened(root)) if spare else None
    line = sys.stdin.buffer.readline(LONGEST_LINE + 1)
    if not line:
        os._exit(0)
    threading.Thread(target=_end_with_supervisor, daemon=True).start()
    request = Request.from_line(line)
    if not isinstance(opened, _Opened):  # What a spare could not open may be there meanwhile.
        opened = _attempt(lambda: _opened(root, request.query))
    _say_begun()
    _send(*(_attempt(lambda: _answer(opened, request)) if isinstance(opened, _Opened) else opened))
    # Not the usual end: a half-read result would be torn down in order, which takes time that nobody waits for.
    os._exit(0)


@dataclass(frozen=True)
class _Opened:
    views: Views
    connection: duckdb.DuckDBPyConnection

    def refreshed(self) -> _Opened:
        views = self.views.refreshed()
        return self if views is self.views else _Opened(views, views.unlocked(_SETTINGS))


def _opened(root: str, query: str | None = None) -> _Opened:
    store = WrittenStore(Path(root)) if root.endswith(SUFFIX) else Store(root)
    views = Views(store, only=None if query is None else needed(query))
    return _Opened(views, views.unlocked(_SETTINGS))


def _end_with_supervisor() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def _say_begun() -> None:
    sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()


def _send(head: dict[str, Any], body: bytes) -> None:
    out = sys.stdout.buffer
    out.write(json.dumps(head).encode() + b"\n")
    out.write(body)
    out.flush()


def _attempt(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except _OUT_OF_MEMORY:
        return {"kind": "memory", "error": ""}, b""
    except TooLargeError as error:
        return {"kind": "large", "error": str(error)}, b""
    except QueryError as error:
        return {"kind": "query", "error": str(error)}, b""
    except duckdb.Error as error:
        return {"kind": "memory" if _no_memory(error) else "query", "error": explained(error)}, b""
    except (CcRayError, OSError) as error:
        return {"kind": "store", "error": str(error)}, b""
    except Exception as error:
        return {"kind": "query", "error": shortened(f"the query cannot be answered: {error}")}, b""


def _answer(opened: _Opened, request: Request) -> tuple[dict[str, Any], bytes]:
    opened = opened.refreshed()
    connection = opened.connection
    stand_back()
    _bound(connection, request.limits)
    check(connection, request.query)
    text = request.query
    if request.explain:
        text = f"EXPLAIN {text}"
        check(connection, text)
    connection.execute("BEGIN TRANSACTION READ ONLY")
    # An empty list of values and none at all are the same to people, not to DuckDB.
    relation = connection.sql(text, params=request.parameters or None)
    found, truncated = _fetched(relation.to_arrow_reader(BATCH_ROWS), request.offset, request.limits)
    body = encode(found, request.format)
    _check_size(len(body), request.limits)
    return {"rows": found.num_rows, "truncated": truncated, "version": opened.views.version}, body


def _bound(connection: duckdb.DuckDBPyConnection, limits: Limits) -> None:
    """Bound DuckDB first, which then says what is missing, and the whole process behind it."""
    ((taken,),) = connection.execute("SELECT sum(memory_usage_bytes)::BIGINT FROM duckdb_memory()").fetchall()
    own = (taken or 0) + int(limits.memory_bytes * OWN_SHARE)
    lock(connection, {"memory_limit": f"{own}B", "threads": cores()})
    limit(limits.seconds, limits.memory_bytes)


def _fetched(reader: Any, offset: int, limits: Limits) -> tuple[pa.Table, bool]:
    """The rows asked for, and whether there are more: no more is read than that."""
    batches: list[pa.RecordBatch] = []
    wanted, size = limits.rows + 1, 0
    for batch in reader:
        skipped = min(offset, batch.num_rows)
        offset -= skipped
        batch = batch.slice(skipped, wanted)
        wanted -= batch.num_rows
        size += batch.nbytes
        _check_size(size, limits)
        batches.append(batch)
        if not wanted:
            break
    table = pa.Table.from_batches(batches, reader.schema)
    return table.slice(0, limits.rows), table.num_rows > limits.rows


def _check_size(size: int, limits: Limits) -> None:
    if size > limits.result_bytes:
        raise TooLargeError(
            f"the answer is larger than {limits.result_bytes / 2**20:.0f} MiB: choose fewer columns or rows (LIMIT)."
        )


def _no_memory(error: duckdb.Error) -> bool:
    return any(sign in str(error) for sign in ("bad_alloc", "Out of Memory", "ailed to allocate"))
