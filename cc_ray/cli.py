"""The command line: one verb a function.

Heavy libraries are imported inside the verbs, so that `cc-ray --help` answers at once.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from cc_ray.errors import CcRayError
from cc_ray.terminal.branches import branches
from cc_ray.terminal.comparisons import saved
from cc_ray.terminal.exploring import Retry, explore_and_show
from cc_ray.terminal.export import exports
from cc_ray.terminal.imports import imports
from cc_ray.terminal.jobs import jobs
from cc_ray.terminal.options import DEFAULT_STORE, Address, StorePath
from cc_ray.terminal.questions import questions
from cc_ray.terminal.report import reports
from cc_ray.terminal.requirements import requirements
from cc_ray.terminal.sensitivity import inquiries
from cc_ray.terminal.serving import Host, Port, refuse_port, serving, show
from cc_ray.terminal.tables import duration, notices, screen

if TYPE_CHECKING:
    from cc_ray.store.compaction import Progress

app = typer.Typer(
    help="Explore, record and compare compressed models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(questions)
app.add_typer(saved)
app.add_typer(requirements)
app.add_typer(reports)
app.add_typer(inquiries)
app.add_typer(branches)
app.add_typer(exports)
app.add_typer(jobs)
app.add_typer(serving)
app.add_typer(imports, name="import")


Space = Annotated[str, typer.Argument(help="A search space: a Python file, or a name such as 'digits'.")]


def main() -> None:
    """Run the command line; an error is one line on standard error and exit code 2."""
    try:
        app()
    # OSError: what the store does not foresee, such as a folder that may not be read.
    except (CcRayError, OSError) as error:
        notices.print(Text.assemble(("error: ", "bold red"), " ".join(str(error).split())), soft_wrap=True)
        sys.exit(2)


@app.command()
def demo(
    store: StorePath = DEFAULT_STORE,
    serve: Annotated[bool, typer.Option(help="Serve the dashboard after the exploration.")] = True,
    host: Host = "127.0.0.1",
    port: Port = 8765,
) -> None:
    """Explore compressed models of handwritten digits, print which to ship, and serve the dashboard."""
    from cc_ray.search.load import load_space

    if serve:
        refuse_port(host, port)
    explore_and_show(load_space("digits"), store, address=None, retry_failed=False)
    if serve:
        show(store, host, port)


@app.command()
def run(space: Space, store: StorePath = DEFAULT_STORE, address: Address = None, retry_failed: Retry = False) -> None:
    """Run what a search space asks for and the store does not have yet."""
    from cc_ray.search.load import load_space

    explore_and_show(load_space(space), store, address=address, retry_failed=retry_failed)


@app.command()
def plan(space: Space, store: StorePath = DEFAULT_STORE) -> None:
    """Validate a search space and tell what it would run, before anything runs."""
    from cc_ray.search.load import load_space
    from cc_ray.search.plan import plan
    from cc_ray.store import Store
    from cc_ray.terminal.study import show_plan, show_planned_operations

    planned = plan(load_space(space), Store(store) if Store.is_begun(store) else None)
    show_plan(planned)
    show_planned_operations(planned)


@app.command()
def compact(store: StorePath = DEFAULT_STORE) -> None:
    """Merge the many small files of a store into few: questions open it faster. Nothing is lost; others may go on."""
    from cc_ray.store import Store
    from cc_ray.store.compaction import compact

    with notices.status("Compacting …") as status:
        done = compact(Store(store), on_progress=lambda now: status.update(_compacting(now)))
    if done.busy:
        screen.print("Another compaction is at work; this one did nothing.")
    else:
        screen.print(
            f"{done.batches} batches merged in {duration(done.duration_s)}: {done.segments} segments hold what was "
            f"compacted, {done.removed} folders are no longer needed and gone.",
            soft_wrap=True,
        )


@app.command("views")
def print_views(
    address: Annotated[str, typer.Argument(help="The store's folder or address (s3://...); --store if left out.")] = "",
    store: StorePath = DEFAULT_STORE,
) -> None:
    """Print SQL with which any DuckDB client sees the store's tables and views: cc-ray views > views.sql."""
    from cc_ray.store.address import whole
    from cc_ray.views.export import views_sql

    typer.echo(views_sql(address or whole(store)), nl=False)


@app.command()
def operations(markdown: Annotated[bool, typer.Option(help="As a Markdown table.")] = False) -> None:
    """List the operations with their parameters."""
    from cc_ray.compress import operations
    from cc_ray.terminal.answers import operations_markdown, show_operations

    if markdown:
        typer.echo(operations_markdown(operations.items()))
    else:
        show_operations(operations.items())


def _compacting(now: Progress) -> str:
    return f"Compacting {now.kind}: {now.table}, {now.done} of {now.total} batches …"


if __name__ == "__main__":
    main()
