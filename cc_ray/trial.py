"""A recipe, run in this process: each step makes a model from its parent, saves it, measures it, writes it down.

Nothing here knows of a cluster: `search/` runs the same functions as Ray tasks, with the same results. A step whose
model is in the store is not run again, whichever recipe or study made it. Any number of processes may run steps of one
store: of two that make the same model the first to publish wins, the other's rows are discarded, and both are right.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import pyarrow as pa

from cc_ray.compress import Context, Finding, apply_step, operation_of
from cc_ray.errors import (
    CcRayError,
    ModelNotFoundError,
    StoppedEarlyError,
    StoreUnavailableError,
    TrialFailedError,
)
from cc_ray.evaluate import Examiner, measure, measure_latency, metric_definitions
from cc_ray.evaluate.answers import Answers, kind_of
from cc_ray.evaluate.recorder import Alongside, Recorder
from cc_ray.printing import Printed, heard, traced
from cc_ray.quiet import Turn, at_work, beside_others, no_new_steps, no_word
from cc_ray.recipe import Recipe, canonical_json, step_name, trial_id
from cc_ray.reports import Listener
from cc_ray.resources import Resources
from cc_ray.store import Store, artifacts
from cc_ray.store.growing import Growing
from cc_ray.store.layout import Draft
from cc_ray.store.tables import Rows
from cc_ray.store.weights import read_weights
from cc_ray.tasks import (
    SPLITS,
    Data,
    Split,
    Task,
    devices_used,
    holding,
    repeatable,
    splits_used,
    task_from_json,
    use_threads,
)

if TYPE_CHECKING:
    from torch import nn

Kind = Literal["step", "latency"]
"""A batch that an execution makes: a model with what was measured of it, or its timing."""
ONE_CPU: Final = Resources()


@dataclass(frozen=True)
class StepResult:
    """A model that is in the store, and what it took to get it there."""

    model_id: str
    reused: bool
    """It was there already, or another process published it first."""
    duration_s: float
    """Time that this execution took; 0 where nothing was executed."""


@dataclass(frozen=True)
class TrialResult:
    """A recipe whose models are all in the store, measured and timed."""

    trial_id: str
    steps: tuple[StepResult, ...]
    """One per model, the base model first."""

    @property
    def model_id(self) -> str:
        """The model that the recipe ends in."""
        return self.steps[-1].model_id


def run_trial(store: Store, task: Task, recipe: Recipe, *, study_id: str = "") -> TrialResult:
    """Run a recipe from its base model to its last step.

    Args:
        store: Takes models and rows; what it holds is not made again.
        task: What the models solve.
        recipe: Canonical, as `compress.validated_recipe` gives it.
        study_id: The study that asks; empty outside a study.

    Raises:
        TrialFailedError: If a step raises. What came before it stays in the store.
        StoreUnavailableError: If the store stays away or its disk is full; here and below.
    """
    ensure_task(store, task)
    results = []
    for index in range(len(recipe.steps) + 1):
        results.append(run_step(store, task, recipe, index, study_id=study_id))
        run_latency(store, task, recipe, index, study_id=study_id)
    return TrialResult(trial_id(study_id, recipe), tuple(results))


def ensure_task(store: Store, task: Task) -> None:
    """Write a task with its evaluation instances and the metrics' definitions, unless the store holds them."""
    if store.has("task", task.task_id):
        return
    row = {
        "task_id": task.task_id,
        "task": task.name,
        "parameters": canonical_json(task.model_dump(mode="json")),
        "class_names": list(task.class_names),
        "bases": list(task.bases),
        "splits": canonical_json(_splits(task)),
        "created_at": datetime.now(UTC),
    }
    rows = {"tasks": [row], "instances": task.instances(), "metric_definitions": metric_definitions(task)}
    store.publish("task", task.task_id, rows)


def run_step(
    store: Store,
    task: Task,
    recipe: Recipe,
    index: int,
    *,
    study_id: str = "",
    held: Resources = ONE_CPU,
    listener: Listener | None = None,
    turn: Turn = no_word,
) -> StepResult:
    """Make, measure and publish the model after `index` steps of a recipe; its parent must be in the store.

    Args:
        store: Takes the model and its rows.
        task: What the model solves.
        recipe: Canonical.
        index: Number of steps from the base model; 0 trains the base model.
        study_id: The study that asks; empty outside a study.
        held: What is kept for it; it uses as many threads as whole CPUs, and a GPU where one is held.
        listener: Hears what the model is worth meanwhile, and may end the step; nothing of it is published then.
        turn: Hears of waiting.

    Raises:
        StoppedEarlyError: If the listener ended it.
        TrialFailedError: If the operation or a measurement raises.
    """
    job = _Job(store, task, recipe.prefix(index), "step", study_id, held, listener, turn)
    return job.reused() or job.execute(job.make_model, int(held.cpus))


