"""The sensitivity of a model's layers, measured on the cluster: each layer compressed alone at each level.

A map over (layer, level): every pair is a batch of the store, published by whoever measured it, and the store reduces.
What is there is not measured again, so a stopped session goes on where it was and two sessions at once share the work.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, get_args

import ray

from cc_ray.errors import InvalidRecipeError
from cc_ray.quiet import beside_others
from cc_ray.recipe import LEVELS, Step
from cc_ray.resources import Resources
from cc_ray.schema import Judged
from cc_ray.search.cluster import connected
from cc_ray.search.scatter import RETRIES, Clock, Pace, Stop, one_line, scatter, stopped_by_signals
from cc_ray.store import Store
from cc_ray.store.compaction import compact_if_worthwhile

if TYPE_CHECKING:
    from torch import nn

    from cc_ray.compress import Operation
    from cc_ray.compress.targets import Targeted
    from cc_ray.evaluate.sensitivity import Bench, Probe

KIND: Final = "sensitivity"
"""Kind of the batches."""
Level = int | float


@dataclass(frozen=True)
class ProbePlan:
    """Which layers of a model are compressed how."""

    model_id: str
    operation: str
    parameter: str | None
    """The parameter that is the level; None for an operation without."""
    others: str
    """The other parameters, but for what the operation works on; JSON as in `schema.SENSITIVITY`."""
    levels: tuple[Level | None, ...]
    """One None for an operation without a level."""
    layers: tuple[str, ...]
    """Paths of modules, in the model's order."""
    metric: str
    """The metric to look at."""
    split: Judged
    """What is judged on."""
    probes: tuple[Probe, ...]
    """Every layer at every level, layer by layer."""
    asked: Resources
    """What measuring them takes: what the operation asks for, else the task."""


@dataclass(frozen=True)
class ProbeProgress:
    """One moment of a session."""

    layers_done: int
    """Layers that are measured at every level."""
    layers_total: int
    """All layers of the plan."""
    pace: Pace
    """Measurements that this session has to make: layers times levels, less what was there."""


@dataclass(frozen=True)
class ProbeFailure:
    """A measurement that an error ended."""

    layer: str
    level: Level | None
    reason: str
    """In one line."""


@dataclass(frozen=True)
class ProbeSummary:
    """How a session ended."""

    measured: int
    """Layers times levels that came into the store meanwhile."""
    reused: int
    """Those that were there."""
    failures: tuple[ProbeFailure, ...]
    """Those that errors ended; the next session tries them again."""
    stopped: str | None
    """What stopped the session; None where it came to its end."""
    duration_s: float


def plan_probes(
    store: Store,
    model_id: str,
    operation: str,
    levels: Sequence[Level],
    *,
    parameter: str | None = None,
    pattern: str | None = None,
    metric: str | None = None,
    fixed: Mapping[str, Any] | None = None,
    split: Judged = "evaluation",
) -> ProbePlan:
    """Find out what to measure, and refuse at once what cannot be.

    Args:
        store: Holds the model.
        model_id: The model.
        operation: Name of an operation that works on layers.
        levels: Values of the parameter that is the level; none for an operation without.
        parameter: That parameter; the first of `recipe.LEVELS` that the operation has if left out.
        pattern: A regular expression that has to be found in a layer's path, in upper or lower case; None for all.
        metric: The metric to look at; the model's first primary one if left out. All are measured.
        fixed: Other parameters of the operation.
        split: What is judged on: `calibration` where a step is to choose by what is found, `evaluation` else.

    Raises:
        ModelNotFoundError: If the store holds no such model, or not its weights.
        UnknownMetricError: If the metric is not taken from the model's answers to the split.
        UnknownOperationError: If nobody registered the operation.
        InvalidRecipeError: If the operation does not suit the model, a parameter or level does not fit, no layer is
            chosen, or models are not judged on the split.
        NotApplicableError: If the model has no layer that the operation could work on.
    """
    # Imported here: only this process and the workers need torch, not whoever asks for names.
    from cc_ray.evaluate.sensitivity import Probe
    from cc_ray.evaluate.stored_model import StoredModel

    _refuse_split(split)
    kind = _targeted(operation)
    name = level_parameter(kind, parameter)
    values = _levels(kind, name, levels)
    given = dict(fixed or {})
    _refuse_set_elsewhere(given, name)
    steps = [_step(kind, given, name, level) for level in values]
    stored = StoredModel.find(store, model_id)
    metric = stored.metric(metric, split)
    layers = _layers(steps[0], stored.load(), pattern)
    probes = tuple(
        Probe(model_id, layer, name, replace(step, parameters={**step.parameters, "include": [include]}), split)
        for layer, include in layers.items()
        for step in steps
    )
    asked = kind.resources or stored.task.resources
    return ProbePlan(model_id, operation, name, probes[0].others, values, tuple(layers), metric, split, probes, asked)


