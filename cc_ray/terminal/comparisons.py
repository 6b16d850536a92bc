"""The verb for comparisons that were saved on the dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from cc_ray.terminal.options import DEFAULT_STORE, FormatOption, Output, StorePath, labels_of, open_store
from cc_ray.terminal.questions import drawn
from cc_ray.terminal.tables import Format, screen, write

if TYPE_CHECKING:
    import pyarrow as pa

    from cc_ray.compare.asking import Row
    from cc_ray.views import Views

saved = typer.Typer()

LISTED: Final = ("name", "user", "at", "page", "models", "note")


@saved.command()
def comparisons(
    name: Annotated[str, typer.Argument(help="One of them, or the first digits of its identity: all of it.")] = "",
    store: StorePath = DEFAULT_STORE,
    format: FormatOption = Format.table,
    output: Output = None,
) -> None:
    """List what was saved on the dashboard; of one its note, its models and its link."""
    from cc_ray import compare

    views = open_store(store)
    if name:
        _show(views, compare.comparison(views, name))
        return
    found = compare.comparisons(views)
    if not drawn(format, output):
        write(found, format, output)
    elif not found.num_rows:
        screen.print("No comparison is saved yet: `cc-ray serve` has a button for it.")
    else:
        write(_counted(found), format, output)


def _counted(found: pa.Table) -> pa.Table:
    """What a list has room for: how many models, and the first line of the note."""
    import pyarrow.compute as pc

    place = found.column_names.index("models")
    counted = found.set_column(place, "models", pc.list_value_length(found["models"]))
    lines = [note.partition("\n")[0] for note in found["note"].to_pylist()]
    return counted.set_column(counted.column_names.index("note"), "note", [lines]).select(LISTED)


def _show(views: Views, found: Row) -> None:
    from cc_ray import compare

    labels = labels_of(compare.models(views))
    who = f" by {found['user']}" if found["user"] else ""
    screen.print(f"{found['name']}\n{found['page']}, {found['at']:%Y-%m-%d %H:%M} UTC{who}", soft_wrap=True)
    if found["note"]:
        screen.print(f"\n{found['note']}", soft_wrap=True)
    gone = set(found["gone"])
    for id in found["models"]:
        screen.print(f"{id[:10]}  {'not in the store any more' if id in gone else labels.name(id)}", soft_wrap=True)
    screen.print(f"\n{found['query']}", soft_wrap=True)