def run_latency(
    store: Store,
    task: Task,
    recipe: Recipe,
    index: int,
    *,
    study_id: str = "",
    held: Resources = ONE_CPU,
    turn: Turn = no_word,
) -> StepResult:
    """Time the model after `index` steps of a recipe, alone on its machine; it and its base must be in the store.

    Args:
        store: Takes the rows.
        task: What the model solves.
        recipe: Canonical.
        index: Number of steps from the base model.
        study_id: The study that asks; empty outside a study.
        held: What is kept for it; models are timed on one thread, or on a GPU where one is held.
        turn: Hears of waiting.

    Raises:
        TrialFailedError: If timing raises.
    """
    job = _Job(store, task, recipe.prefix(index), "latency", study_id, held, turn=turn)
    return job.reused() or job.execute(job.time_model)


def load_model(store: Store, model_id: str) -> nn.Module:
    """Load a model of the store, in evaluation mode on the CPU, with the outputs that were measured.

    Raises:
        ModelNotFoundError: If the store holds no such model.
    """
    if not store.has("step", model_id):
        raise ModelNotFoundError(f"{store.root} holds no model '{model_id}'. `cc-ray models` lists those it holds.")
    task_id = _model_row(store, model_id)["task_id"]
    row = store.read("tasks", keys={"task": task_id}).to_pylist()[0]
    return _load(store, task_from_json({"task": row["task"], "parameters": json.loads(row["parameters"])}), model_id)