def level_parameter(kind: type[Operation], wanted: str | None = None) -> str | None:
    """The parameter of an operation that says how strong it is; None where it has no number to vary.

    Raises:
        InvalidRecipeError: If the wanted one is no number of the operation, or it has several and none is usual.
    """
    numbers = [name for name, field in kind.model_fields.items() if field.annotation in (int, float)]
    if wanted is not None and wanted not in numbers:
        raise InvalidRecipeError(
            f"{kind.name} has no number '{wanted}' to vary: {', '.join(numbers) or 'none of its parameters is one'}."
        )
    usual = [name for name in LEVELS if name in numbers] or numbers
    if wanted is None and len(numbers) > 1 and usual is numbers:
        raise InvalidRecipeError(f"{kind.name} has several numbers ({', '.join(numbers)}): name one with --parameter.")
    return wanted or next(iter(usual), None)


def run_probes(
    plan: ProbePlan,
    store: Store,
    *,
    address: str | None = None,
    on_progress: Callable[[ProbeProgress], None] | None = None,
) -> ProbeSummary:
    """Measure what the store lacks; starts no cluster where it lacks nothing.

    Ctrl-C and SIGTERM end the session: what is published stays, and the next call goes on.

    Args:
        plan: What to measure.
        store: Takes the rows.
        address: Of a Ray cluster; see `cluster.connected`.
        on_progress: Called about twice a second, from this thread.

    Raises:
        CcRayError: If there is no cluster to work on.
    """
    session = _Session(plan, store, on_progress or _ignore)
    with stopped_by_signals() as stop:
        if session.missing:
            store.sweep()
            with connected(address):
                session.run(stop)
    compact_if_worthwhile(store)
    return session.summary(stop)


class _Session:
    """One call of `run_probes`."""

    def __init__(self, plan: ProbePlan, store: Store, on_progress: Callable[[ProbeProgress], None]) -> None:
        self._plan, self._store, self._on_progress = plan, store, on_progress
        self.missing = {probe.key: probe for probe in plan.probes if not store.has(KIND, probe.key)}
        self._to_do = len(self.missing)
        self._failures: list[ProbeFailure] = []
        self._clock = Clock(self._to_do)

    def run(self, stop: Stop) -> None:
        shared = (str(self._store.root), self._plan.model_id, self._plan.split)
        probes, asked = list(self.missing.values()), self._plan.asked
        for done in scatter(_measure_remotely, shared, probes, asked=asked, stop=stop, on_tick=self._tick):
            reasons = done.results or [done.lost] * len(done.items)
            for probe, reason in zip(done.items, reasons, strict=True):
                if reason and not self._store.has(KIND, probe.key):
                    self._failures.append(ProbeFailure(probe.layer, probe.level, reason))

    def summary(self, stop: Stop) -> ProbeSummary:
        self._look()
        elapsed_s = self._clock.pace(0).elapsed_s
        done = self._to_do - len(self.missing)
        reused = len(self._plan.probes) - self._to_do
        return ProbeSummary(done, reused, tuple(self._failures), stop.reason, elapsed_s)

    def _tick(self) -> None:
        self._look()
        unfinished = {probe.layer for probe in self.missing.values()}
        total = len(self._plan.layers)
        pace = self._clock.pace(self._to_do - len(self.missing))
        self._on_progress(ProbeProgress(total - len(unfinished), total, pace))

    def _look(self) -> None:
        """Ask the store, which also knows what another session has measured."""
        self.missing = {key: probe for key, probe in self.missing.items() if not self._store.has(KIND, key)}


