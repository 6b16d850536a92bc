"""The verbs that ask: every question of the catalogue, and words of their own for those asked most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cc_ray.terminal.options import (
    DEFAULT_STORE,
    FormatOption,
    Model,
    Models,
    Output,
    StorePath,
    definitions_of,
    labels_of,
    open_store,
)
from cc_ray.terminal.tables import Format, heading, screen, write

if TYPE_CHECKING:
    import pyarrow as pa

questions = typer.Typer()

Table = Annotated[str, typer.Option("--table", help="Which table of an answer that has several.")]
Objectives = Annotated[
    list[str] | None, typer.Argument(help="Metrics; METRIC:higher or METRIC:lower says which is better.")
]
Bounds = Annotated[list[str] | None, typer.Option(help="METRIC:NUMBER; may be given several times.")]

USUAL_OBJECTIVES: Final = ("accuracy", "size_bytes", "latency_p50_ms")


@questions.command()
def sql(
    query: Annotated[str, typer.Argument(help="A SELECT over the views; `SHOW TABLES` lists them.")],
    store: StorePath = DEFAULT_STORE,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show how the query is answered, and ask nothing.")
    ] = False,
    format: FormatOption = Format.table,
    output: Output = None,
) -> None:
    """Ask a question in SQL."""
    views = open_store(store)
    if explain:
        screen.print(views.sql(f"EXPLAIN {query}")["explain_value"][0].as_py(), soft_wrap=True)
    else:
        write(views.sql(query), format, output)


@questions.command()
def models(
    store: StorePath = DEFAULT_STORE,
    every: Annotated[bool, typer.Option("--all", help="Every metric, not only the primary ones.")] = False,
    limit: Annotated[int, typer.Option(min=0, help="Models to draw, the last ones made; 0 draws all.")] = 100,
    format: FormatOption = Format.table,
    output: Output = None,
) -> None:
    """List the models with their metrics."""
    from cc_ray import compare
    from cc_ray.terminal.answers import show_models

    views = open_store(store)
    listed = compare.models(views)
    if drawn(format, output):
        last = listed.slice(max(0, listed.num_rows - limit)) if limit else listed
        show_models(last, labels_of(last), definitions_of(views), primary_only=not every, total=listed.num_rows)
    else:
        write(listed, format, output)


@questions.command()
def show(model: Model, store: StorePath = DEFAULT_STORE) -> None:
    """Show one model: its lineage, metrics, findings, and its difference to parent and base."""
    from cc_ray import compare
    from cc_ray.terminal.answers import show_card

    views = open_store(store)
    show_card(compare.show(views, compare.resolve(views, model)))


@questions.command("compare")
def compare_models(
    models: Models,
    base: Annotated[str | None, typer.Option(help="What they are compared with; the first model if left out.")] = None,
    store: StorePath = DEFAULT_STORE,
    table: Table = "metrics",
    format: FormatOption = Format.table,
    output: Output = None,
) -> None:
    """Compare models with a base: metrics, behaviours, classes and the layers that changed most."""
    from cc_ray import compare
    from cc_ray.terminal.answers import show_comparison

    views = open_store(store)
    chosen = [compare.resolve(views, model) for model in models]
    found = compare.compare(views, chosen, compare.resolve(views, base) if base else None)
    if drawn(format, output):
        show_comparison(found, definitions_of(views))
    else:
        tables = {"metrics": found.metrics, "behaviours": found.behaviours, "classes": found.classes}
        write(_one_of(tables | {"layers": found.layers}, table), format, output)


@questions.command()
def front(
    objectives: Objectives = None,
    at_most: Bounds = None,
    at_least: Bounds = None,
    store: StorePath = DEFAULT_STORE,
    every: Annotated[bool, typer.Option("--all", help="Models that are not on the front, too.")] = False,
    format: FormatOption = Format.table,
    output: Output = None,
) -> None:
    """Find the models that no other one beats on every objective; accuracy, size and latency if none is named."""
    from cc_ray.compare import models as list_models
    from cc_ray.compare.catalogue import question
    from cc_ray.terminal.answers import show_front

    views = open_store(store)
    definitions = definitions_of(views)
    named = objectives or [metric for metric in USUAL_OBJECTIVES if metric in definitions]
    given = {"objectives": named, "at_most": at_most or [], "at_least": at_least or []}
    found = question("front").ask(views, given).tables["table"]
    found = found if every else found.filter(found["on_front"])
    if drawn(format, output):
        show_front(found, labels_of(list_models(views)), definitions, [name.partition(":")[0] for name in named])
    else:
        write(found, format, output)


@questions.command()
def diff(
    models: Models, store: StorePath = DEFAULT_STORE, format: FormatOption = Format.table, output: Output = None
) -> None:
    """Show only what differs: between two models in all respects, between more in how they were made."""
    from cc_ray import compare

    views = open_store(store)
    chosen = [compare.resolve(views, model) for model in models]
    if len(chosen) == 2:
        write(compare.only_what_differs(views, *chosen), format, output)
    else:
        write(compare.differences(views, chosen).labels, format, output)


@questions.command()
def insights(
    models: Annotated[list[str] | None, typer.Argument(help="Models to look at; all if left out.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    evidence: Annotated[bool, typer.Option("--evidence", help="With the query that shows each.")] = False,
    store: StorePath = DEFAULT_STORE,
    format: FormatOption = Format.table,
    output: Output = None,
) -> None:
    """Say what stands out, in plain sentences, most striking first."""
    from cc_ray import compare
    from cc_ray.terminal.answers import show_insights

    views = open_store(store)
    chosen = [compare.resolve(views, model) for model in models] if models else None
    found = compare.insights(views, chosen, limit=limit)
    if drawn(format, output):
        show_insights(found, evidence=evidence)
    else:
        write(found, format, output)


@questions.command()
def lint(store: StorePath = DEFAULT_STORE, format: FormatOption = Format.table, output: Output = None) -> None:
    """List what looks wrong: steps that did nothing, missing or impossible values, findings of the checks."""
    from cc_ray import compare

    noticed = compare.lint(open_store(store))
    if drawn(format, output) and not noticed.num_rows:
        screen.print("Nothing looks wrong.")
    else:
        write(noticed, format, output)


@questions.command()
def ask(
    question: Annotated[str, typer.Argument(help="A question; all of them are listed if left out.")] = "",
    given: Annotated[
        list[str] | None, typer.Argument(help="PARAMETER=VALUE; several values as several of them.")
    ] = None,
    store: StorePath = DEFAULT_STORE,
    table: Table = "",
    format: FormatOption = Format.table,
    output: Output = None,
) -> None:
    """Ask any question of the catalogue: calibration, slices, exemplars, transitions, layers, hypervolume, ..."""
    from cc_ray.compare import catalogue
    from cc_ray.terminal.answers import show_question, show_questions

    if not question:
        show_questions(catalogue.QUESTIONS)
        return
    wanted = catalogue.question(question)
    if not given and any(parameter.required for parameter in wanted.parameters):
        show_question(wanted)
        return
    found = wanted.ask(open_store(store), _by_parameter(given or []))
    if not drawn(format, output) or table:
        write(_one_of(found.tables, table or next(iter(found.tables))), format, output)
        return
    for name, part in found.tables.items():
        if len(found.tables) > 1:
            heading(name)
        write(part, format, output)
    for name, fact in found.facts.items():
        screen.print(f"{name}: {fact}", soft_wrap=True)


def drawn(format: Format, output: Path | None) -> bool:
    """Whether the answer is for people to look at."""
    return format is Format.table and output is None


def _by_parameter(given: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign:
            raise typer.BadParameter(f"'{text}' is not PARAMETER=VALUE.")
        found.setdefault(name, []).append(value)
    return found


def _one_of(tables: Mapping[str, pa.Table], name: str) -> pa.Table:
    if name not in tables:
        raise typer.BadParameter(f"there is no table '{name}': the answer has {', '.join(tables)}.")
    return tables[name]