@dataclass(frozen=True)
class _Job:
    """One execution: makes or times the model that a recipe ends in."""

    store: Store
    task: Task
    recipe: Recipe
    kind: Kind
    study_id: str
    held: Resources
    listener: Listener | None = None
    turn: Turn = no_word

    @property
    def model_ids(self) -> tuple[str, ...]:
        return self.recipe.model_ids(self.task.task_id)

    @property
    def model_id(self) -> str:
        return self.model_ids[-1]

    def reused(self) -> StepResult | None:
        return StepResult(self.model_id, True, 0.0) if self.store.has(self.kind, self.model_id) else None

    def execute(self, work: Callable[[], bool], threads: int = 1) -> StepResult:
        use_threads(max(1, threads))
        started_at, start = datetime.now(UTC), time.perf_counter()
        with heard() as printed:
            try:
                published = work()
            except StoppedEarlyError as error:
                self._record("stopped", started_at, time.perf_counter() - start, printed, error.reason)
                raise
            except StoreUnavailableError:
                # No fault of the recipe, and there is nowhere to write it down.
                raise
            except Exception as error:  # An operation may raise anything: it fails this step, and the tables say why.
                duration_s = time.perf_counter() - start
                self._record("failed", started_at, duration_s, printed, _one_line(error), traced(error))
                raise self._failure(error) from error
        duration_s = time.perf_counter() - start
        self._record("published" if published else "discarded", started_at, duration_s, printed)
        return StepResult(self.model_id, not published, duration_s)

    def make_model(self) -> bool:
        """Publish the model with all that is measured of it, time apart; False if another was first."""
        with self._device(), beside_others(self.turn), self.store.grow() as growing:
            examiner = self._examiner()
            with devices_used() as devices:
                made = self._made(examiner)
            artifact, model, known = self._saved(made.model, examiner)
            rows = self._measured(made, artifact, model, known, growing)
            findings = [{"model_id": self.model_id, **asdict(finding)} for finding in made.findings]
            own = {
                "models": [self._model_row(made, artifact.digest, ", ".join(sorted(devices)) or "cpu")],
                "lineage": self._edges(made),
                "findings": findings,
            }
            return self.store.publish("step", self.model_id, {**rows, **own}, growing)

    def time_model(self) -> bool:
        """Publish the model's latency; False if another was first."""
        with no_new_steps(self.turn):
            with at_work(self.turn, alone=False):
                model = _load(self.store, self.task, self.model_id)
                base = _load(self.store, self.task, self.model_ids[0])
            with holding(self.held.gpus):
                rows = measure_latency(
                    self.task, model, base, model_id=self.model_id, alone=at_work(self.turn, alone=True)
                )
            with at_work(self.turn, alone=False):
                return self.store.publish("latency", self.model_id, {"metrics": rows})

    @contextmanager
    def _device(self) -> Iterator[None]:
        with holding(self.held.gpus), repeatable(self.task.repeatable):
            yield

    def _measured(
        self,
        made: _Made,
        artifact: artifacts.Artifact,
        model: nn.Module,
        known: Answers | None,
        growing: Growing,
    ) -> dict[str, Rows]:
        """What is measured of a model; its answers are written into the batch while it gives them."""
        with self._recorder(growing) as recorder:
            return measure(
                self.task,
                model,
                model_id=self.model_id,
                artifact_size=artifact.size_bytes,
                weights=read_weights(self.store.layout, artifact.digest),
                predictions=recorder.record(self.task, model, known),
                parent_weights=self._parent_weights(),
                parent=_load(self.store, self.task, self.model_ids[-2]) if self.recipe.steps else None,
                kept=made.kept,
                base=self._base_answers(),
            )

    def _recorder(self, growing: Growing) -> Recorder:
        if not self.recipe.steps:
            return Recorder(growing, self.model_id)
        columns = kind_of(self.task).compared_by
        base = Alongside(self.store, self.model_ids[0], columns)
        parent = base if len(self.recipe.steps) == 1 else Alongside(self.store, self.model_ids[-2], columns)
        return Recorder(growing, self.model_id, base, parent, self._base_and_parent)

    def _base_and_parent(self) -> dict[str, nn.Module]:
        """Both models, which are one after the first step; none for a base model."""
        if not self.recipe.steps:
            return {}
        loaded = {
            model_id: _load(self.store, self.task, model_id) for model_id in {self.model_ids[0], *self.model_ids[-2:-1]}
        }
        return {"base": loaded[self.model_ids[0]], "parent": loaded[self.model_ids[-2]]}

    def _base_answers(self) -> Any:
        """Which instances the base model gets right; None for a base model."""
        if not self.recipe.steps:
            return None
        return pa.concat_tables(self.store.pieces("predictions", "step", self.model_ids[0], ("instance", "correct")))

    def _examiner(self) -> Examiner | None:
        if self.listener is None:
            return None
        parent = _model_row(self.store, self.model_ids[-2])["artifact"]
        return Examiner(self.task, self.listener, self.store.layout.artifact_bytes(parent) or 0)

    def _saved(
        self, model: nn.Module, examiner: Examiner | None
    ) -> tuple[artifacts.Artifact, nn.Module, Answers | None]:
        """Save a model; gives it as it was loaded, because what is measured is what was saved."""
        layout, untrained = self.store.layout, self.task.build(self.recipe.base)
        if examiner is None or examiner.reported:
            artifact = artifacts.save_model(layout, model)
            return artifact, artifacts.load_model(layout, artifact.digest, untrained), None
        # Of what is ended on the ladder no file is left.
        layout.make(layout.partial)
        with tempfile.TemporaryDirectory(dir=layout.partial) as folder:
            draft = Draft(Path(folder))
            artifact = artifacts.save_model(draft, model)
            loaded = artifacts.load_model(draft, artifact.digest, untrained)
            predictions = examiner.climb(loaded, artifact.size_bytes)
            artifacts.move_model(artifact.digest, draft, layout)
        return artifact, loaded, predictions

    def _made(self, examiner: Examiner | None) -> _Made:
        start = time.perf_counter()
        if not self.recipe.steps:
            with splits_used() as used:
                model = self.task.train(self.recipe.base, self.recipe.seed)
            return _Made(model, "float", (), (), (), {}, tuple(sorted(used)), time.perf_counter() - start)
        context = Context(
            self.task,
            self.recipe.seed,
            lambda index: _load(self.store, self.task, self.model_ids[index]),
            after_epoch=examiner.after_epoch if examiner else None,
        )
        outcome = apply_step(self.recipe.steps[-1], context.ancestor(len(self.recipe.steps) - 1), context)
        duration_s = time.perf_counter() - start
        return _Made(
            outcome.model,
            outcome.representation,
            outcome.findings,
            outcome.donors,
            outcome.teachers,
            outcome.kept,
            outcome.data_used,
            duration_s,
        )

    def _parent_weights(self) -> Any:
        if not self.recipe.steps:
            return None
        return read_weights(self.store.layout, _model_row(self.store, self.model_ids[-2])["artifact"])

    def _model_row(self, made: _Made, artifact: str, device: str) -> dict[str, Any]:
        step = self.recipe.steps[-1] if self.recipe.steps else None
        return {
            "model_id": self.model_id,
            "task_id": self.task.task_id,
            "base": self.recipe.base,
            "name": str(self.recipe),
            "operation": step.operation if step else None,
            "parameters": canonical_json(dict(step.parameters) if step else {}),
            "recipe": canonical_json(self.recipe.to_json()),
            "step_index": len(self.recipe.steps),
            "seed": self.recipe.seed,
            "artifact": artifact,
            "representation": made.representation,
            "realised_on": _realised_on(self.recipe),
            "study_id": self.study_id,
            "device": device,
            "duration_s": made.duration_s,
            "data_used": list(made.data_used),
            "created_at": datetime.now(UTC),
        }

    def _edges(self, made: _Made) -> list[dict[str, str]]:
        ids = self.model_ids
        edges = [{"child": ids[-1], "parent": ids[-2], "role": "parent"}] if self.recipe.steps else []
        for role, indices in (("donor", made.donors), ("teacher", made.teachers)):
            edges += [{"child": ids[-1], "parent": ids[index], "role": role} for index in sorted(set(indices))]
        return edges

    def _record(
        self,
        outcome: str,
        started_at: datetime,
        duration_s: float,
        printed: Printed,
        reason: str | None = None,
        traceback: str | None = None,
    ) -> None:
        run_id = uuid.uuid4().hex
        row = {
            "run_id": run_id,
            "model_id": self.model_id,
            "kind": self.kind,
            "study_id": self.study_id,
            "outcome": outcome,
            "reason": reason,
            "node": socket.gethostname(),
            "process": os.getpid(),
            "cpus": self.held.cpus,
            "gpus": self.held.gpus,
            "started_at": started_at,
            "duration_s": duration_s,
            "printed": printed.text,
            "traceback": traceback,
        }
        self.store.publish("run", run_id, {"step_runs": [row]})

    def _failure(self, error: Exception) -> TrialFailedError:
        step = step_name(self.recipe) if self.kind == "step" else f"latency of {step_name(self.recipe)}"
        return TrialFailedError(trial_id(self.study_id, self.recipe), step, _one_line(error))


