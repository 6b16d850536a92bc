"""The result files of Compress and Compare, read and checked whole before anything is written."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from cc_ray.errors import CcRayError
from cc_ray.recipe import Recipe, Step, identity

Entry = Mapping[str, Any]
"""An object of the file, as it stands there."""

UNKNOWN_OPERATION: Final = "unknown"
"""Operation of a child whose file does not say how it was made."""
MOST_NESTED: Final = 32
"""Objects and lists within one another that a file may have."""
MOST_STEPS: Final = 100
"""Steps from a root that a file may have: each model's row holds its whole recipe."""
COMMON_NAME: Final = "models"
"""Every result file of the prototype is called so; the folder then tells them apart."""


class ResultFileError(CcRayError, ValueError):
    """A file that is not what it should be; nothing of it was imported."""


@dataclass(frozen=True)
class FileModel:
    """One model of a file."""

    id: str
    base: str | None
    """id of its parent; None for a root."""
    made_by: Step | None
    """Its operation; a root may have one too."""
    metrics: Mapping[str, float | None]
    """Values by metric, as the file scales them; None where a value is missing."""
    entry: Entry
    """All that the file says of it."""


@dataclass(frozen=True)
class ResultFile:
    """One file, checked: ids are unique, every base is there, no model descends from itself."""

    task: str
    """What the file is called; names the task."""
    metrics: Mapping[str, Entry]
    """Declared metrics by name."""
    operations: Mapping[str, Mapping[str, Entry]]
    """Declared parameters of declared operations: a specification by name, empty where there is only a name."""
    models: tuple[FileModel, ...]
    declared: Entry
    """The file without its models."""

    @property
    def task_id(self) -> str:
        """Identity of the task; the same for every content of a file of this name."""
        return identity("task", "compress-and-compare", self.task)

    @cached_property
    def digest(self) -> str:
        """Hash of the content."""
        return identity(self.declared, [model.entry for model in self.models])

    @cached_property
    def paths(self) -> dict[str, tuple[FileModel, ...]]:
        """The models from the root to each model, itself included, by id."""
        known = {model.id: model for model in self.models}
        return {model.id: tuple(_path(model, known)) for model in self.models}

    def model_id(self, model: FileModel) -> str:
        """Identity in the store."""
        return identity("compress-and-compare", self.task, model.id)

    def recipe(self, model: FileModel) -> Recipe:
        """The operations from the root on."""
        root, *others = self.paths[model.id]
        return Recipe(root.id, tuple(step_of(other) for other in others))

    def used_metrics(self) -> list[str]:
        """Names of all metrics, the declared ones first."""
        return list(dict.fromkeys([*self.metrics, *(name for model in self.models for name in model.metrics)]))


def read_results(file: Path | str) -> ResultFile:
    """Read a `models.json` of the research prototype.

    Args:
        file: The file. Its name is the task's; a file called `models.json` has the name of its folder.

    Raises:
        ResultFileError: If it cannot be read, is not such a file, or its models contradict one another.
    """
    path = Path(file).expanduser().absolute()
    try:
        content = _parsed(path)
        models = tuple(_models(content))
        metrics = _by_name("metric", _entries(content, "metrics"))
        operations = _by_name("operation", _entries(content, "operations"))
        specified = {name: _specifications(operation) for name, operation in operations.items()}
        declared = {name: value for name, value in content.items() if name != "models"}
        results = ResultFile(_task(path), metrics, specified, models, declared)
        _check_lineage(results)
    except ResultFileError as error:
        raise ResultFileError(f"{path.name} cannot be imported: {error} Nothing was imported.") from error
    return results


def json_object(text: str) -> dict[str, Any]:
    """Read a JSON object that a person wrote.

    Raises:
        ResultFileError: If it is none.
    """
    try:
        content = json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ResultFileError(f"'{text:.60}' is not JSON ({error}).") from error
    if not isinstance(content, dict):
        raise ResultFileError(f"'{text:.60}' is no JSON object, such as {{\"sparsity\": 0.5}}.")
    _check_nesting(content)
    return content


def step_of(model: FileModel) -> Step:
    """How a child was made, as far as the file says."""
    return model.made_by or Step(UNKNOWN_OPERATION)


def _task(path: Path) -> str:
    return (path.parent.name if path.stem == COMMON_NAME else path.stem) or COMMON_NAME


