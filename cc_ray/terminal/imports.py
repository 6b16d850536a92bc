"""The verbs that bring in results of other programs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from cc_ray.terminal.options import DEFAULT_STORE, StorePath
from cc_ray.terminal.tables import heading, notices, screen

if TYPE_CHECKING:
    from cc_ray.imports.compress_and_compare import ImportSummary
    from cc_ray.imports.models import Brought
    from cc_ray.store import Store

imports = typer.Typer(help="Bring results of other programs into the store.", no_args_is_help=True)


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
    _show_import(publish_results(folder, results, study=study), folder)


@imports.command("predictions")
def import_predictions(
    files: Annotated[
        list[Path], typer.Argument(help="CSV, Parquet, JSON, npy or npz, one per model; rows are instances.")
    ],
    store: StorePath = DEFAULT_STORE,
    labels: Annotated[Path | None, typer.Option(help="File of the true labels, if they lie apart.")] = None,
    task: Annotated[str, typer.Option(help="What the models solve; named after the labels if left out.")] = "",
    model: Annotated[str, typer.Option(help="The model's name, for one file; the file's name if left out.")] = "",
    parent: Annotated[str | None, typer.Option(help="Model that they were made from.")] = None,
    operation: Annotated[str, typer.Option(help="How they were made from it.")] = "",
    parameters: Annotated[str, typer.Option(help="The operation's parameters, a JSON object.")] = "{}",
    classes: Annotated[str, typer.Option(help="Names of the classes in the order of their labels, by commas.")] = "",
    column: Annotated[
        list[str] | None, typer.Option(help="ROLE=NAME for a column of another name, such as label=truth.")
    ] = None,
    slices: Annotated[list[str] | None, typer.Option("--slice", help="A column whose values make slices.")] = None,
    logits: Annotated[bool, typer.Option("--logits", help="Scores are logits, not probabilities.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed that the models were made with.")] = 0,
) -> None:
    """Import predictions of any models; what they lack, such as probabilities, stays unknown."""
    from cc_ray.imports.predictions import import_predictions, reading
    from cc_ray.store import Store

    folder = Store(store, create=True)
    with notices.status(f"Reading {len(files)} files of predictions …"):
        brought = import_predictions(
            folder,
            files,
            model=model,
            parent=parent,
            operation=operation,
            parameters=_json_object(parameters),
            task=task,
            labels=labels,
            reading=reading(columns=column or (), slices=slices or (), classes=classes, logits=logits),
            seed=seed,
        )
    _show_brought(brought, folder)


@imports.command("mlflow")
def import_mlflow(
    where: Annotated[str, typer.Argument(help="A folder mlruns or an SQLite file of MLflow.")],
    experiment: Annotated[str, typer.Option(help="Experiment; may be left out if there is only one.")] = "",
    task: Annotated[str, typer.Option(help="What the models solve; the experiment if left out.")] = "",
    store: StorePath = DEFAULT_STORE,
) -> None:
    """Import the finished runs of an experiment; importing again brings what was finished since."""
    from cc_ray.imports.mlflow import import_mlflow
    from cc_ray.store import Store

    folder = Store(store, create=True)
    with notices.status(Text(f"Reading {where} …")):
        brought = import_mlflow(folder, where, experiment=experiment, task=task)
    _show_brought(brought, folder)


@imports.command("optuna")
def import_optuna(
    where: Annotated[str, typer.Argument(help="An SQLite or journal file of Optuna, or a database's URL.")],
    study: Annotated[str, typer.Option(help="Study; may be left out if there is only one.")] = "",
    task: Annotated[str, typer.Option(help="What the models solve; the study if left out.")] = "",
    store: StorePath = DEFAULT_STORE,
) -> None:
    """Import a study's trials; importing again brings those that ended since."""
    from cc_ray.imports.optuna import import_optuna
    from cc_ray.store import Store

    folder = Store(store, create=True)
    with notices.status(Text(f"Reading {where} …")):
        brought = import_optuna(folder, where, study=study, task=task)
    _show_brought(brought, folder)


def _show_import(summary: ImportSummary, store: Store) -> None:
    from cc_ray.store.compaction import compact_if_worthwhile

    compact_if_worthwhile(store)
    done = "imported into" if summary.published else "are already in"
    heading(f"{summary.models} models of {summary.task} {done} {store.root}")
    screen.print(f"{summary.values} metric values, {summary.missing} missing; {summary.findings} findings.")
    if summary.rescaled:
        screen.print(f"From percent to shares in [0, 1]: {', '.join(summary.rescaled)}.", soft_wrap=True)


def _show_brought(brought: Brought, store: Store) -> None:
    from cc_ray.store.compaction import compact_if_worthwhile

    compact_if_worthwhile(store)
    known = len(brought.models) - brought.new
    there = f" ({known} were there already)" if known else ""
    heading(f"{brought.new} models of {brought.task} imported into {store.root}{there}")
    screen.print(f"{brought.values} metric values, {brought.predictions} predictions.")
    for told in brought.guessed:
        screen.print(Text(told), soft_wrap=True)
    for (check, severity), count in Counter((each.check, each.severity) for each in brought.findings).items():
        first = next(each.message for each in brought.findings if each.check == check)
        screen.print(Text(f"{severity}: {check} of {count} models, such as: {first}"), soft_wrap=True)


def _json_object(text: str) -> dict[str, Any]:
    from cc_ray.imports.reading import json_object

    return json_object(text)