def _splits(task: Task) -> dict[str, dict[str, int]]:
    """Of each split the number of instances, and how many of them the evaluation split holds too."""
    data = {split: task.data(split) for split in SPLITS}
    judged = data["evaluation"]
    identities, contents = set(judged.instances.tolist()), set(_contents(judged))
    found: dict[str, dict[str, int]] = {split: {"instances": len(held)} for split, held in data.items()}
    for split in SPLITS:
        if split != "evaluation":
            both = zip(data[split].instances.tolist(), _contents(data[split]), strict=True)
            shared = sum(identity in identities or content in contents for identity, content in both)
            found[split]["in_evaluation"] = shared
    return found


def _contents(data: Data) -> Iterator[bytes]:
    """A digest of each instance's input."""
    return (hashlib.sha256(each.numpy().tobytes()).digest() for each in data.inputs.contiguous())


@dataclass(frozen=True)
class _Made:
    model: nn.Module
    representation: str
    findings: tuple[Finding, ...]
    donors: tuple[int, ...]
    teachers: tuple[int, ...]
    kept: Mapping[str, list[list[int]]]
    data_used: tuple[Split, ...]
    duration_s: float


def _realised_on(recipe: Recipe) -> list[str]:
    """Kinds of devices on which the forms that all steps saved really run."""
    return sorted(frozenset({"cpu", "cuda"}).intersection(*(operation_of(step).runs_on() for step in recipe.steps)))


def _load(store: Store, task: Task, model_id: str) -> nn.Module:
    row = _model_row(store, model_id)
    return artifacts.load_model(store.layout, row["artifact"], task.build(row["base"]))


def _model_row(store: Store, model_id: str) -> dict[str, Any]:
    row: dict[str, Any] = store.read("models", keys={"step": model_id}).to_pylist()[0]
    return row


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, CcRayError) else f"{type(error).__name__}: {text}"
