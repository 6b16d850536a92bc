"""`cc-ray check`: whether models are as good as required, with an exit code for scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from cc_ray.terminal.options import (
    DEFAULT_STORE,
    FormatOption,
    Output,
    StorePath,
    definitions_of,
    labels_of,
    open_store,
)
from cc_ray.terminal.questions import drawn
from cc_ray.terminal.tables import Format, grid, screen, write
from cc_ray.wording import format_value

if TYPE_CHECKING:
    from cc_ray.compare import Checked, Labels

requirements = typer.Typer()

NOT_MET = 1
"""Exit code where models fall short; 2 is for what cannot be asked."""
ID_DIGITS = 8


@requirements.command()
def check(
    require: Annotated[
        str, typer.Option(help="Bounds joined by and, or, not, ( ): 'accuracy >= 0.97 and size_bytes <= 1e6'.")
    ],
    models: Annotated[list[str] | None, typer.Argument(help="Models to check; all if left out.")] = None,
    some: Annotated[bool, typer.Option("--any", help="It is enough that one model meets it.")] = False,
    store: StorePath = DEFAULT_STORE,
    limit: Annotated[int, typer.Option(min=0, help="Models to draw, those that fail first; 0 draws all.")] = 100,
    format: FormatOption = Format.table,
    output: Output = None,
) -> None:
    """Check models against bounds on their metrics; exit code 0 if they meet them, 1 if not, 2 if it cannot be said."""
    from cc_ray import compare

    views = open_store(store)
    chosen = [compare.resolve(views, model) for model in models] if models else None
    found = compare.check(views, require, chosen)
    if drawn(format, output):
        _show(found, labels_of(compare.models(views)), definitions_of(views), limit or found.models.num_rows)
    else:
        write(found.bounds, format, output)
    if found.failed_by and not (some and found.met_by):
        raise typer.Exit(NOT_MET)


def _show(found: Checked, labels: Labels, definitions: dict[str, dict[str, Any]], limit: int) -> None:
    bounds: dict[str, list[dict[str, Any]]] = {}
    for row in found.bounds.to_pylist():
        bounds.setdefault(row["model_id"], []).append(row)
    heads = [row["bound"] for row in next(iter(bounds.values()))]
    table = grid("model", "", *(f">{head}" for head in heads), "recipe")
    for model in found.models.slice(0, limit).to_pylist():
        id, meets = model["model_id"], model["meets"]
        verdict = Text("meets" if meets else "fails", style="green" if meets else "bold red")
        cells = (_cell(row, definitions[row["metric"]]["format"]) for row in bounds[id])
        table.add_row(id[:ID_DIGITS], verdict, *cells, Text(labels.name(id), overflow="fold"))
    screen.print(table)
    if found.models.num_rows > limit:
        screen.print(f"The first {limit:,} of {found.models.num_rows:,} models; `--limit 0` draws all.", style="dim")
    screen.print(f"{found.met_by:,} of {found.models.num_rows:,} models meet it.")


def _cell(row: dict[str, Any], kind: str) -> Text:
    if row["met"] is None:
        return Text("not measured", style="yellow")
    value = format_value(row["value"], kind)
    return Text(value) if row["met"] else Text.assemble((f"{value} ✗", "red"))
