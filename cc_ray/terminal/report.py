"""`cc-ray report`: a comparison as one HTML file, to send to somebody."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from cc_ray.errors import CcRayError
from cc_ray.terminal.options import DEFAULT_STORE, StorePath, open_store
from cc_ray.terminal.tables import notices

reports = typer.Typer()

FILE: Final = Path("report.html")


@reports.command()
def report(
    models: Annotated[
        list[str] | None, typer.Argument(help="Models to compare; the recommended ones of one base if left out.")
    ] = None,
    base: Annotated[
        str, typer.Option(help="What they are compared with; the base model of the first if left out.")
    ] = "",
    store: StorePath = DEFAULT_STORE,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file; one that is there is replaced.")] = FILE,
    title: Annotated[str, typer.Option(help="Its title; one that counts the models if left out.")] = "",
    notes: Annotated[str, typer.Option(help="Plain text to stand at its top; empty lines part paragraphs.")] = "",
    address: Annotated[
        str, typer.Option(help="Address of a page of the dashboard, or its part from '?': shows the same models alike.")
    ] = "",
) -> None:
    """Write a comparison as one HTML file that opens in any browser, without a server and without a network."""
    from cc_ray import compare

    with notices.status("Opening the store …") as status:
        # Imported here: plots take seconds to be imported.
        from dashboards.report.document import document
        from dashboards.report.subject import Subject

        views = open_store(store)
        subject = Subject.of(
            views,
            store=store,
            made_at=datetime.now(UTC),
            selection=[compare.resolve(views, model) for model in models or []],
            base=compare.resolve(views, base) if base else "",
            address=address,
            title=title,
            notes=notes,
        )
        written = document(subject, lambda part: status.update(Text(f"Drawing {part} …"))).encode()
        _replace(output, written)
    said = f"{subject.title}: {len(written) / 1e6:.1f} MB in {output}, which opens in any browser without a network."
    notices.print(said, soft_wrap=True)


def _replace(file: Path, content: bytes) -> None:
    """Write a file beside and put it in its place: nobody ever finds half of it."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        try:
            with beside.open("xb") as handle:
                handle.write(content)
                handle.flush()
                os.fsync(handle.fileno())
            beside.replace(file)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise CcRayError(f"cannot write to {file}: {error.strerror or error}. Name another --output.") from error
