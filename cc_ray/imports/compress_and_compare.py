"""Import the results of Compress and Compare: models with their lineage and metrics, without weights or predictions.

The file's models become models of one task, named after the file. Nothing of the file is lost: each model's row holds
its entry under `imported` in `recipe`, the task's row holds the rest of the file in `parameters`. All models are one
batch: they are all there or none is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from cc_ray.imports.definitions import Defined, defined
from cc_ray.imports.reading import FileModel, ResultFile, ResultFileError, read_results, step_of
from cc_ray.recipe import canonical_json, identity
from cc_ray.store import Store

Row = dict[str, Any]

NO_ARTIFACT: Final = "0" * 64
"""Digest of a model of which no file exists."""


@dataclass(frozen=True)
class ImportSummary:
    """What an import did."""

    task: str
    task_id: str
    study_id: str
    models: int
    """Models in the file."""
    published: bool
    """Whether this import wrote them; False if they were in the store already."""
    values: int
    """Metric values."""
    missing: int
    """Metric values that the file says are missing."""
    findings: int
    """What was noticed about the file's declarations; stored as findings of the models."""
    rescaled: tuple[str, ...]
    """Metrics that the file has in percent and the store as shares in [0, 1]."""


def import_results(store: Store, file: Path | str, *, study: str = "") -> ImportSummary:
    """Read a result file and bring it into a store; a file that is there already changes nothing.

    Args:
        store: Takes the rows.
        file: A `models.json` of the research prototype.
        study: Study that the models are shown under; the task's name if left out.

    Raises:
        ResultFileError: If the file cannot be imported, or another content came from a file of this name.
    """
    return publish_results(store, read_results(file), study=study)


def publish_results(store: Store, results: ResultFile, *, study: str = "") -> ImportSummary:
    """Bring a result file that was read into a store.

    Args:
        store: Takes the rows.
        results: The file.
        study: As `import_results` takes it.

    Raises:
        ResultFileError: If another content came from a file of this name.
    """
    _refuse_other_content(store, results)
    metrics = defined(results, _taken(store, results.task_id))
    study_id, now = study or results.task, datetime.now(UTC)
    task = {
        "tasks": [_task_row(results, now)],
        "metric_definitions": [dict(metric.row) for metric in metrics.values()],
    }
    rows = _rows(results, metrics, study_id, now)
    store.publish("task", results.task_id, task)
    # Before the models, so that an import which ended in between is completed by the next.
    study_row = _study_row(results, study_id, _objectives(metrics), now)
    store.publish("study", identity("imported study", results.task_id), {"studies": [study_row]})
    published = store.publish("step", results.task_id, rows)
    return ImportSummary(
        task=results.task,
        task_id=results.task_id,
        study_id=study_id,
        models=len(results.models),
        published=published,
        values=len(rows["metrics"]),
        missing=sum(value is None for model in results.models for value in model.metrics.values()),
        findings=len(rows["findings"]),
        rescaled=tuple(name for name, metric in metrics.items() if metric.scale != 1.0),
    )


def _refuse_other_content(store: Store, results: ResultFile) -> None:
    for row in store.read("tasks", keys={"task": results.task_id}).to_pylist():
        if json.loads(row["parameters"])["digest"] != results.digest:
            raise ResultFileError(
                f"a file named '{results.task}' with other content was imported into {store.root} before, and what "
                "is in a store stays as it is. Rename the file to import it beside that one."
            )


def _taken(store: Store, task_id: str) -> list[Row]:
    """Definitions of the other tasks."""
    keys = [key for key in store.keys("task") if key != task_id]
    return [row for key in keys for row in store.read("metric_definitions", keys={"task": key}).to_pylist()]


def _task_row(results: ResultFile, now: datetime) -> Row:
    return {
        "task_id": results.task_id,
        "task": results.task,
        "parameters": canonical_json({"digest": results.digest, "declared": results.declared}),
        "class_names": [],
        "bases": [model.id for model in results.models if model.base is None],
        "created_at": now,
    }


