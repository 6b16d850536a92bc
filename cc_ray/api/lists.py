"""What there is: models, lineage, studies with their trials, tables with their columns."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import pyarrow as pa
import pyarrow.compute as pc
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field, StringConstraints

from cc_ray import compare
from cc_ray.api.answers import DOCUMENTED, UNCHANGED, Found, PageQuery, Paging, answered, is_known, tag_of
from cc_ray.api.desk import Desk, user_of
from cc_ray.api.problems import documented
from cc_ray.errors import ModelNotFoundError, ParameterError
from cc_ray.formats import plain, rows
from cc_ray.schema import TABLES
from cc_ray.views import Views
from cc_ray.views.definitions import definitions

MOST_VALUES: Final = 200

Name = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Names = Annotated[list[Name], Field(max_length=MOST_VALUES)]
Bound = Annotated[str, StringConstraints(max_length=500, pattern=r"^[^:]+:[-+0-9.eE]+$")]
Bounds = Annotated[list[Bound], Field(max_length=20)]
_MODEL: Final = "The model's identity, the first digits of it, or its name."
Relation = Annotated[
    Literal["parents", "children", "ancestors", "descendants"], Path(description="Which relatives of the models.")
]


class ModelQuery(Paging):
    """Which models, in which order."""

    sort: Name = Field("created_at", description="Column to sort by, `-` before it for the largest first; nulls last.")
    at_least: Bounds = Field([], description="`metric:number`: only models with at least as much.")
    at_most: Bounds = Field([], description="`metric:number`: only models with at most as much.")
    base: Name | None = Field(None, description="Only models of this base model.")
    operation: Name | None = Field(None, description="Only models whose last step is this operation.")
    study_id: Name | None = Field(None, description="Only models that this study made first.")
    task_id: Name | None = Field(None, description="Only models of this task.")


class LineageQuery(Paging):
    """Which edges."""

    ids: Names = Field([], description="Only edges that begin or end at these models.")


class RelativesQuery(Paging):
    """Whose relatives."""

    ids: Names = Field(min_length=1, description="Models: identities, first digits of them, or names.")


class ModelPage(BaseModel):
    """All that is known of one model."""

    model: dict[str, Any]
    ancestors: list[dict[str, Any]]
    children: list[dict[str, Any]]
    metrics: list[dict[str, Any]]
    findings: list[dict[str, Any]]


def list_routes(desk: Desk) -> APIRouter:
    """The lists of a store."""
    router = APIRouter(tags=["store"])
    pages: dict[str, Any] = {"responses": {**DOCUMENTED, **documented(404, 406)}}

    @router.get("/models", **pages)
    async def models(request: Request, chosen: Annotated[ModelQuery, Query()]) -> Response:
        """The models with their metrics."""
        return await answered(request, desk, chosen, lambda views: Found(_models(views, chosen)))

    @router.get("/models/{model}", response_model=ModelPage, responses={304: UNCHANGED, **documented(404)})
    async def model(request: Request, model: Annotated[Name, Path(description=_MODEL)]) -> Response:
        """One model: lineage, metrics and findings."""
        return await desk.question(lambda: _model(request, desk.views(), model), user_of(request))

    @router.get("/lineage", **pages)
    async def lineage(request: Request, chosen: Annotated[LineageQuery, Query()]) -> Response:
        """The edges of the lineage."""
        return await answered(request, desk, chosen, lambda views: Found(_edges(views, chosen.ids)))

    @router.get("/lineage/{relation}", **pages)
    async def relatives(request: Request, relation: Relation, chosen: Annotated[RelativesQuery, Query()]) -> Response:
        """The relatives of models, oldest first."""
        return await answered(request, desk, chosen, lambda views: Found(_relatives(views, relation, chosen.ids)))

    @router.get("/studies", **pages)
    async def studies(request: Request, paging: PageQuery) -> Response:
        """The studies, newest first, with counts of their trials."""
        return await answered(request, desk, paging, lambda views: Found(compare.studies(views)))

    @router.get("/studies/{study}/trials", **pages)
    async def trials(
        request: Request, study: Annotated[Name, Path(description="Identity of the study.")], paging: PageQuery
    ) -> Response:
        """The trials of a study, each in its last state."""
        return await answered(request, desk, paging, lambda views: Found(_trials(views, study)))

    @router.get("/tables", **pages)
    async def tables(request: Request, paging: PageQuery) -> Response:
        """The tables and views that SQL sees, a row per column, with grain, unit and meaning."""
        return await answered(request, desk, paging, lambda _: Found(_tables()))

    return router


def _models(views: Views, chosen: ModelQuery) -> pa.Table:
    table = compare.models(views)
    for name in ("base", "operation", "study_id", "task_id"):
        wanted = getattr(chosen, name)
        if wanted is not None:
            table = table.filter(pc.fill_null(pc.equal(table[name], wanted), False))
    for bound, keeps in (
        *((b, pc.greater_equal) for b in chosen.at_least),
        *((b, pc.less_equal) for b in chosen.at_most),
    ):
        name, limit = _bound(bound)
        table = table.filter(pc.fill_null(keeps(_metric(table, name), limit), False))
    name = chosen.sort.removeprefix("-")
    _known(name, table.column_names)
    order = "descending" if chosen.sort.startswith("-") else "ascending"
    return table.sort_by([(name, order), ("model_id", "ascending")])


def _bound(text: str) -> tuple[str, float]:
    name, _, number = text.partition(":")
    try:
        return name, float(number)
    except ValueError:
        raise ParameterError(f"a bound is written metric:number, not '{text}'.") from None


def _metric(table: pa.Table, name: str) -> pa.ChunkedArray:
    numbers = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    _known(name, numbers)
    return table[name]


def _known(name: str, columns: Sequence[str]) -> None:
    if name not in columns:
        nearest = difflib.get_close_matches(name, columns, n=3)
        hint = f"did you mean {' or '.join(nearest)}?" if nearest else f"there are {', '.join(columns[:50])}."
        raise ParameterError(f"models have no column '{name}' of this kind: {hint}")


def _model(request: Request, views: Views, text: str) -> Response:
    tag = tag_of(request, views.version)
    if is_known(request, tag):
        return Response(status_code=304, headers={"ETag": tag})
    card = compare.show(views, compare.resolve(views, text))
    tables = {name: rows(getattr(card, name)) for name in ("ancestors", "children", "metrics", "findings")}
    body = json.dumps({"model": plain(card.model), **tables})
    return Response(body, headers={"ETag": tag}, media_type="application/json")


def _edges(views: Views, names: Sequence[str]) -> pa.Table:
    if not names:
        return views.sql("FROM lineage ORDER BY ALL")
    ids = [compare.resolve(views, name) for name in names]
    text = "FROM lineage WHERE list_contains($ids, child) OR list_contains($ids, parent) ORDER BY ALL"
    return views.sql(text, {"ids": ids})


_RELATIVES: Final = {
    "parents": compare.parents,
    "children": compare.children,
    "ancestors": compare.ancestors,
    "descendants": compare.descendants,
}


def _relatives(views: Views, relation: str, names: Sequence[str]) -> pa.Table:
    found = _RELATIVES[relation](views, [compare.resolve(views, name) for name in names])
    text = (
        "SELECT model_id, name FROM models WHERE list_contains($ids, model_id) ORDER BY list_position($ids, model_id)"
    )
    return views.sql(text, {"ids": found})


def _trials(views: Views, study: str) -> pa.Table:
    known = compare.studies(views)["study_id"].to_pylist()
    if study not in known:
        nearest = difflib.get_close_matches(study, known, n=1)
        hint = f"did you mean '{nearest[0]}'?" if nearest else f"there are {', '.join(known[:20]) or 'none'}."
        raise ModelNotFoundError(f"no study '{study}': {hint}")
    return compare.trials(views, study)


def _tables() -> pa.Table:
    found = [
        _column(t.name, t.grain, c.name, c.meaning, str(c.type), c.unit) for t in TABLES.values() for c in t.columns
    ]
    for view in definitions():
        if view.name not in TABLES:
            found += [_column(view.name, view.grain, name, meaning) for name, meaning in view.columns.items()]
    return pa.Table.from_pylist(found)


def _column(table: str, grain: str, column: str, meaning: str, kind: str = "", unit: str = "") -> dict[str, str]:
    return {"table": table, "grain": grain, "column": column, "type": kind, "unit": unit, "meaning": meaning}
