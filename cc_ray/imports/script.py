"""Models of a user's own script, written through the same door as those of other programs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from cc_ray.imports.columns import Columns, as_column
from cc_ray.imports.generated import DIRECTIONS, GeneratedAnswers
from cc_ray.imports.models import NO_ARTIFACT, Finding, MadeElsewhere, TaskElsewhere, bring, model_id, stored_task
from cc_ray.imports.predictions import Reading, answered, modelled, told_apart
from cc_ray.imports.reading import UNKNOWN_OPERATION, ResultFileError
from cc_ray.recipe import Step, canonical_json
from cc_ray.store import Store

if TYPE_CHECKING:
    from torch import nn

    from cc_ray.imports.weights import Measured

Row = dict[str, Any]
Value = float | tuple[float, float, float]
"""A metric's value, or value, lower and upper end of its 95 % interval."""

ROLES: Final = ("teacher", "donor")


def log_model(
    store: Store,
    name: str,
    *,
    task: str,
    parent: str | None = None,
    operation: str = "",
    parameters: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Value] | None = None,
    predictions: object = None,
    model: object = None,
    seed: int = 0,
    class_names: Sequence[str] = (),
    others: Mapping[str, str] | None = None,
) -> str:
    """Write one model with all that is known of it; see `Notebook.log_model`.

    Raises:
        ResultFileError: If something does not fit; nothing was written.
        ModelNotFoundError: If its parent is nowhere to be found.
    """
    step = _checked(name, task, parent, operation, parameters, seed, others)
    claimed = [_metric_row(metric, value) for metric, value in _mapping("metrics", metrics).items()]
    made, solved = _answered(store, name, task, parent, step, seed, predictions, class_names)
    module = _module(model)
    digest = _parent_artifact(store, task, parent)
    weights = _measured(store, module, digest, save=False)
    counted = [*made.metrics, *(weights.metrics if weights else ())]
    whole = MadeElsewhere(
        name,
        parent,
        step,
        others=dict(others or {}),
        seed=seed,
        answers=made.answers,
        metrics=(*counted, *(row for row in claimed if not _same(row, counted))),
        layers=weights.layers if weights else (),
        artifact=weights.digest if weights else NO_ARTIFACT,
        findings=(*made.findings, *_differing(claimed, counted)),
    )

    # Saved when all else is known to fit, and before the rows that name the file.
    brought = bring(
        store,
        solved,
        [whole],
        source="log_model",
        directions=DIRECTIONS if isinstance(whole.answers, GeneratedAnswers) else None,
        before=lambda: _measured(store, module, digest, save=True),
    )
    return brought.models[0]


def _checked(
    name: str,
    task: str,
    parent: str | None,
    operation: str,
    parameters: Mapping[str, Any] | None,
    seed: int,
    others: Mapping[str, str] | None,
) -> Step | None:
    """The step that made the model, if all that names it is as it should be."""
    for what, text in {"name": name, "task": task, "parent": "-" if parent is None else parent}.items():
        if not isinstance(text, str) or not text.strip():
            raise ResultFileError(f"{what} must be a text, found {text!r:.40}.")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise ResultFileError(f"seed must be a whole number from 0, found {seed!r:.40}.")
    for role in others or {}:
        if role not in ROLES:
            raise ResultFileError(f"'{role}' is no role of another model: {' or '.join(ROLES)} is expected.")
    if parent is None and (operation or parameters):
        raise ResultFileError(f"operation '{operation}' needs a parent: name the model that it was applied to.")
    given = dict(_mapping("parameters", parameters))
    try:
        canonical_json(given)
    except (TypeError, ValueError, RecursionError) as error:
        raise ResultFileError(f"parameters must be plain data, as JSON has it ({error}).") from error
    return None if parent is None else Step(operation or UNKNOWN_OPERATION, given)


def _mapping(what: str, given: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(key, str) and key for key in given):
        raise ResultFileError(f"{what} must be a dictionary by name, found {given!r:.60}.")
    return given


