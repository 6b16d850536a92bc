"""The runs of an MLflow store on disk, read as plain data: a folder `mlruns` or an SQLite file.

Read directly and not through MLflow's client: the client migrates or creates databases where it should only read,
refuses folders in its newer versions, and may fetch artifacts from wherever a store points to. Both layouts have been
stable for years and are small. A database is opened read-only; artifacts are listed by name, never opened.
"""

from __future__ import annotations

import math
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import yaml  # type: ignore[import-untyped]

from cc_ray.imports.reading import ResultFileError

MOST_ARTIFACTS: Final = 1000
"""Artifacts of a run that are listed."""
MOST_BYTES: Final = 2**20
"""Largest file of a tag, parameter or description that is read; MLflow writes 8,000 characters at most."""
STATES: Final = ("", "RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")
"""States of a run by their number in a folder's descriptions."""


@dataclass(frozen=True)
class Run:
    """A run as MLflow has it."""

    id: str
    name: str
    experiment: str
    status: str
    started_ms: int | None
    """Milliseconds since 1970."""
    ended_ms: int | None
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    """The last value by name."""
    steps: Mapping[str, int]
    """Step of the last value by the metric's name."""
    recorded: Mapping[str, int]
    """How many values were recorded, by the metric's name."""
    artifacts: tuple[str, ...]
    """Paths of its artifacts, where they lie on this machine."""


def read_runs(where: Path | str) -> list[Run]:
    """All runs of a store that are not deleted, the oldest first.

    Args:
        where: A folder `mlruns`, an SQLite file, or `sqlite:///...` or `file:...`.

    Raises:
        ResultFileError: If it is none of these, or damaged.
    """
    path = _local(str(where))
    try:
        runs = list(_of_folder(path) if path.is_dir() else _of_database(path))
    except OSError as error:
        raise ResultFileError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (sqlite3.Error, yaml.YAMLError, KeyError, ValueError, TypeError, OverflowError, RecursionError) as error:
        if isinstance(error, ResultFileError):
            raise
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ResultFileError(f"{path} is no MLflow store that can be read ({text}).") from error
    return sorted(runs, key=lambda run: (run.started_ms or 0, run.id))


def _local(where: str) -> Path:
    if where.startswith("sqlite:"):
        path = Path(where.removeprefix("sqlite:///"))
    elif where.startswith("file:"):
        path = Path(unquote(urlsplit(where).path))
    elif "://" in where:
        raise ResultFileError(
            f"{where}: an MLflow store on this machine is expected, a folder `mlruns` or an SQLite file. Copy the "
            "server's database here, or export it."
        )
    else:
        path = Path(where)
    path = path.expanduser().absolute()
    if not path.exists():
        raise ResultFileError(f"there is no {path}: name a folder `mlruns` or an SQLite file of MLflow.")
    return path


def _of_folder(root: Path) -> Iterator[Run]:
    metas = [folder for folder in sorted(root.iterdir()) if (folder / "meta.yaml").is_file()]
    if not metas:
        raise ResultFileError(f"{root} holds no experiments of MLflow (folders with a meta.yaml).")
    for folder in metas:
        experiment = _meta(folder)
        if experiment.get("lifecycle_stage", "active") == "active":
            for run in sorted(folder.iterdir()):
                if (run / "meta.yaml").is_file():
                    yield from _of_run_folder(run, str(experiment["name"]))


def _of_run_folder(folder: Path, experiment: str) -> Iterator[Run]:
    meta = _meta(folder)
    if meta.get("lifecycle_stage", "active") != "active":
        return
    recorded = {name: _history(text) for name, text in _texts(folder / "metrics")}
    last = {name: max(values, key=lambda value: (value[2], value[0])) for name, values in recorded.items() if values}
    tags = dict(_texts(folder / "tags"))
    yield Run(
        id=str(meta["run_id"]),
        name=str(meta.get("run_name") or tags.get("mlflow.runName") or meta["run_id"]),
        experiment=experiment,
        status=STATES[int(meta["status"])],
        started_ms=_milliseconds(meta.get("start_time")),
        ended_ms=_milliseconds(meta.get("end_time")),
        params=dict(_texts(folder / "params")),
        tags=tags,
        metrics={name: value[1] for name, value in last.items()},
        steps={name: value[2] for name, value in last.items()},
        recorded={name: len(values) for name, values in recorded.items()},
        artifacts=_artifacts(folder / "artifacts"),
    )


