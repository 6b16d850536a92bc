"""Errors as problem JSON (RFC 9457): what was wrong and what to do."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from cc_ray.errors import (
    BusyError,
    CcRayError,
    LimitError,
    ModelNotFoundError,
    NotComparableError,
    ParameterError,
    QueryError,
    StoppedError,
    StoreError,
    TooLargeError,
)

MEDIA_TYPE: Final = "application/problem+json"
LONGEST_DETAIL: Final = 4000

_STATUS: Final[tuple[tuple[type[Exception], int], ...]] = (
    (BusyError, 429),
    (TooLargeError, 413),
    (LimitError, 422),
    (StoppedError, 409),
    (QueryError, 400),
    (ModelNotFoundError, 404),
    (ParameterError, 422),
    (NotComparableError, 422),
    (StoreError, 503),
    (CcRayError, 422),
)
_logger: Final = logging.getLogger(__name__)


class Problem(BaseModel):
    """What went wrong."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"title": "Not Found", "status": 404, "detail": "no model 'x': did you mean 'xy'?"}]
        }
    )

    title: str
    """Name of the status."""
    status: int
    """HTTP status."""
    detail: str
    """What was wrong, and what to do."""


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a path, for OpenAPI."""
    schema = {"schema": Problem.model_json_schema()}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: schema}}
        for status in dict.fromkeys((*statuses, 403, 405, 408, 413, 422, 429, 503))
    }


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """An error as a response."""
    body = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail[:LONGEST_DETAIL]}
    return Response(json.dumps(body), status, headers, MEDIA_TYPE)


def handle_problems(app: FastAPI) -> None:
    """Let an application answer every error as problem JSON."""
    app.add_exception_handler(CcRayError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


async def _refused(_: Request, error: Exception) -> Response:
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    if isinstance(error, StoreError):
        # Its text names folders of this machine.
        _logger.error("the store cannot be read: %s", error)
        return problem(status, "the store cannot be read at the moment; the server's log says why.")
    headers = {"Retry-After": str(error.retry_after_s)} if isinstance(error, BusyError) else None
    return problem(status, str(error), headers)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    broken = any(found["type"] == "json_invalid" for found in error.errors())
    told = (f"{'.'.join(str(part) for part in found['loc'])}: {found['msg']}" for found in error.errors()[:10])
    return problem(400 if broken else 422, "; ".join(told))


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, str(error.detail), dict(error.headers or {}))