def _study_row(results: ResultFile, study_id: str, objectives: Mapping[str, str], now: datetime) -> Row:
    return {
        "study_id": study_id,
        "state": "finished",
        "task_id": results.task_id,
        "search_space": canonical_json({"imported": results.task}),
        "objectives": json.dumps(objectives),
        "started_at": now,
        "finished_at": now,
        "code_version": version("cc-ray"),
        "environment": "{}",
        "at": now,
    }


def _objectives(metrics: Mapping[str, Defined]) -> dict[str, str]:
    """The file's primary metrics of which a direction is better."""
    rows = (metric.row for metric in metrics.values())
    return {row["metric"]: row["direction"] for row in rows if row["primary"] and row["direction"] != "none"}


def _rows(results: ResultFile, metrics: Mapping[str, Defined], study_id: str, now: datetime) -> dict[str, list[Row]]:
    ids = {model.id: results.model_id(model) for model in results.models}
    return {
        "models": [_model_row(results, model, study_id, now) for model in results.models],
        "lineage": [
            {"child": ids[model.id], "parent": ids[model.base], "role": "parent"}
            for model in results.models
            if model.base is not None
        ],
        "metrics": [
            {**_metric_row(metrics[name], value), "model_id": ids[model.id]}
            for model in results.models
            for name, value in model.metrics.items()
            if value is not None
        ],
        "findings": [
            {"model_id": ids[model.id], "layer": "", "check": check, "severity": severity, "message": message}
            for model in results.models
            for check, severity, message in _noticed(results, model)
        ],
    }


def _model_row(results: ResultFile, model: FileModel, study_id: str, now: datetime) -> Row:
    recipe = results.recipe(model)
    last = recipe.steps[-1] if recipe.steps else None
    quantized = any("quanti" in step.operation.lower() for step in recipe.steps)
    return {
        "model_id": results.model_id(model),
        "task_id": results.task_id,
        "base": recipe.base,
        "name": model.id,
        "operation": last.operation if last else None,
        "parameters": canonical_json(dict(last.parameters)) if last else "{}",
        "recipe": canonical_json({**recipe.to_json(), "imported": model.entry}),
        "step_index": len(recipe.steps),
        "seed": recipe.seed,
        "artifact": NO_ARTIFACT,
        "representation": "quantized" if quantized else "float",
        "study_id": study_id,
        "device": "",
        "duration_s": 0.0,
        "created_at": now,
    }


def _metric_row(metric: Defined, value: float) -> Row:
    return {
        "metric": metric.metric,
        "split": "",
        "slice": "all",
        "device": "",
        "value": value * metric.scale,
    }


def _noticed(results: ResultFile, model: FileModel) -> Iterator[tuple[str, str, str]]:
    """Where a model and the file's declarations differ: check, severity, message."""
    if model.base is None:
        if model.made_by:
            yield "root_with_operation", "info", f"the file says that this base model was made by {model.made_by}."
        return
    if model.made_by is None:
        yield "operation_unknown", "warning", "the file does not say how this model was made from its parent."
        return
    step = step_of(model)
    if step.operation not in results.operations:
        known = ", ".join(results.operations) or "none"
        yield (
            "operation_undeclared",
            "warning",
            f"operation '{step.operation}' is not declared in the file; declared: {known}.",
        )
        return
    yield from _noticed_parameters(results.operations[step.operation], step.operation, step.parameters)


def _noticed_parameters(
    declared: Mapping[str, Mapping[str, Any]], operation: str, parameters: Mapping[str, Any]
) -> Iterator[tuple[str, str, str]]:
    for name, value in parameters.items():
        if name not in declared:
            known = ", ".join(declared) or "none"
            text = f"parameter '{name}' of {operation} is not declared in the file; declared: {known}."
            yield "parameter_undeclared", "info", text
        elif isinstance(options := declared[name].get("options"), list) and value not in options:
            text = f"{name}={value} of {operation} is not among the declared options: {', '.join(map(str, options))}."
            yield "option_undeclared", "info", text
