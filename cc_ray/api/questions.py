"""`/compare/<question>` for every question of the catalogue."""

# No postponed annotations: FastAPI reads those of the handlers, whose types are made here.
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from typing import Annotated, Any, Final, Literal, cast

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field, StringConstraints, create_model

from cc_ray.api.answers import DOCUMENTED, MOST_ROWS, Found, Limit, Offset, Paging, answered
from cc_ray.api.desk import Desk
from cc_ray.api.problems import documented
from cc_ray.compare.catalogue import QUESTIONS, Kind, Parameter, Question
from cc_ray.errors import ParameterError
from cc_ray.views import Views

MOST_VALUES: Final = 200
"""Models, metrics or bounds that one request may name."""
LARGEST: Final = 2**31 - 1

Text = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Pair = Annotated[str, StringConstraints(max_length=500, pattern=r"^[^:]+:.+$")]
_PAIRS: Final = frozenset({Kind.bounds, Kind.ranges, Kind.named})
_TYPES: Final[dict[Kind, Any]] = {
    Kind.integer: Annotated[int, Field(ge=-LARGEST, le=LARGEST)],
    Kind.number: Annotated[float, Field(allow_inf_nan=False)],
    Kind.flag: bool,
}
_PAGING: Final = {"limit", "offset"}


def question_routes(desk: Desk) -> APIRouter:
    """A path per question."""
    router = APIRouter(prefix="/compare", tags=["compare"])
    for question in QUESTIONS:
        router.add_api_route(
            f"/{question.name}",
            _handler(desk, question),
            methods=["GET"],
            name=question.name,
            summary=question.summary,
            description=question.description,
            responses={**DOCUMENTED, **documented(404, 406)},
        )
    return router


def parameters_of(question: Question) -> type[Paging]:
    """The URL's parameters of a question, with their bounds."""
    own: dict[str, Any] = {p.name: _field(p) for p in question.parameters if p.name not in question.local}
    own["table"] = (Text | None, Field(None, description="Table of the answer; without it the first."))
    return cast(type[Paging], create_model(f"{question.name}_parameters", __base__=Paging, **own))


def _field(parameter: Parameter) -> tuple[Any, Any]:
    if parameter.name in _PAGING:
        return Limit if parameter.name == "limit" else Offset, Field(
            min(parameter.default, MOST_ROWS), description=parameter.meaning
        )
    meaning = parameter.meaning
    if parameter.several:
        item = Pair if parameter.kind in _PAIRS else Text
        if parameter.required:
            return list[item], Field(..., min_length=1, max_length=MOST_VALUES, description=meaning)  # type: ignore[valid-type]
        return list[item], Field([], max_length=MOST_VALUES, description=meaning)  # type: ignore[valid-type]
    kind: Any = Literal[parameter.choices] if parameter.choices else _TYPES.get(parameter.kind, Text)
    if parameter.required:
        return kind, Field(..., description=meaning)
    return kind | None, Field(parameter.default or None, description=meaning)


def _handler(desk: Desk, question: Question) -> Callable[..., Awaitable[Response]]:
    model = parameters_of(question)

    async def ask(request: Request, parameters: Annotated[model, Query()]) -> Response:  # type: ignore[valid-type]
        chosen = cast(Paging, parameters)
        return await answered(request, desk, chosen, lambda views: _found(views, question, chosen))

    return ask


def _found(views: Views, question: Question, chosen: Paging) -> Found:
    names = {parameter.name for parameter in question.parameters} - question.local
    given = {name: _texts(getattr(chosen, name)) for name in names}
    if _stops(names):
        # One more than the page holds tells whether there is another.
        given["limit"] = [str(chosen.offset + chosen.limit + 1)]
    answer = question.ask(views, given)
    tables = tuple(answer.tables)
    wanted = getattr(chosen, "table", None) or (tables[0] if tables else "")
    if wanted not in answer.tables:
        raise ParameterError(f"{question.name} has no table '{wanted}': choose one of {', '.join(tables)}.")
    table = answer.tables[wanted]
    paged = answer.facts.get("count", table.num_rows) if names >= _PAGING else None
    return Found(table, paged, tables, answer.facts)


def _stops(names: AbstractSet[str]) -> bool:
    """Whether a question finds no more rows than it is asked for, and knows no pages."""
    return "limit" in names and "offset" not in names


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(each) for each in (value if isinstance(value, list) else [value])]
