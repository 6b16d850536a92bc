"""What verbs of the command line have in common: their arguments, and the store that they ask."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cc_ray.terminal.tables import Format

if TYPE_CHECKING:
    import pyarrow as pa

    from cc_ray.compare import Labels
    from cc_ray.views import Views

StorePath = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="CC_RAY_STORE",
        help="Holds everything: a folder, or s3://, gs:// or az://BUCKET/PREFIX.",
    ),
]
FormatOption = Annotated[Format, typer.Option("--format", "-f", help="How the answer is written.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="File to write to instead of the screen.")]
Address = Annotated[
    str | None, typer.Option(help="A running Ray cluster: 'auto' or HOST:PORT. Without it, one starts here.")
]
Model = Annotated[str, typer.Argument(help="A model: its identity, the first digits of it, or its full name.")]
Models = Annotated[list[str], typer.Argument(help="Models: identities, the first digits of them, or full names.")]

DEFAULT_STORE: Final = "cc-ray-store"


def open_store(store: Path | str) -> Views:
    """The store, ready for questions."""
    from cc_ray.views import open_views

    return open_views(store)


def definitions_of(views: Views) -> dict[str, dict[str, Any]]:
    """Metric definitions by metric."""
    from cc_ray import compare

    return {row["metric"]: row for row in compare.metric_definitions(views).to_pylist()}


def labels_of(models: pa.Table) -> Labels:
    """How the models of a list are called."""
    from cc_ray.compare import Labels

    return Labels({row["model_id"]: row for row in models.select(Labels.READ).to_pylist()})
