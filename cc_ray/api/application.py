"""The API's application, to be mounted at `/api`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import APIRouter, FastAPI

from cc_ray.api.desk import Desk
from cc_ray.api.guard import Guard
from cc_ray.api.lists import list_routes
from cc_ray.api.problems import handle_problems
from cc_ray.api.questions import question_routes
from cc_ray.api.sql import sql_routes

_DESCRIPTION: Final = """
Compressed models, what was measured of them, and questions about them. Read-only, and without a login.

Answers come in pages (`limit`, `offset`; the header `Link` leads on) as JSON, CSV, Parquet or an Arrow stream (`format`
or the header `Accept`). Their ETag stays the same until something is published. Errors are problem JSON, whose `detail`
says what was wrong and what to do. Pages of other origins are not answered.
"""
_TAGS: Final = [
    {"name": "store", "description": "What there is: models, lineage, studies, tables."},
    {"name": "compare", "description": "The questions of the catalogue, the same as `cc-ray ask`."},
    {"name": "sql", "description": "SQL over the store's tables and views, bounded."},
]


def build_api(root: Path | str) -> FastAPI:
    """Make the API over one store.

    Args:
        root: The store's folder.

    Raises:
        StoreError: If the folder is not a store.
    """
    desk = Desk(root)
    api = FastAPI(
        title="CC-Ray",
        version="1",
        description=_DESCRIPTION,
        openapi_tags=_TAGS,
        docs_url=None,
        redoc_url=None,
    )
    routes = APIRouter()
    for router in (list_routes(desk), question_routes(desk), sql_routes(desk)):
        routes.include_router(router)
    api.include_router(routes, prefix="/v1")
    api.include_router(routes, include_in_schema=False)
    handle_problems(api)
    api.add_middleware(Guard)
    api.state.desk = desk
    return api
