"""Answers: the page asked for, in the format asked for, only if it is new."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode

import pyarrow as pa
from fastapi import Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from cc_ray.api.desk import Desk, user_of
from cc_ray.formats import FORMATS, encode, plain, rows
from cc_ray.recipe import identity
from cc_ray.views import Views

MOST_ROWS: Final = 100_000
"""Rows of a page at most."""
MOST_ROWS_OF_TEXT: Final = 10_000
"""The same for JSON and CSV, which take long to write."""
MOST_BYTES: Final = 64 * 2**20
"""Bytes of a page at most, in memory: an answer is made whole before it is sent."""
MOST_BYTES_OF_TEXT: Final = 8 * 2**20
"""The same for JSON and CSV, which take many times as much while they are written."""

FormatName = Literal["json", "csv", "parquet", "arrow"]
Format = Annotated[
    FormatName | None, Field(description="How the answer is written; without it the Accept header decides, then json.")
]
Limit = Annotated[int, Field(ge=1, le=MOST_ROWS, description="Rows of the page.")]
Offset = Annotated[int, Field(ge=0, le=2**53, description="Rows before the page.")]


class Paging(BaseModel):
    """Which page, in which format."""

    model_config = ConfigDict(extra="forbid")

    limit: Limit = 100
    offset: Offset = 0
    format: Format = None


class Page(BaseModel):
    """A page of a table, as JSON."""

    total: int
    """Rows of all pages; of a question that stops at `limit`, rows known so far."""
    limit: int
    """Rows of a page."""
    offset: int
    """Rows before this page."""
    rows: list[dict[str, Any]]
    """The rows: value by column."""
    tables: list[str]
    """Tables of the answer; `table=` chooses one of them."""
    facts: dict[str, Any]
    """What stands beside the tables."""


PageQuery = Annotated[Paging, Query()]
OTHER_FORMATS: Final[Mapping[str, Any]] = {
    FORMATS[name].partition(";")[0]: {"schema": {"type": "string", "format": "binary"}}
    for name in ("csv", "parquet", "arrow")
}
UNCHANGED: Final = {"description": "Nothing changed since the ETag in If-None-Match."}
DOCUMENTED: Final[Mapping[int | str, dict[str, Any]]] = {
    200: {"model": Page, "content": OTHER_FORMATS, "description": "A page of the answer."},
    304: UNCHANGED,
}


@dataclass(frozen=True)
class Found:
    """A table to be answered with a page of."""

    table: pa.Table
    paged: int | None = None
    """Rows of all pages, where the table is one page already."""
    tables: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


async def answered(request: Request, desk: Desk, paging: Paging, find: Callable[[Views], Found]) -> Response:
    """Answer with a page of what is found, or 304 if the client has it.

    Args:
        request: Its headers tell format and ETag.
        desk: The store.
        paging: Which page.
        find: Asks the question; runs in a thread.
    """
    format = chosen_format(request, paging.format)
    version = await desk.quick(desk.store.version)
    headers = {"ETag": tag_of(request, version, format), "Vary": "Accept"}
    if is_known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return await desk.question(lambda: _written(request, paging, format, find(desk.views()), headers), user_of(request))


def tag_of(request: Request, version: str, format: str = "json") -> str:
    """The ETag of an answer: the same store, asked the same by the same program, answers the same.

    Args:
        request: What is asked.
        version: The store's version; it stays when rows only move to other files.
        format: How the answer is written.
    """
    return f'"{identity([program_version(), version, request.url.path, request.url.query, format])}"'


def is_known(request: Request, tag: str) -> bool:
    """Whether the client has the answer of this ETag."""
    known = request.headers.get("if-none-match", "")
    return known.strip() == "*" or tag in (each.strip().removeprefix("W/") for each in known.split(","))


@cache
def program_version() -> str:
    """Version of the installed program; empty where it runs uninstalled."""
    try:
        return metadata.version("cc-ray")
    except metadata.PackageNotFoundError:
        return ""


def chosen_format(request: Request, named: str | None) -> str:
    """The format that a request wants.

    Raises:
        HTTPException: 406, if the Accept header allows none.
    """
    if named is not None:
        return named
    accept = ", ".join(request.headers.getlist("accept")) or "*/*"
    weights = _weights(accept)
    types = {name: FORMATS[name].partition(";")[0] for name in FORMATS}
    best = max(types, key=lambda name: _wanted(types[name], weights))
    if _wanted(types[best], weights) > 0:
        return best
    raise HTTPException(
        406, f"none of the formats asked for is there: Accept {', '.join(types.values())}, or use format=."
    )


def _wanted(media_type: str, weights: Mapping[str, float]) -> float:
    """The weight of the range that names a type most closely, as RFC 9110 has it."""
    ranges = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
    return next((weights[name] for name in ranges if name in weights), 0.0)


def _weights(accept: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in accept.split(",")[:50]:
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        given = [piece.removeprefix("q=") for piece in parameters if piece.startswith("q=")]
        found.setdefault(name, _weight(given[0] if given else "1"))
    return found


def _weight(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 0.0


def _written(request: Request, paging: Paging, format: str, found: Found, headers: dict[str, str]) -> Response:
    table = found.table if found.paged is not None else found.table.slice(paging.offset, paging.limit)
    total = found.paged if found.paged is not None else found.table.num_rows
    _check_size(table, format)
    headers = {**headers, "Cc-Ray-Total": str(total), **_links(request, paging, total)}
    if format != "json":
        return Response(encode(table, format), 200, headers, FORMATS[format])
    page = {
        "total": total,
        "limit": paging.limit,
        "offset": paging.offset,
        "rows": rows(table),
        "tables": list(found.tables),
        "facts": {name: plain(value) for name, value in found.facts.items()},
    }
    return Response(json.dumps(page, allow_nan=False), 200, headers, "application/json")


def _check_size(table: pa.Table, format: str) -> None:
    most = MOST_BYTES_OF_TEXT if format in ("json", "csv") else MOST_BYTES
    if format in ("json", "csv") and table.num_rows > MOST_ROWS_OF_TEXT:
        raise HTTPException(
            413, f"the page has more than {MOST_ROWS_OF_TEXT:,} rows: ask for fewer with limit=, or for format=parquet."
        )
    if table.nbytes > most:
        raise HTTPException(
            413, f"the page is larger than {most // 2**20} MiB: ask for fewer rows with limit=, or for format=arrow."
        )


def _links(request: Request, paging: Paging, total: int) -> dict[str, str]:
    offsets = {}
    if paging.offset + paging.limit < total:
        offsets["next"] = paging.offset + paging.limit
    if paging.offset:
        offsets["prev"] = max(0, paging.offset - paging.limit)
    links = [f'<{_at(request, offset, paging.limit)}>; rel="{name}"' for name, offset in offsets.items()]
    return {"Link": ", ".join(links)} if links else {}


def _at(request: Request, offset: int, limit: int) -> str:
    kept = [(name, value) for name, value in request.query_params.multi_items() if name not in ("offset", "limit")]
    query = urlencode([*kept, ("limit", limit), ("offset", offset)], errors="replace")
    # Relative: whatever stands before the server knows its address better.
    return f"?{query}"