def _metric_row(metric: str, value: Value) -> Row:
    numbers = value if isinstance(value, tuple) else (value,)
    found = f"{value!r:.60}"
    if len(numbers) not in (1, 3) or not all(_is_number(number) for number in numbers):
        raise ResultFileError(
            f"metric '{metric}' is {found}: a finite number is expected, or (value, low, high) of a 95 % interval."
        )
    row = {"metric": metric, "split": "", "slice": "all", "device": "", "value": float(numbers[0])}
    return row if len(numbers) == 1 else {**row, "ci_low": float(numbers[1]), "ci_high": float(numbers[2])}


def _is_number(value: object) -> bool:
    real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return real and math.isfinite(value)  # type: ignore[arg-type]


def _answered(
    store: Store,
    name: str,
    task: str,
    parent: str | None,
    step: Step | None,
    seed: int,
    predictions: object,
    class_names: Sequence[str],
) -> tuple[MadeElsewhere, TaskElsewhere]:
    if predictions is None:
        return MadeElsewhere(name), TaskElsewhere(task, tuple(class_names))
    reading = Reading(class_names=tuple(class_names))
    given = told_apart(_columns(predictions), "predictions", reading)
    (answers,), solved = answered([given], None, task, store, class_names)
    return modelled(name, answers, solved, {}, parent, step, seed), solved


def _columns(predictions: object) -> Columns:
    """Columns of what a script has at hand: an array, named arrays, an Arrow table or a data frame."""
    if isinstance(predictions, pa.Table):
        columns = {name: predictions.column(name).to_pylist() for name in predictions.column_names}
    elif isinstance(predictions, Mapping):
        columns = dict(predictions)
    elif hasattr(predictions, "to_dict") and hasattr(predictions, "columns"):
        columns = {str(column): list(predictions[column]) for column in predictions.columns}  # type: ignore[index]
    else:
        array = _array("predictions", predictions)
        columns = {"prediction" if np.ndim(array) == 1 else "probabilities": array}
    found = {str(name): _array(str(name), values) for name, values in columns.items()}
    lengths = {name: len(values) for name, values in found.items()}
    if len(set(lengths.values())) != 1 or not min(lengths.values()):
        raise ResultFileError(f"predictions must hold columns of one length and a row or more, found {lengths}.")
    return found


def _array(name: str, values: object) -> Any:
    plain = values.detach().cpu().numpy() if hasattr(values, "detach") else values
    return as_column(name, plain, f"predictions: '{name}'")


def _module(model: object) -> nn.Module | None:
    if model is None:
        return None
    # Imported here: scripts without weights need no torch.
    from cc_ray.imports.weights import module_of

    return module_of(model)


def _measured(store: Store, module: nn.Module | None, parent: str | None, *, save: bool) -> Measured | None:
    if module is None:
        return None
    from cc_ray.imports.weights import measure

    return measure(store, module, parent=parent, save=save)


def _parent_artifact(store: Store, task: str, parent: str | None) -> str | None:
    """Digest of the parent's file, if the store knows the parent."""
    known = stored_task(store, task)
    if known is None or parent is None:
        return None
    ids = (model_id(known["task_id"], parent), parent)
    rows = (row for row in store.read("models").to_pylist() if row["task_id"] == known["task_id"])
    return next((row["artifact"] for row in rows if row["model_id"] in ids or row["name"] == parent), None)


def _same(row: Row, counted: Sequence[Row]) -> bool:
    return any(row["metric"] == other["metric"] and other["slice"] == "all" for other in counted)


def _differing(claimed: Sequence[Row], counted: Sequence[Row]) -> Iterator[Finding]:
    found = {row["metric"]: row["value"] for row in counted if row["slice"] == "all"}
    for row in claimed:
        name, value = row["metric"], row["value"]
        if name in found and not math.isclose(value, found[name], rel_tol=5e-3, abs_tol=1e-9):
            text = f"{name} was given as {value:g}, and is {found[name]:g} by what came with the model; that was taken."
            yield Finding("metric_differs", "warning", text, value, found[name])