def _parsed(path: Path) -> Entry:
    try:
        text = path.read_text("utf-8-sig")
        content = json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
        json.dumps(content, ensure_ascii=False).encode()
    except OSError as error:
        raise ResultFileError(f"{error.strerror or error}.") from error
    except RecursionError as error:
        raise ResultFileError("objects and lists are nested too deeply.") from error
    except ValueError as error:
        raise ResultFileError(f"it is not JSON in UTF-8 ({error}).") from error
    if not isinstance(content, dict):
        raise ResultFileError("expected an object with 'models', 'metrics' and 'operations'.")
    _check_nesting(content)
    return content


def _finite(text: str) -> float | None:
    """A number as JSON writes it; None for one that no float holds."""
    value = float(text)
    return value if math.isfinite(value) else None


def _check_nesting(content: Entry) -> None:
    level: list[Any] = [content]
    for _ in range(MOST_NESTED):
        level = [child for value in level for child in _inside(value)]
    if level:
        raise ResultFileError(f"objects and lists are nested more than {MOST_NESTED} deep.")


def _inside(value: object) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _entries(content: Entry, name: str) -> list[Entry]:
    found = content.get(name)
    entries = [] if found is None else found
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ResultFileError(f"'{name}' must be a list of objects.")
    return entries


def _by_name(kind: str, entries: Sequence[Entry]) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for entry in entries:
        name = _text(entry.get("name"), f"the name of a {kind}")
        if name in found:
            raise ResultFileError(f"{kind} '{name}' is declared twice.")
        found[name] = entry
    return found


def _specifications(operation: Entry) -> dict[str, Entry]:
    """Parameters of a declared operation: a list of names, or specifications by name."""
    parameters = operation.get("parameters")
    if isinstance(parameters, dict):
        return {name: spec if isinstance(spec, dict) else {} for name, spec in parameters.items()}
    if parameters is None or isinstance(parameters, list):
        return {str(name): {} for name in parameters or ()}
    raise ResultFileError(f"parameters of operation '{operation['name']}' must be a list or an object.")


def _models(content: Entry) -> Iterator[FileModel]:
    entries = _entries(content, "models")
    if not entries:
        raise ResultFileError("there are no models in it.")
    seen: set[str] = set()
    for entry in entries:
        model = _model(entry)
        if model.id in seen:
            raise ResultFileError(f"two models have the id '{model.id}'.")
        seen.add(model.id)
        yield model


def _model(entry: Entry) -> FileModel:
    id = _text(entry.get("id"), "the id of a model")
    base = entry.get("base")
    parent = None if base in (None, "") else _text(base, f"the base of model '{id}'")
    metrics = entry.get("metrics") or {}
    if not isinstance(metrics, dict):
        raise ResultFileError(f"metrics of model '{id}' must be an object.")
    values = {name: _value(value, name, id) for name, value in metrics.items()}
    return FileModel(id, parent, _operation(entry.get("operation"), id), values, entry)


def _operation(operation: object, id: str) -> Step | None:
    if operation is None:
        return None
    if not isinstance(operation, dict):
        raise ResultFileError(f"the operation of model '{id}' must be an object with name and parameters.")
    parameters = operation.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise ResultFileError(f"parameters of model '{id}' must be an object.")
    return Step(_text(operation.get("name"), f"the operation's name of model '{id}'"), parameters)


def _value(value: object, metric: str, id: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ResultFileError(f"metric '{metric}' of model '{id}' is {value!r}: expected a number or null.")
    try:
        return float(value)
    except OverflowError:
        raise ResultFileError(f"metric '{metric}' of model '{id}' is larger than any float.") from None


def _text(value: object, what: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise ResultFileError(f"{what} must be a text, found {value!r:.40}.")
    return str(value)


def _check_lineage(results: ResultFile) -> None:
    ids = {model.id for model in results.models}
    for model in results.models:
        if model.base is not None and model.base not in ids:
            raise ResultFileError(f"model '{model.id}' has the base '{model.base}', which is not in the file.")
    for path in results.paths.values():
        if len(path) > MOST_STEPS + 1:
            raise ResultFileError(f"model '{path[-1].id}' is more than {MOST_STEPS} steps from its root.")


def _path(model: FileModel, known: Mapping[str, FileModel]) -> list[FileModel]:
    """From the root, or from where too many steps were walked."""
    path, seen = [model], {model.id}
    while (base := path[-1].base) is not None and len(path) <= MOST_STEPS + 1:
        if base in seen:
            raise ResultFileError(f"model '{base}' descends from itself.")
        path.append(known[base])
        seen.add(base)
    return path[::-1]
