"""Models that were made elsewhere: what is known of each, checked together and brought into the store.

One door for every importer and for a user's own script. A model is known by its task and its name: the same content
again changes nothing, other content under the same name is refused. All new models of one call are one batch: they are
all there or none is.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final

from cc_ray.errors import ModelNotFoundError
from cc_ray.imports.answers import Answers, Instances
from cc_ray.imports.definitions import Definitions, chosen
from cc_ray.imports.generated import GeneratedAnswers, Prompts
from cc_ray.imports.reading import MOST_STEPS, ResultFileError
from cc_ray.recipe import Recipe, Step, canonical_json, identity
from cc_ray.schema import TABLES
from cc_ray.store import Store
from cc_ray.store.tables import conform

Row = dict[str, Any]

NO_ARTIFACT: Final = "0" * 64
"""Digest of a model of which no file exists."""
SHORTEST_IDENTITY: Final = 6
"""Digits of an identity that name a model."""


@dataclass(frozen=True)
class Finding:
    """Something odd about a model; the fields are columns of `schema.FINDINGS`."""

    check: str
    severity: str
    message: str
    expected: float | None = None
    found: float | None = None


@dataclass(frozen=True)
class MadeElsewhere:
    """One model and all that is known of it."""

    name: str
    """Its name within the task."""
    parent: str | None = None
    """Name or identity of its parent, among the models that come with it or in the store; None if it has none there."""
    step: Step | None = None
    """How it was made."""
    before: tuple[Step, ...] = ()
    """Steps before that one of which no models are known; only without a parent."""
    base: str | None = None
    """What its recipe starts from where its parent is not known; its own name if left out."""
    others: Mapping[str, str] = field(default_factory=dict)
    """Names or identities of further models that it was made from, by role: teacher, donor."""
    seed: int = 0
    metrics: tuple[Row, ...] = ()
    """Rows of `schema.METRICS` without `model_id`."""
    answers: Answers | GeneratedAnswers | None = None
    """Its predictions."""
    layers: tuple[Row, ...] = ()
    """Rows of `schema.LAYERS` without `model_id`."""
    artifact: str = NO_ARTIFACT
    """Digest of its saved file."""
    origin: Mapping[str, Any] = field(default_factory=dict)
    """What else its source says of it; plain data."""
    findings: tuple[Finding, ...] = ()
    duration_s: float = 0.0
    created_at: datetime | None = None

    @property
    def digest(self) -> str:
        """Hash of the content."""
        step = self.step.to_json() if self.step else None
        data = [self.name, self.parent, step, self.base, dict(self.others), self.seed, list(self.metrics)]
        before = [step.to_json() for step in self.before]
        answers = self.answers.digest if self.answers else None
        return identity(data, before, answers, self.artifact, dict(self.origin))


@dataclass(frozen=True)
class TaskElsewhere:
    """The task that models made elsewhere solve."""

    name: str
    class_names: tuple[str, ...] = ()
    instances: Instances | Prompts | None = None
    """The evaluation instances, where predictions came with the models."""
    instances_stored: bool = False
    """The store has them already."""


@dataclass(frozen=True)
class Brought:
    """What an import did."""

    source: str
    """What the models were taken from."""
    task: str
    task_id: str
    models: tuple[str, ...]
    """Identities of all models of the source."""
    new: int
    """Models that were not in the store before."""
    values: int
    """Metric values of the new models."""
    predictions: int
    """Predictions of the new models."""
    findings: tuple[Finding, ...]
    """What is odd; stored as findings of the models."""
    guessed: tuple[str, ...]
    """What the source does not say and was assumed."""


def model_id(task_id: str, name: str) -> str:
    """Identity of a model that was made elsewhere."""
    return identity("made elsewhere", task_id, name)


def stored_task(store: Store, name: str) -> Row | None:
    """Row of `schema.TASKS` of the task of a name (or identity) in the store; None if there is none.

    Raises:
        ResultFileError: If several tasks have the name.
    """
    rows = store.read("tasks").to_pylist()
    found = {row["task_id"]: row for row in rows if name in (row["task"], row["task_id"])}
    if len(found) > 1:
        raise ResultFileError(
            f"{len(found)} tasks of {store.root} are called '{name}': name one by its identity ({', '.join(found)})."
        )
    return next(iter(found.values()), None)


def bring(
    store: Store,
    task: TaskElsewhere,
    models: Sequence[MadeElsewhere],
    *,
    source: str,
    study: Row | None = None,
    trials: Sequence[Row] = (),
    directions: Mapping[str, str] | None = None,
    guessed: Sequence[str] = (),
    before: Callable[[], object] | None = None,
) -> Brought:
    """Bring models into a store, all or none.

    Args:
        store: Takes the rows.
        task: What the models solve; a task of the store that has its name is that task.
        models: Each of another name.
        source: What they were taken from, for the summary.
        study: Columns of `schema.STUDIES` that the models belong to; None for no study.
        trials: Rows of `schema.TRIALS`, without `model_id`, whose `trial_id` may be a model's name.
        directions: Which values of a metric are better, where the source says so.
        guessed: What the caller assumed, for the summary.
        before: Called when all is known to fit and there are new models, before the first row is written.

    Raises:
        ResultFileError: If something does not fit: names, lineage, or a model that is there with other content.
        ModelNotFoundError: If a parent is nowhere to be found.
    """
    _refuse_unwritable(task, models)
    known = stored_task(store, task.name)
    task_id = str(known["task_id"]) if known else identity("task", "made elsewhere", task.name)
    there = {row["model_id"]: row for row in store.read("models").to_pylist() if row["task_id"] == task_id}
    lineage = _Lineage(task_id, models, there)
    new = [model for model in models if not _is_there(model, task_id, there, store)]
    definitions = chosen(_values(models), task.name, _definitions(store), directions or {})
    study_id = str(study["study_id"]) if study else ""
    rows = _rows(new, task_id, lineage, definitions, study_id)
    for name, table in rows.items():
        conform(TABLES[name], table)
    if before and new:
        before()
    _publish_task(store, task, task_id, definitions, known=known, bases=lineage.roots())
    if study and new:
        _publish_study(store, study, task_id, rows["models"])
    ids = [row["model_id"] for row in rows["models"]]
    if ids and not store.publish("step", ids[0] if len(ids) == 1 else identity("made elsewhere", sorted(ids)), rows):
        # Another process was first: what it wrote must be the same.
        after = {row["model_id"]: row for row in store.read("models").to_pylist() if row["task_id"] == task_id}
        for model in new:
            _is_there(model, task_id, after, store)
    if trials:
        _publish_trials(store, trials, task_id)
    return Brought(
        source=source,
        task=task.name,
        task_id=task_id,
        models=tuple(model_id(task_id, model.name) for model in models),
        new=len(new),
        values=len(rows["metrics"]),
        predictions=sum(len(model.answers.instances) for model in new if model.answers),
        findings=tuple(finding for model in new for finding in model.findings),
        guessed=(*guessed, *definitions.guessed),
    )


def _refuse_unwritable(task: TaskElsewhere, models: Sequence[MadeElsewhere]) -> None:
    """Names and parameters must be texts of Unicode and plain data: their hashes and files rely on it."""
    _check_plain(task.name, [task.name, list(task.class_names)])
    for model in models:
        steps = [step.to_json() for step in (*model.before, *((model.step,) if model.step else ()))]
        _check_plain(model.name, [model.name, model.parent, model.base, dict(model.others), steps, dict(model.origin)])


def _check_plain(name: str, data: object) -> None:
    try:
        canonical_json(data).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ResultFileError(f"what is said of {name!r} is no plain data in Unicode ({error}).") from error


class _Lineage:
    """Recipes and edges of models, among themselves and with those of the store."""

    def __init__(self, task_id: str, models: Sequence[MadeElsewhere], there: Mapping[str, Row]) -> None:
        self._task_id, self._there = task_id, there
        self._models: dict[str, MadeElsewhere] = {}
        for model in models:
            if model.name in self._models:
                raise ResultFileError(f"two models are called '{model.name}': give each its own name.")
            self._models[model.name] = model
        self._recipes: dict[str, Recipe] = {}
        for name in self._models:
            self._make_recipe(name)

    def recipe(self, model: MadeElsewhere) -> Recipe:
        """The operations from the root on."""
        return self._recipes[model.name]

    def edges(self, model: MadeElsewhere) -> Iterator[tuple[str, str]]:
        """Identities of the models that it was made from, with their roles."""
        roles = {**({"parent": model.parent} if model.parent is not None else {}), **model.others}
        for role, name in roles.items():
            yield self.identity(name), role

    def roots(self) -> list[str]:
        """Names of base models."""
        return list(dict.fromkeys(recipe.base for recipe in self._recipes.values()))

    def identity(self, name: str) -> str:
        """Identity of a model by its name or the first digits of its identity."""
        if name in self._models:
            return model_id(self._task_id, name)
        exact = [id for id, row in self._there.items() if row["name"] == name]
        long = len(name) >= SHORTEST_IDENTITY
        found = exact or [id for id in self._there if long and id.startswith(name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise ModelNotFoundError(f"{len(found)} models of the task answer to '{name}': use an identity.")
        names = [*self._models, *(row["name"] for row in self._there.values())]
        nearest = difflib.get_close_matches(name, names, n=3, cutoff=0.3)
        hint = f"did you mean {' or '.join(map(repr, nearest))}?" if nearest else "bring it into the store first."
        raise ModelNotFoundError(f"no model '{name}' in this task: {hint} Nothing was written.")

    def _make_recipe(self, name: str) -> None:
        """Make the recipe of a model and of those above it, without recursion: lineages may be long."""
        path = [name]
        while (parent := self._models[path[-1]].parent) in self._models and parent not in self._recipes:
            if parent in path:
                raise ResultFileError(f"model '{parent}' descends from itself.")
            path.append(parent)
        for each in reversed(path):
            self._recipes[each] = self._own(self._models[each])

    def _own(self, model: MadeElsewhere) -> Recipe:
        steps = (*model.before, *((model.step,) if model.step else ()))
        if model.parent is None:
            return Recipe(model.base or model.name, steps, model.seed)
        above = self._recipes.get(model.parent) or self._stored(self.identity(model.parent))
        if len(above.steps) >= MOST_STEPS:
            raise ResultFileError(f"model '{model.name}' is more than {MOST_STEPS} steps from its root.")
        return Recipe(above.base, (*above.steps, *steps), model.seed)

    def _stored(self, id: str) -> Recipe:
        return Recipe.from_json(json.loads(self._there[id]["recipe"]))


def _is_there(model: MadeElsewhere, task_id: str, there: Mapping[str, Row], store: Store) -> bool:
    own = model_id(task_id, model.name)
    if own in there:
        if json.loads(there[own]["recipe"]).get("imported", {}).get("digest") == model.digest:
            return True
        raise ResultFileError(
            f"a model '{model.name}' with other content is in {store.root}, and what is in a store stays as it is. "
            "Choose another name for this one. Nothing was written."
        )
    if any(row["name"] == model.name for row in there.values()):
        raise ResultFileError(
            f"another model of this task in {store.root} is called '{model.name}': choose another name. "
            "Nothing was written."
        )
    return False


def _values(models: Sequence[MadeElsewhere]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for model in models:
        for row in model.metrics:
            found.setdefault(row["metric"], []).append(row["value"])
    return found


def _definitions(store: Store) -> list[Row]:
    found: list[Row] = store.read("metric_definitions").to_pylist()
    return found


def _rows(
    models: Sequence[MadeElsewhere], task_id: str, lineage: _Lineage, definitions: Definitions, study_id: str
) -> dict[str, Any]:
    ids = {model.name: model_id(task_id, model.name) for model in models}
    tables = [model.answers.table(ids[model.name]) for model in models if model.answers]
    return {
        "models": [_model_row(model, task_id, lineage.recipe(model), study_id) for model in models],
        "lineage": [
            {"child": ids[model.name], "parent": parent, "role": role}
            for model in models
            for parent, role in lineage.edges(model)
        ],
        "metrics": [
            {**row, "metric": definitions.names[row["metric"]], "model_id": ids[model.name]}
            for model in models
            for row in model.metrics
        ],
        "predictions": _together(tables),
        "layers": [{**row, "model_id": ids[model.name]} for model in models for row in model.layers],
        "findings": [
            {"model_id": ids[model.name], "layer": "", **vars(finding)}
            for model in models
            for finding in model.findings
        ],
    }


def _together(tables: list[Any]) -> Any:
    import pyarrow as pa

    # Not every model has every column.
    return pa.concat_tables(tables, promote_options="default") if tables else []


def _model_row(model: MadeElsewhere, task_id: str, recipe: Recipe, study_id: str) -> Row:
    step = model.step
    quantized = any("quanti" in each.operation.lower() for each in recipe.steps)
    imported = {"digest": model.digest, **model.origin}
    return {
        "model_id": model_id(task_id, model.name),
        "task_id": task_id,
        "base": recipe.base,
        "name": model.name,
        "operation": step.operation if step else None,
        "parameters": canonical_json(dict(step.parameters)) if step else "{}",
        "recipe": canonical_json({**recipe.to_json(), "imported": imported}),
        "step_index": len(recipe.steps),
        "seed": model.seed,
        "artifact": model.artifact,
        "representation": "quantized" if quantized else "float",
        "study_id": study_id,
        "device": "",
        "duration_s": model.duration_s,
        "created_at": model.created_at or datetime.now(UTC),
    }


def _publish_task(
    store: Store, task: TaskElsewhere, task_id: str, definitions: Definitions, *, known: Row | None, bases: list[str]
) -> None:
    """Publish the task and, in batches of their own, what later models add to it: instances and metrics."""
    if known is None:
        row = {
            "task_id": task_id,
            "task": task.name,
            "parameters": "{}",
            "class_names": list(task.class_names),
            "bases": bases,
            "created_at": datetime.now(UTC),
        }
        store.publish("task", task_id, {"tasks": [row]})
    if task.instances is not None and not task.instances_stored:
        rows = task.instances.table(task_id, task.class_names)
        store.publish("task", identity("instances", task_id), {"instances": rows})
    if definitions.new:
        store.publish("task", identity("metrics", list(definitions.new)), {"metric_definitions": definitions.new})


def _publish_study(store: Store, study: Row, task_id: str, models: Sequence[Row]) -> None:
    now = datetime.now(UTC)
    usual = {
        "state": "finished",
        "task_id": task_id,
        "search_space": "{}",
        "objectives": "{}",
        "started_at": min(row["created_at"] for row in models),
        "finished_at": now,
        "code_version": version("cc-ray"),
        "environment": "{}",
        "at": now,
    }
    key = identity("made elsewhere", study["study_id"], sorted(row["model_id"] for row in models))
    store.publish("study", key, {"studies": [{**usual, **study}]})


def _publish_trials(store: Store, trials: Sequence[Row], task_id: str) -> None:
    there = {(row["study_id"], row["trial_id"], row["state"]) for row in store.read("trials").to_pylist()}
    new = [trial for trial in trials if (trial["study_id"], trial["trial_id"], trial["state"]) not in there]
    rows = [
        {**trial, "model_id": model_id(task_id, trial["trial_id"]) if trial["state"] == "finished" else None}
        for trial in new
    ]
    if rows:
        key = identity("made elsewhere", [[row["study_id"], row["trial_id"], row["state"]] for row in rows])
        store.publish("trial", key, {"trials": rows})
