"""`/sql`: a query in a worker of its own, cancelled when its client goes away."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from cc_ray.api.answers import OTHER_FORMATS, FormatName, chosen_format
from cc_ray.api.desk import Desk, user_of
from cc_ray.api.problems import documented, problem
from cc_ray.formats import FORMATS
from cc_ray.views.isolated import Answer, Limits
from cc_ray.views.isolated import Request as Question

LONGEST_QUERY: Final = 100_000
MOST_ROWS: Final = 100_000
MOST_SECONDS: Final = 60.0
_CHECK_S: Final = 0.25
"""How often it is looked whether the client is still there, in seconds."""

QueryId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
Named = Annotated[QueryId, Path(description="Name that the query was given.")]
Scalar = str | int | float | bool | None
Values = list[Scalar | list[Scalar]] | dict[str, Scalar | list[Scalar]]


_EXAMPLES: Final[list[Any]] = [
    {"query": "SELECT model_id, name, accuracy FROM model_metrics ORDER BY accuracy DESC", "limit": 10},
    {
        "query": "SELECT count(*) AS lost FROM pairs WHERE model_id = ? AND base_id = ? AND lost",
        "parameters": ["a", "b"],
    },
]


class SqlQuery(BaseModel):
    """A question in SQL."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": _EXAMPLES})

    query: str = Field(min_length=1, max_length=LONGEST_QUERY, description="One statement that reads.")
    parameters: Values | None = Field(None, description="Values for `?` by position, or for `$name` by name.")
    format: FormatName | None = Field(None, description="Without it the Accept header decides, then json.")
    limit: int = Field(1000, ge=1, le=MOST_ROWS, description="Rows at most; `truncated` says if there are more.")
    offset: int = Field(0, ge=0, le=100_000_000, description="Rows to leave out first.")
    seconds: float = Field(30.0, ge=0.1, le=MOST_SECONDS, description="Wall time at most.")
    explain: bool = Field(False, description="Answer with the query's plan instead of running it.")
    query_id: QueryId | None = Field(None, description="Name by which DELETE cancels it; made up if left out.")

    @field_validator("query")
    @classmethod
    def _writable(cls, query: str) -> str:
        try:
            query.encode()
        except UnicodeEncodeError as error:
            raise ValueError("the query holds half a character (a lone surrogate)") from error
        return query


class SqlAnswer(BaseModel):
    """The answer, as JSON."""

    query_id: str
    """Name by which it could be cancelled."""
    truncated: bool
    """Whether there are more rows."""
    rows: list[dict[str, Any]]


def sql_routes(desk: Desk) -> APIRouter:
    """Ask and cancel."""
    router = APIRouter(prefix="/sql", tags=["sql"])
    answers: dict[int | str, dict[str, Any]] = {200: {"model": SqlAnswer, "content": OTHER_FORMATS}}

    @router.post("", responses={**answers, **documented(400, 406, 409, 415)})
    async def ask(request: Request, asked: SqlQuery) -> Response:
        """Answer one SQL question over the store's tables and views; `/tables` lists them.

        It runs in a process of its own with bounded memory, time, rows and bytes: 422 says that it needed more time or
        memory, 413 that its answer is larger than 64 MiB, 429 that too many queries wait. An answer is made whole
        before it is sent; `truncated` says that there are more rows than `limit`.
        """
        format = chosen_format(request, asked.format)
        query_id, user = asked.query_id or uuid.uuid4().hex, user_of(request)
        limits = Limits(seconds=asked.seconds, rows=asked.limit)
        question = Question(asked.query, asked.parameters, format, asked.offset, asked.explain, limits)
        async with _cancelled_with_client(request, desk, query_id, user):
            answer = await desk.query(lambda: desk.workers.ask(question, query_id=query_id, user=user))
        return _written(answer, query_id, format)

    @router.delete("/{query_id}", status_code=204, responses=documented(404))
    async def cancel(request: Request, query_id: Named) -> Response:
        """Cancel a query of yours, running or waiting."""
        if await desk.quick(lambda: desk.workers.cancel(query_id, user=user_of(request))):
            return Response(status_code=204)
        return problem(404, f"no query '{query_id}' of yours is at work: it has ended, or never was.")

    return router


@asynccontextmanager
async def _cancelled_with_client(request: Request, desk: Desk, query_id: str, user: str) -> AsyncIterator[None]:
    async def watch() -> None:
        # Until it is really stopped: a client may be gone before its query has begun.
        while not (await request.is_disconnected() and desk.workers.cancel(query_id, user=user)):
            await asyncio.sleep(_CHECK_S)

    watcher = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        # Ray Serve's way to say that the client is gone.
        desk.workers.cancel(query_id, user=user)
        raise
    finally:
        watcher.cancel()


def _written(answer: Answer, query_id: str, format: str) -> Response:
    headers = {
        "Cc-Ray-Query-Id": query_id,
        "Cc-Ray-Rows": str(answer.rows),
        "Cc-Ray-Truncated": str(answer.truncated).lower(),
    }
    body = answer.body
    if format == "json":
        head = json.dumps({"query_id": query_id, "truncated": answer.truncated})
        # The worker wrote the rows: to read them here would hold up everybody else.
        body = head[:-1].encode() + b', "rows": ' + body + b"}"
    return Response(body, 200, headers, FORMATS[format])
