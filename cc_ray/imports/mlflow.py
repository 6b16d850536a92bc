"""Import the runs of MLflow: each finished run becomes a model, a nested run a child of the run that it is nested in.

Parameters become those of one operation, the last value of each metric its value. What the store has no column for
(tags, status, times, steps, names of artifacts) is kept with the model.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cc_ray.imports.mlflow_store import Run, read_runs
from cc_ray.imports.models import Brought, Finding, MadeElsewhere, TaskElsewhere, bring
from cc_ray.imports.reading import ResultFileError
from cc_ray.recipe import Step
from cc_ray.store import Store

OPERATION: Final = "mlflow_run"
"""Operation of a run that does not name one."""
OPERATION_TAG: Final = "cc_ray.operation"
PARENT_TAGS: Final = ("cc_ray.parent", "mlflow.parentRunId")
"""Tags that name the parent by its run's id or name; the first that is there counts."""
OPEN: Final = ("RUNNING", "SCHEDULED")
_START: Final = datetime(1970, 1, 1, tzinfo=UTC)


def import_mlflow(store: Store, where: Path | str, *, experiment: str = "", task: str = "") -> Brought:
    """Bring the runs of an experiment into a store; importing again brings what was finished since.

    Args:
        store: Takes the rows.
        where: A folder `mlruns` or an SQLite file of MLflow.
        experiment: Name of the experiment; may be left out where only one has runs.
        task: What the models solve; the experiment's name if left out.

    Raises:
        ResultFileError: If the MLflow store cannot be read, or no or several experiments are meant.
    """
    runs = _of_experiment(read_runs(where), experiment)
    name = runs[0].experiment
    ready = [run for run in runs if run.status not in OPEN]
    if not ready:
        raise ResultFileError(f"all {len(runs)} runs of '{name}' are still running: import them when they are done.")
    names = _names(ready)
    models = [_model(run, names, name) for run in ready]
    guessed = [
        f"a run without the tag {OPERATION_TAG} was made by an operation '{OPERATION}'.",
        *([f"{len(runs) - len(ready)} runs that are still running were left out."] if len(ready) < len(runs) else []),
    ]
    study = {"study_id": f"mlflow {name}", "search_space": json.dumps({"imported": "mlflow", "experiment": name})}
    return bring(store, TaskElsewhere(task or name), models, source=f"MLflow: {name}", study=study, guessed=guessed)


def _of_experiment(runs: Sequence[Run], experiment: str) -> list[Run]:
    counts = Counter(run.experiment for run in runs)
    there = ", ".join(f"{name} ({count} runs)" for name, count in counts.items()) or "none with runs"
    if experiment and experiment not in counts:
        raise ResultFileError(f"there is no experiment '{experiment}' with runs; there are: {there}.")
    if not experiment and len(counts) != 1:
        raise ResultFileError(f"name one experiment (--experiment); there are: {there}.")
    return [run for run in runs if not experiment or run.experiment == experiment]


def _names(runs: Sequence[Run]) -> dict[str, str]:
    """Names of models by the run's id: the run's name, with its id where several runs share one."""
    counts = Counter(run.name for run in runs)
    return {run.id: run.name if counts[run.name] == 1 else f"{run.name} ({run.id[:8]})" for run in runs}


def _model(run: Run, names: Mapping[str, str], experiment: str) -> MadeElsewhere:
    said = next((run.tags[tag] for tag in PARENT_TAGS if tag in run.tags), None)
    by_name = {name: name for name in names.values()}
    parent = names.get(said or "") or by_name.get(said or "")
    started, ended = run.started_ms, run.ended_ms
    step = Step(run.tags.get(OPERATION_TAG, OPERATION), {name: typed(text) for name, text in run.params.items()})
    return MadeElsewhere(
        name=names[run.id],
        parent=parent,
        step=step if run.params or parent else None,
        base=None if parent else (experiment if run.params else None),
        seed=_seed(run.params),
        metrics=tuple(metric_row(name, value) for name, value in run.metrics.items() if math.isfinite(value)),
        origin={"mlflow": _plain(run)},
        findings=tuple(_odd(run, said, parent)),
        duration_s=max(0.0, (ended - started) / 1000) if started and ended else 0.0,
        created_at=_START + timedelta(milliseconds=ended or started or 0),
    )


def metric_row(metric: str, value: float) -> dict[str, Any]:
    """A value over all data, without its model."""
    return {"metric": metric, "split": "", "slice": "all", "device": "", "value": float(value)}


def typed(text: str) -> Any:
    """A parameter as a number, truth value or plain text: MLflow keeps all as text."""
    known = {"True": True, "False": False, "None": None}
    if text in known:
        return known[text]
    try:
        number = json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return text
    finite = isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
    return number if finite else text


def _seed(params: Mapping[str, str]) -> int:
    seed = typed(params.get("seed", "0"))
    return seed if isinstance(seed, int) and 0 <= seed < 2**63 else 0


def _plain(run: Run) -> dict[str, Any]:
    """What MLflow says of a run, without values that are not finite: they are no JSON."""
    plain = asdict(run)
    plain["metrics"] = {name: value if math.isfinite(value) else str(value) for name, value in run.metrics.items()}
    plain["artifacts"] = list(run.artifacts)
    return plain


def _odd(run: Run, said: str | None, parent: str | None) -> Iterator[Finding]:
    if said is not None and parent is None:
        text = f"its parent run '{said}' is not among the experiment's finished runs."
        yield Finding("parent_unknown", "warning", text)
    if run.status != "FINISHED":
        yield Finding("run_not_finished", "warning", f"MLflow says that the run is {run.status}.")
    for name, value in run.metrics.items():
        if not math.isfinite(value):
            yield Finding("value_not_finite", "warning", f"the last value of {name} is {value}; it was left out.")
    if not run.metrics:
        yield Finding("metrics_missing", "warning", "the run has no metrics.")
