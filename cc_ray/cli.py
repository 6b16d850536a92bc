"""The command line: one verb a function.

Heavy libraries are imported inside the verbs, so that `cc-ray --help` answers at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from cc_ray.errors import CcRayError
from cc_ray.terminal.tables import Format, notices, screen

if TYPE_CHECKING:
    import pyarrow as pa

    from cc_ray.compare import Labels
    from cc_ray.imports.compress_and_compare import ImportSummary
    from cc_ray.search import SearchSpace
    from cc_ray.views import Views

app = typer.Typer(
    help="Explore, record and compare compressed models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
imports = typer.Typer(help="Bring results of other programs into the store.", no_args_is_help=True)
app.add_typer(imports, name="import")


StorePath = Annotated[Path, typer.Option("--store", envvar="CC_RAY_STORE", help="Folder that holds everything.")]
FormatOption = Annotated[Format, typer.Option("--format", "-f", help="How the answer is written.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="File to write to instead of the screen.")]
Host = Annotated[str, typer.Option(help="Address to listen on; the default answers this machine only.")]
Port = Annotated[int, typer.Option(help="Port of the dashboard.")]
Space = Annotated[str, typer.Argument(help="A search space: a Python file, or a name such as 'digits'.")]
Address = Annotated[
    str | None, typer.Option(help="A running Ray cluster: 'auto' or HOST:PORT. Without it, one starts here.")
]
Retry = Annotated[bool, typer.Option("--retry-failed", help="Run again what failed in an earlier session.")]
Model = Annotated[str, typer.Argument(help="A model: its identity, the first digits of it, or its full name.")]

SENSES = ("at_most", "at_least")
DEFAULT_STORE = Path("cc-ray-store")


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
        _refuse_taken_port(host, port)
    _explore(load_space("digits"), store, address=None, retry_failed=False)
    if serve:
        _serve(store, host, port)


@app.command()
def run(space: Space, store: StorePath = DEFAULT_STORE, address: Address = None, retry_failed: Retry = False) -> None:
    """Run what a search space asks for and the store does not have yet."""
    from cc_ray.search.load import load_space

    _explore(load_space(space), store, address=address, retry_failed=retry_failed)


@app.command()
def plan(space: Space, store: StorePath = DEFAULT_STORE) -> None:
    """Validate a search space and tell what it would run, before anything runs."""
    from cc_ray.search.load import load_space
    from cc_ray.search.plan import plan
    from cc_ray.store import Store
    from cc_ray.terminal.study import show_plan, show_planned_operations

    planned = plan(load_space(space), Store(store) if store.expanduser().exists() else None)
    show_plan(planned)
    show_planned_operations(planned)


@app.command()
def serve(store: StorePath = DEFAULT_STORE, host: Host = "127.0.0.1", port: Port = 8765) -> None:
    """Serve the dashboard until Ctrl-C."""
    _refuse_taken_port(host, port)
    _serve(store, host, port)


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="A SELECT over the views; `SHOW TABLES` lists them.")],
    store: StorePath = DEFAULT_STORE,
    format: FormatOption = Format.table,
    output: Output = None,
) -> None:
    """Ask a question in SQL."""
    from cc_ray.terminal.tables import write

    write(_views(store).sql(query), format, output)


@app.command()
def models(
    store: StorePath = DEFAULT_STORE,
    every: Annotated[bool, typer.Option("--all", help="Every metric, not only the primary ones.")] = False,
    format: FormatOption = Format.table,
    output: Output = None,
) -> None:
    """List the models with their metrics."""
    from cc_ray import compare
    from cc_ray.terminal.answers import show_models
    from cc_ray.terminal.tables import write

    views = _views(store)
    listed = compare.models(views)
    if format is Format.table and output is None:
        show_models(listed, _labels(listed), _definitions(views), primary_only=not every)
    else:
        write(listed, format, output)


@app.command()
def show(model: Model, store: StorePath = DEFAULT_STORE) -> None:
    """Show one model: its lineage, metrics, findings, and its difference to parent and base."""
    from cc_ray import compare
    from cc_ray.terminal.answers import show_card

    views = _views(store)
    show_card(compare.show(views, compare.resolve(views, model)))


@app.command("compare")
def compare_models(
    models: Annotated[list[str], typer.Argument(help="Two models or more.")],
    base: Annotated[str | None, typer.Option(help="What they are compared with; the first model if left out.")] = None,
    store: StorePath = DEFAULT_STORE,
) -> None:
    """Compare models with a base: metrics, flips, classes and the layers that changed most."""
    from cc_ray import compare
    from cc_ray.terminal.answers import show_comparison

    views = _views(store)
    chosen = [compare.resolve(views, model) for model in models]
    against = compare.resolve(views, base) if base else None
    show_comparison(compare.compare(views, chosen, against), _definitions(views))


@app.command()
def lint(store: StorePath = DEFAULT_STORE, format: FormatOption = Format.table, output: Output = None) -> None:
    """List what looks wrong: steps that did nothing, missing or impossible values, findings of the checks."""
    from cc_ray import compare
    from cc_ray.terminal.tables import write

    noticed = compare.lint(_views(store))
    if format is Format.table and output is None and not noticed.num_rows:
        screen.print("Nothing looks wrong.")
    else:
        write(noticed, format, output)


@imports.command("compress-and-compare")
def import_compress_and_compare(
    file: Annotated[Path, typer.Argument(help="A models.json of Compress and Compare.")],
    store: StorePath = DEFAULT_STORE,
    study: Annotated[str, typer.Option(help="Study to show the models under; the file's name if left out.")] = "",
) -> None:
    """Import models, lineage and metrics; importing a file twice changes nothing."""
    from cc_ray.imports.compress_and_compare import publish_results
    from cc_ray.imports.reading import read_results
    from cc_ray.store import Store

    results = read_results(file)
    folder = Store(store, create=True)
    _show_import(publish_results(folder, results, study=study), folder.root)


@app.command()
def operations(markdown: Annotated[bool, typer.Option(help="As a Markdown table.")] = False) -> None:
    """List the operations with their parameters."""
    from cc_ray.compress import operations
    from cc_ray.terminal.answers import operations_markdown, show_operations

    if markdown:
        typer.echo(operations_markdown(operations.items()))
    else:
        show_operations(operations.items())


def _show_import(summary: ImportSummary, store: Path) -> None:
    from cc_ray.terminal.tables import heading

    done = "imported into" if summary.published else "are already in"
    heading(f"{summary.models} models of {summary.task} {done} {store}")
    screen.print(f"{summary.values} metric values, {summary.missing} missing; {summary.findings} findings.")
    if summary.rescaled:
        screen.print(f"From percent to shares in [0, 1]: {', '.join(summary.rescaled)}.", soft_wrap=True)


def _views(store: Path) -> Views:
    from cc_ray.views import open_views

    return open_views(store)


def _definitions(views: Views) -> dict[str, dict[str, Any]]:
    from cc_ray import compare

    return {row["metric"]: row for row in compare.metric_definitions(views).to_pylist()}


def _labels(models: pa.Table) -> Labels:
    from cc_ray.compare import Labels

    return Labels({row["model_id"]: row for row in models.to_pylist()})


def _explore(space: SearchSpace, folder: Path, *, address: str | None, retry_failed: bool) -> None:
    from cc_ray import compare
    from cc_ray.evaluate import metric_definitions
    from cc_ray.search.plan import plan
    from cc_ray.search.tuner import explore
    from cc_ray.store import Store
    from cc_ray.terminal.answers import show_findings_by_check, show_recommendations
    from cc_ray.terminal.study import LiveStudy, show_plan, show_summary

    store = Store(folder, create=True)
    show_plan(plan(space, store, retry_failed=retry_failed))
    formats = {row["metric"]: row["format"] for row in metric_definitions()}
    with LiveStudy(formats) as live:
        summary = explore(space, store, address=address, on_progress=live.update, retry_failed=retry_failed)
    show_summary(summary, store.root)
    views = _views(store.root)
    bounds = {sense: {c.metric: c.limit for c in space.constraints if c.sense == sense} for sense in SENSES}
    answer = compare.recommendations(views, space.objectives, study=summary.study_id, **bounds)
    show_findings_by_check(compare.findings(views))
    show_recommendations(answer, _labels(compare.models(views)), _definitions(views), space.objectives)
    if summary.state == "stopped":
        raise typer.Exit(130)


def _refuse_taken_port(host: str, port: int) -> None:
    from cc_ray.serve import refuse_taken_port

    refuse_taken_port(host, port)


def _serve(store: Path, host: str, port: int) -> None:
    from cc_ray.serve import serve_store, stay
    from cc_ray.store import Store

    root = Store(store).root
    with notices.status(Text(f"Starting the dashboard of {root} …")):
        url = serve_store(root, host=host, port=port)
    screen.print(Text.assemble("The dashboard is at ", (url, "bold"), " (Ctrl-C ends it)."))
    stay()