def measure(shared: tuple[str, str, Judged], probes: Sequence[Probe]) -> list[str]:
    """Measure layers of one model and publish them; runs on a worker, or wherever it is called.

    Args:
        shared: Folder of the store, model_id and what is judged on.
        probes: Layers of the model.

    Returns:
        Of each why it failed; empty where it is in the store.
    """
    # Imported here: this is what needs torch.
    from cc_ray.tasks import use_threads

    use_threads(1)
    bench = _bench(*shared)
    return [_measure_one(Store.known(shared[0]), bench, probe) for probe in probes]


_measure_remotely = ray.remote(num_cpus=1, max_retries=RETRIES)(measure)


@lru_cache(maxsize=1)
def _bench(root: str, model_id: str, split: Judged) -> Bench:
    """Stays in the worker from one task to the next."""
    from cc_ray.evaluate.sensitivity import Bench
    from cc_ray.evaluate.stored_model import StoredModel

    return Bench(StoredModel.find(Store.known(root), model_id), split)


def _measure_one(store: Store, bench: Bench, probe: Probe) -> str:
    if store.has(KIND, probe.key):
        return ""
    try:
        # Whoever times a model on this machine waits for one layer at most.
        with beside_others():
            rows = bench.measure(probe)
    except Exception as error:  # An operation may raise anything: it fails this layer, and the user is told.
        return one_line(error)
    store.publish(KIND, probe.key, {"sensitivity": rows})
    return ""


def _refuse_split(split: str) -> None:
    if split not in get_args(Judged):
        raise InvalidRecipeError(f"layers are judged on {' or '.join(get_args(Judged))}, not on '{split}'.")


def _targeted(name: str) -> type[Targeted]:
    from cc_ray.compress import operations
    from cc_ray.compress.targets import Targeted

    kind = operations[name]
    if not issubclass(kind, Targeted):
        able = (each for each, other in operations.items() if issubclass(other, Targeted))
        raise InvalidRecipeError(f"{name} works on whole models, not on layers: choose one of {', '.join(able)}.")
    return kind


def _levels(kind: type[Operation], name: str | None, levels: Sequence[Level]) -> tuple[Level | None, ...]:
    if name is None and levels:
        raise InvalidRecipeError(f"{kind.name} has no number to vary: leave --levels out.")
    if name is not None and not levels:
        meaning = " ".join((kind.model_fields[name].description or "").split())
        raise InvalidRecipeError(f"give levels of {kind.name}'s {name} ({meaning}), by commas.")
    return tuple(dict.fromkeys(levels)) or (None,)


def _refuse_set_elsewhere(fixed: Mapping[str, Any], name: str | None) -> None:
    for each in ("include", "exclude"):
        if each in fixed:
            raise InvalidRecipeError(f"'{each}' is set for each layer: choose layers with --pattern.")
    if name in fixed:
        raise InvalidRecipeError(f"'{name}' is set for each level: give its values with --levels.")


def _step(kind: type[Targeted], fixed: Mapping[str, Any], name: str | None, level: Level | None) -> Step:
    """The step for all layers at once."""
    from cc_ray.compress import validated_step

    return validated_step(Step(kind.name, dict(fixed) if name is None else {**fixed, name: level}))


def _layers(step: Step, model: nn.Module, pattern: str | None) -> dict[str, str]:
    """The pattern that names a layer alone, by the layer's path, in the model's order."""
    from cc_ray.compress import operation_of, representation_of
    from cc_ray.compress.steps import refusal
    from cc_ray.compress.targets import Targeted, listed, matches

    made = operation_of(step)
    assert isinstance(made, Targeted)
    if (found := representation_of(model)) not in made.accepts:
        raise InvalidRecipeError(refusal(made, found))
    targets = made.targets(model)
    chosen = [target for target in targets if _is_wanted(target.path, pattern)]
    if not chosen:
        known = listed(target.path for target in targets)
        raise InvalidRecipeError(f"'{pattern}' is found in no layer's path. The layers are {known}.")
    # A module that holds others is named by its tensor, and so is the model itself.
    inner = {target.path for target in targets if sum(matches(target.path, other.path) for other in targets) > 1}
    return {each.path: each.name if each.path in inner or not each.path else each.path for each in chosen}


def _is_wanted(path: str, pattern: str | None) -> bool:
    try:
        return pattern is None or re.search(pattern, path, re.IGNORECASE) is not None
    except re.error as error:
        raise InvalidRecipeError(
            f"'{pattern}' is no regular expression: {error}. Write, for example, 'layer1.*conv'."
        ) from error


def _ignore(progress: ProbeProgress) -> None:
    pass