def _meta(folder: Path) -> dict[str, Any]:
    meta = yaml.safe_load(_text(folder / "meta.yaml"))
    if not isinstance(meta, dict):
        raise ResultFileError(f"{folder / 'meta.yaml'} does not describe anything.")
    return meta


def _text(file: Path) -> str:
    if file.is_symlink() or file.stat().st_size > MOST_BYTES:
        raise ResultFileError(f"{file} is a link or too large for MLflow's own.")
    return file.read_text("utf-8")


def _texts(folder: Path) -> Iterator[tuple[str, str]]:
    """Contents of all files by their path below a folder: names may have slashes."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            file = Path(place) / name
            text = file.read_text("utf-8") if folder.name == "metrics" else _text(file)
            yield file.relative_to(folder).as_posix(), text


def _history(text: str) -> list[tuple[int, float, int]]:
    """Time in milliseconds, value and step of every line; the oldest versions wrote no step."""
    lines = (line.split() for line in text.splitlines() if line.strip())
    return [(int(line[0]), float(line[1]), int(line[2]) if len(line) > 2 else 0) for line in lines]


def _of_database(path: Path) -> Iterator[Run]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
        database.execute("PRAGMA trusted_schema = OFF")
        database.row_factory = sqlite3.Row
        params = _by_run(database, 'SELECT run_uuid, "key", value FROM params')
        tags = _by_run(database, 'SELECT run_uuid, "key", value FROM tags')
        metrics = _by_run(
            database, 'SELECT run_uuid, "key", CASE WHEN is_nan THEN NULL ELSE value END FROM latest_metrics'
        )
        steps = _by_run(database, 'SELECT run_uuid, "key", step FROM latest_metrics')
        recorded = _by_run(database, 'SELECT run_uuid, "key", count(*) FROM metrics GROUP BY run_uuid, "key"')
        for row in database.execute(
            "SELECT runs.*, experiments.name AS experiment FROM runs JOIN experiments USING (experiment_id) "
            "WHERE runs.lifecycle_stage = 'active' AND experiments.lifecycle_stage = 'active'"
        ):
            id = str(row["run_uuid"])
            values = {name: math.nan if value is None else float(value) for name, value in metrics.get(id, {}).items()}
            own = {name: str(value) for name, value in tags.get(id, {}).items()}
            yield Run(
                id=id,
                name=str(row["name"] or own.get("mlflow.runName") or id),
                experiment=str(row["experiment"]),
                status=str(row["status"]),
                started_ms=_milliseconds(row["start_time"]),
                ended_ms=_milliseconds(row["end_time"]),
                params={name: str(value) for name, value in params.get(id, {}).items()},
                tags=own,
                metrics=values,
                steps={name: int(step) for name, step in steps.get(id, {}).items()},
                recorded={name: int(count) for name, count in recorded.get(id, {}).items()},
                artifacts=_local_artifacts(str(row["artifact_uri"] or "")),
            )


def _by_run(database: sqlite3.Connection, query: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for run, name, value in database.execute(query):
        found.setdefault(str(run), {})[str(name)] = value
    return found


def _local_artifacts(uri: str) -> tuple[str, ...]:
    path = unquote(urlsplit(uri).path) if uri.startswith("file:") else uri
    # MLflow ends every run's place so; anything else may be any folder of this machine.
    return _artifacts(Path(path)) if re.search(r"/artifacts/?$", path) and "://" not in path else ()


def _artifacts(folder: Path) -> tuple[str, ...]:
    files = (
        (Path(place) / name).relative_to(folder).as_posix() for place, _, names in os.walk(folder) for name in names
    )
    return tuple(sorted(islice(files, MOST_ARTIFACTS)))


def _milliseconds(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) and value else None
