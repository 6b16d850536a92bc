"""Import a study of Optuna: each complete trial becomes a model, the others trials with the reason of their end.

A trial's parameters become those of one operation, `optuna_trial`; parameters that are all called
`operation.parameter` become steps, one an operation in the order of their first parameter. Files are copied before
Optuna opens them, so that a study is never changed; what Optuna stores is JSON, which is data and no code.
"""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cc_ray.imports.mlflow import metric_row
from cc_ray.imports.models import Brought, Finding, MadeElsewhere, TaskElsewhere, bring
from cc_ray.imports.reading import ResultFileError
from cc_ray.recipe import Recipe, Step

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from cc_ray.store import Store

OPERATION: Final = "optuna_trial"
"""Operation of a trial whose parameters do not name one."""
SQLITE: Final = b"SQLite format 3\x00"
ENDED: Final = {"FAIL": "failed", "PRUNED": "stopped"}
"""States of `schema.TRIALS` by Optuna's."""
DIRECTIONS: Final = {"MAXIMIZE": "higher", "MINIMIZE": "lower"}


def import_optuna(store: Store, where: Path | str, *, study: str = "", task: str = "") -> Brought:
    """Bring a study into a store; importing again brings the trials that ended since.

    Args:
        store: Takes the rows.
        where: An SQLite file or journal file of Optuna, or the URL of a database.
        study: Name of the study; may be left out where there is only one.
        task: What the models solve; the study's name if left out.

    Raises:
        ResultFileError: If it is no storage of Optuna, or no or several studies are meant.
    """
    with _opened(str(where)) as storage:
        found = _study(storage, study)
        directions = _directions(found)
        trials, attributes = found.get_trials(deepcopy=False), _plain(found.user_attrs)
    study_id = f"optuna {found.study_name}"
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    others = [trial for trial in trials if trial.state.name in ENDED]
    if not complete:
        raise ResultFileError(f"study '{found.study_name}' has no complete trial among its {len(trials)}.")
    rows = [_trial_row(trial, found.study_name, study_id) for trial in (*complete, *others)]
    facts = {"imported": "optuna", "study": found.study_name, "user_attributes": attributes}
    waiting = len(trials) - len(rows)
    return bring(
        store,
        TaskElsewhere(task or found.study_name),
        [_model(trial, found.study_name, list(directions)) for trial in complete],
        source=f"Optuna: {found.study_name}",
        study={"study_id": study_id, "search_space": json.dumps(facts), "objectives": json.dumps(directions)},
        trials=rows,
        directions=directions,
        guessed=[f"{waiting} trials that are waiting or running were left out."] if waiting else [],
    )


@contextmanager
def _opened(where: str) -> Iterator[BaseStorage]:
    with tempfile.TemporaryDirectory() as folder:
        try:
            yield _storage(where, Path(folder))
        except ResultFileError:
            raise
        except Exception as error:  # Whatever a damaged or foreign storage raises in Optuna or SQLAlchemy.
            text = " ".join(str(error).split())[:200]
            raise ResultFileError(f"{where} is no storage of Optuna that can be read: {text}.") from error


def _storage(where: str, folder: Path) -> BaseStorage:
    import optuna

    path = Path(where.removeprefix("sqlite:///")).expanduser().absolute()
    if "://" in where and not where.startswith("sqlite:///"):
        return optuna.storages.RDBStorage(where)
    if not path.is_file():
        raise ResultFileError(f"there is no file {path}: name an SQLite or journal file of Optuna, or a URL.")
    copy = folder / "copy"
    with path.open("rb") as file:
        is_sqlite = file.read(len(SQLITE)) == SQLITE
    if is_sqlite:
        _copy_database(path, copy)
        return optuna.storages.RDBStorage(f"sqlite:///{copy}")
    shutil.copyfile(path, copy)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(copy)))


