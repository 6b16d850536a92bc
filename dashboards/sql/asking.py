"""Who answers SQL: a bounded process for each query, as for programs that ask over the web."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Final

import pyarrow as pa

from cc_ray.errors import CcRayError
from cc_ray.views.isolated import Limits, Request, Workers

MOST_ROWS: Final = 10_000
"""Rows of an answer that the page shows; a file of it holds more."""
LIMITS: Final = Limits(seconds=30.0, rows=MOST_ROWS, result_bytes=16 * 2**20)

WAITING: Final = ThreadPoolExecutor(12, thread_name_prefix="sql")
"""Threads that wait for workers: as many as may ask, so that nobody waits for a thread."""


@dataclass(frozen=True)
class Outcome:
    """What came of a query."""

    query: str
    table: pa.Table | None = None
    """The answer; None if there is none."""
    truncated: bool = False
    """Whether there are more rows than the answer has."""
    duration_s: float = 0.0
    error: str = ""
    """Why there is no answer and what to do, in one line."""


def ask(root: str, query: str, query_id: str, user: str) -> Outcome:
    """Answer a query; errors are an outcome, too.

    Args:
        root: The store's folder or URL.
        query: One statement that reads.
        query_id: Name by which it can be cancelled.
        user: Whose query it is.
    """
    began = time.monotonic()
    try:
        answer = workers(root).ask(Request(query, limits=LIMITS), query_id=query_id, user=user)
        return Outcome(query, answer.table, answer.truncated, time.monotonic() - began)
    except CcRayError as error:
        return Outcome(query, duration_s=time.monotonic() - began, error=" ".join(str(error).split()))


def cancel(root: str, query_id: str, user: str) -> None:
    """Stop a query, running or waiting."""
    workers(root).cancel(query_id, user=user)


@cache
def workers(root: str) -> Workers:
    """The workers of a store in this process; none runs before the first query."""
    return Workers(root)