def _copy_database(path: Path, copy: Path) -> None:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as source, closing(sqlite3.connect(copy)) as to:
        source.backup(to)
        tables = {name for (name,) in to.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not {"studies", "trials", "trial_params"} <= tables:
        raise ResultFileError(f"{path} is an SQLite file, but not of Optuna: it has no studies and trials.")


def _study(storage: BaseStorage, name: str) -> Study:
    import optuna

    names = [study.study_name for study in storage.get_all_studies()]
    if not names:
        raise ResultFileError("there are no studies in it: is it a storage of Optuna?")
    if name and name not in names:
        raise ResultFileError(f"there is no study '{name}'; there are: {', '.join(names)}.")
    if not name and len(names) != 1:
        raise ResultFileError(f"name one study (--study); there are: {', '.join(names)}.")
    return optuna.load_study(study_name=name or names[0], storage=storage)


def _directions(study: Study) -> dict[str, str]:
    """Which values are better, by the metric's name: as the study calls it, else `value` or `value_0`, ..."""
    given = study.metric_names
    count = len(study.directions)
    names = given or (["value"] if count == 1 else [f"value_{place}" for place in range(count)])
    return {name: DIRECTIONS.get(way.name, "none") for name, way in zip(names, study.directions, strict=True)}


def _name(trial: FrozenTrial) -> str:
    return f"trial {trial.number}"


def steps_of(parameters: Mapping[str, Any]) -> tuple[Step, ...]:
    """Steps that parameters describe."""
    parts = [name.partition(".") for name in parameters]
    if not parts or not all(operation and rest for operation, _, rest in parts):
        return (Step(OPERATION, dict(parameters)),)
    by_operation: dict[str, dict[str, Any]] = {}
    for (operation, _, name), value in zip(parts, parameters.values(), strict=True):
        by_operation.setdefault(operation, {})[name] = value
    return tuple(Step(operation, own) for operation, own in by_operation.items())


def _model(trial: FrozenTrial, study: str, metrics: list[str]) -> MadeElsewhere:
    *before, last = steps_of(_plain(trial.params))
    values = dict(zip(metrics, trial.values or (), strict=False))
    return MadeElsewhere(
        name=_name(trial),
        step=last,
        before=tuple(before),
        base=study,
        metrics=tuple(metric_row(name, value) for name, value in values.items() if math.isfinite(value)),
        origin={
            "optuna": {
                "number": trial.number,
                "user_attributes": _plain(trial.user_attrs),
                "intermediate_values": {str(at): str(value) for at, value in trial.intermediate_values.items()},
            }
        },
        findings=tuple(
            Finding("value_not_finite", "warning", f"the value of {name} is {value}; it was left out.")
            for name, value in values.items()
            if not math.isfinite(value)
        ),
        duration_s=_duration(trial),
        created_at=_utc(trial.datetime_complete),
    )


def _trial_row(trial: FrozenTrial, study: str, study_id: str) -> dict[str, Any]:
    recipe = Recipe(study, steps_of(_plain(trial.params)))
    complete = trial.state.name == "COMPLETE"
    return {
        "study_id": study_id,
        "trial_id": _name(trial),
        "recipe": json.dumps(recipe.to_json()),
        "recipe_text": str(recipe),
        "state": "finished" if complete else ENDED[trial.state.name],
        "reason": None if complete else _reason(trial),
        "steps_reused": 0,
        "steps_run": 1,
        "duration_s": _duration(trial),
        "at": _utc(trial.datetime_complete),
    }


def _reason(trial: FrozenTrial) -> str:
    said = trial.system_attrs.get("fail_reason")
    if trial.state.name == "FAIL":
        return str(said) if said else "failed; Optuna does not say why"
    steps = trial.intermediate_values
    last = max(steps) if steps else None
    return "pruned" if last is None else f"pruned after step {last} at {steps[last]:g}"


def _duration(trial: FrozenTrial) -> float:
    return trial.duration.total_seconds() if trial.duration else 0.0


def _utc(time: Any) -> Any:
    # Optuna writes local times without their zone.
    return time.astimezone() if time else None


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as JSON; numbers that are none become texts."""
    found: dict[str, Any] = json.loads(json.dumps(dict(values), default=str), parse_constant=str)
    return found
