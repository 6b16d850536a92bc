"""Which modules, put back to the weights of an ancestor, bring a metric back: the smallest set of them.

The search is `smallest.py`'s. Each set is measured by a Ray task and is a batch of the store: what was measured once is
not measured again, whichever session, tolerance or metric asks, and a stopped session goes on where it was.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import pyarrow.compute as pc
import ray

from cc_ray.errors import CcRayError, InvalidRecipeError, NotComparableError
from cc_ray.quiet import beside_others
from cc_ray.recipe import Step, canonical_json, identity
from cc_ray.resources import Resources
from cc_ray.search.cluster import connected
from cc_ray.search.scatter import RETRIES, Stop, scatter, stopped_by_signals
from cc_ray.search.smallest import Found, Set, Verdict, smallest
from cc_ray.store import Store
from cc_ray.store.compaction import compact_if_worthwhile

if TYPE_CHECKING:
    from cc_ray.evaluate.recovery import Mixer, Mixture, Unit, Units
    from cc_ray.evaluate.stored_model import StoredModel

RECOVERY: Final = "recovery"
"""Kind of the batches that hold one set each."""
BISECTION: Final = "bisection"
"""Kind of the batches that hold one answer each."""
_WAVE: Final = 32
"""Sets that are measured at once where the first that passes is enough."""


@dataclass(frozen=True)
class BisectPlan:
    """A question about a model and an ancestor."""

    model_id: str
    parent_id: str
    task_id: str
    metric: str
    higher: bool
    """Whether higher values are better."""
    tolerance: float
    model_value: float
    parent_value: float
    from_step: int
    """Number of steps from the base model to the ancestor."""
    units: Units
    budget: int
    asked: Resources
    """What measuring a set takes: what the task asks for."""

    @property
    def key(self) -> str:
        """Names the batch of the answer."""
        return identity("bisection", self.model_id, self.parent_id, self.metric, self.tolerance, self.budget)

    @property
    def target(self) -> float:
        """The value to reach."""
        return self.parent_value - self.tolerance if self.higher else self.parent_value + self.tolerance

    def verdict(self, value: float, sqnr_db: float | None) -> Verdict:
        """Whether a value reaches the target, and how good it is; between equals the nearness of answers decides."""
        merit = value if self.higher else -value
        reached = value >= self.target if self.higher else value <= self.target
        return Verdict(reached, (-math.inf if math.isnan(merit) else merit, math.inf if sqnr_db is None else sqnr_db))


@dataclass(frozen=True)
class BisectProgress:
    """One moment of a search."""

    measured: int
    """Sets that this session has measured or found in the store."""
    waiting: int
    """Sets that are being measured, or wait for it."""
    best: float
    """The best value so far, that of the model as it is included; in the metric's unit."""
    elapsed_s: float


@dataclass(frozen=True)
class BisectSummary:
    """How a session ended."""

    answer: dict[str, Any] | None
    """The row of `schema.BISECTIONS`; None where the session was stopped."""
    alone: tuple[tuple[str, float], ...]
    """Modules with the value that each brings alone, best first; of tied ones the first."""
    measured: int
    """Sets that came into the store meanwhile."""
    reused: bool
    """The answer was in the store."""
    stopped: str | None
    """What stopped the session; None where it came to its end."""


def plan_bisection(
    store: Store,
    model_id: str,
    parent_id: str,
    *,
    tolerance: float,
    budget: int,
    metric: str | None = None,
) -> BisectPlan:
    """Find out what there is to put back, and refuse at once what has no answer.

    Args:
        store: Holds both models.
        model_id: The younger model.
        parent_id: One of the models that it was made from, directly or not.
        tolerance: How far from the ancestor's value is near enough, in the metric's unit.
        budget: Sets of two and more that may be measured to prove that a set is the smallest.
        metric: What is to recover; the model's first primary metric if left out.

    Raises:
        ModelNotFoundError: If the store holds not the weights of one of them.
        UnknownMetricError: If the metric is not taken from the model's answers to the evaluation split.
        InvalidRecipeError: If the tolerance is negative.
        NotComparableError: If the older model is no ancestor, no direction of the metric is better, a value is missing,
            or no module differs that could be put back.
    """
    # Imported here: only this process and the workers need torch, not whoever asks for names.
    from cc_ray.evaluate.recovery import differing
    from cc_ray.evaluate.stored_model import StoredModel

    if not 0 <= tolerance < math.inf:
        raise InvalidRecipeError(f"tolerance={tolerance:g}: give 0 or more, in the metric's unit.")
    stored, parent = StoredModel.find(store, model_id), StoredModel.find(store, parent_id)
    name = stored.metric(metric)
    units = differing(stored.load(), parent.load())
    _refuse_nothing(units)
    return BisectPlan(
        model_id=model_id,
        parent_id=parent_id,
        task_id=str(stored.row["task_id"]),
        metric=name,
        higher=_is_higher_better(name),
        tolerance=tolerance,
        model_value=_recorded(stored, name),
        parent_value=_recorded(parent, name),
        from_step=_step_of(stored, parent_id),
        units=units,
        budget=budget,
        asked=stored.task.resources,
    )


def bisect(
    plan: BisectPlan,
    store: Store,
    *,
    address: str | None = None,
    on_progress: Callable[[BisectProgress], None] | None = None,
) -> BisectSummary:
    """Find the smallest set of modules; an answer that is in the store is given at once.

    Ctrl-C and SIGTERM end the session: the sets that were measured stay, and the next call goes on.

    Args:
        plan: The question.
        store: Takes the rows.
        address: Of a Ray cluster; see `cluster.connected`.
        on_progress: Called about twice a second, from this thread.

    Raises:
        CcRayError: If there is no cluster to work on, or a set cannot be measured.
    """
    start = time.perf_counter()
    session = _Session(plan, store, on_progress or _ignore)
    known = store.read("bisections", keys={BISECTION: plan.key}).to_pylist()
    if known:
        return BisectSummary(known[0], session.alone(), 0, True, None)
    store.sweep()
    with stopped_by_signals() as stop:
        try:
            found = session.find(address, stop)
        except _StoppedError:
            return BisectSummary(None, session.alone(), session.measured, False, stop.reason)
    row = _row(plan, session, found, time.perf_counter() - start)
    store.publish(BISECTION, plan.key, {"bisections": [row]})
    compact_if_worthwhile(store)
    return BisectSummary(row, session.alone(), session.measured, False, None)


class _StoppedError(Exception):
    """The user stopped the session."""


class _Session:
    """One call of `bisect`."""

    def __init__(self, plan: BisectPlan, store: Store, on_progress: Callable[[BisectProgress], None]) -> None:
        self.measured = 0
        self.used: set[Set] = set()
        self._plan, self._store, self._on_progress = plan, store, on_progress
        self._units = {unit.name: unit for unit in plan.units.able}
        self._start = time.monotonic()
        self._values: dict[Set, float] = {}
        self._known: dict[Set, Verdict] = {}
        self._remember()

    def find(self, address: str | None, stop: Stop) -> Found:
        kinds = {name: unit.kind for name, unit in self._units.items()}
        with ExitStack() as stack:

            def test(sets: Sequence[Set]) -> list[Verdict]:
                missing = [each for each in dict.fromkeys(sets) if each not in self._known]
                if missing:
                    # Connected only now: a question of another tolerance may need nothing new.
                    stack.enter_context(connected(address))
                    self._measure(missing, stop)
                self.used |= set(sets)
                return [self._known[each] for each in sets]

            return smallest(list(self._units), test, kinds=kinds, budget=self._plan.budget, width=_WAVE)

    def alone(self) -> tuple[tuple[str, float], ...]:
        known = [name for name in self._units if frozenset([name]) in self._known]
        known.sort(key=lambda name: self._known[frozenset([name])].merit, reverse=True)
        return tuple((name, self.value(frozenset([name]))) for name in known)

    def value(self, names: Set) -> float:
        return self._values[names]

    def unit(self, name: str) -> Unit:
        return self._units[name]

    def _measure(self, sets: Sequence[Set], stop: Stop) -> None:
        waiting = {self._mixture(each): each for each in sets}
        shared = (str(self._store.root), self._plan.model_id, self._plan.parent_id)
        for done in scatter(
            _measure_remotely,
            shared,
            list(waiting),
            asked=self._plan.asked,
            stop=stop,
            on_tick=lambda: self._tick(len(waiting)),
        ):
            if done.lost:
                raise CcRayError(f"sets of modules could not be measured: {done.lost}")
            for mixture, values in zip(done.items, done.results, strict=True):
                self.measured += 1
                self._note(waiting.pop(mixture), *values[self._plan.metric])
        if waiting:
            raise _StoppedError

    def _note(self, names: Set, value: float, sqnr_db: float | None) -> None:
        self._values[names], self._known[names] = value, self._plan.verdict(value, sqnr_db)

    def _tick(self, waiting: int) -> None:
        best = max(self._known, key=lambda names: self._known[names].merit)
        elapsed_s = time.monotonic() - self._start
        self._on_progress(BisectProgress(len(self._known) - 1, waiting, self.value(best), elapsed_s))

    def _mixture(self, names: Set) -> Mixture:
        from cc_ray.evaluate.recovery import Mixture

        modules = sorted(path for name in names for path in self._units[name].modules)
        return Mixture(self._plan.model_id, self._plan.parent_id, tuple(modules))

    def _remember(self) -> None:
        """Take up what was measured of these two models before, and the model as it is."""
        of_module = {path: unit.name for unit in self._units.values() for path in unit.modules}
        wanted = {name: getattr(self._plan, name) for name in ("model_id", "parent_id", "metric")}
        table = self._store.read("recoveries")
        for name, value in wanted.items():
            table = table.filter(pc.equal(table[name], value))
        for row in table.to_pylist():
            self._note(frozenset(of_module[path] for path in row["modules"]), row["value"], row["output_sqnr_db"])
        self._note(frozenset(), self._plan.model_value, 0.0)


def measure(shared: tuple[str, str, str], mixtures: Sequence[Mixture]) -> list[dict[str, tuple[float, float | None]]]:
    """Measure sets of modules and publish them; runs on a worker, or wherever it is called.

    Args:
        shared: Folder of the store, model_id and that of the ancestor.
        mixtures: Sets of modules.

    Returns:
        Of each the value and the outputs' SQNR in dB by metric.
    """
    # Imported here: this is what needs torch.
    from cc_ray.tasks import use_threads

    use_threads(1)
    mixer = _mixer(*shared)
    return [_measure_one(Store.known(shared[0]), mixer, mixture) for mixture in mixtures]


_measure_remotely = ray.remote(num_cpus=1, max_retries=RETRIES)(measure)


@lru_cache(maxsize=1)
def _mixer(root: str, model_id: str, parent_id: str) -> Mixer:
    """Stays in the worker from one task to the next."""
    from cc_ray.evaluate.recovery import Mixer
    from cc_ray.evaluate.stored_model import StoredModel

    store = Store.known(root)
    return Mixer(StoredModel.find(store, model_id), StoredModel.find(store, parent_id))


def _measure_one(store: Store, mixer: Mixer, mixture: Mixture) -> dict[str, tuple[float, float | None]]:
    rows = store.read("recoveries", keys={RECOVERY: mixture.key}).to_pylist()
    if not rows:
        # Whoever times a model on this machine waits for one set at most.
        with beside_others():
            rows = mixer.measure(mixture)
        store.publish(RECOVERY, mixture.key, {"recoveries": rows})
    return {row["metric"]: (row["value"], row["output_sqnr_db"]) for row in rows}


def _refuse_nothing(units: Units) -> None:
    if units.able:
        return
    if units.left_out:
        raise NotComparableError(
            f"all {len(units.left_out)} modules that differ have other shapes: none can be put back alone. Name an "
            "ancestor after the step that removed channels with --parent."
        )
    raise NotComparableError("no module differs between the two models: there is nothing to put back.")


def _is_higher_better(metric: str) -> bool:
    from cc_ray.evaluate.metrics import metrics

    direction = metrics[metric].definition.direction
    if direction == "none":
        raise NotComparableError(
            f"no direction of {metric} is better: there is nothing to recover. Name another metric."
        )
    return direction == "higher"


def _recorded(stored: StoredModel, metric: str) -> float:
    rows = stored.store.read("metrics", keys={"step": stored.model_id}).to_pylist()
    values = [row["value"] for row in rows if (row["metric"], row["slice"]) == (metric, "all")]
    if not values or not math.isfinite(values[0]):
        raise NotComparableError(f"{metric} of {stored.model_id} was not measured: name another metric or ancestor.")
    return float(values[0])


def _step_of(stored: StoredModel, parent_id: str) -> int:
    ids = stored.recipe.model_ids(str(stored.row["task_id"]))[:-1]
    if parent_id not in ids:
        raise NotComparableError(
            f"{parent_id} is no model on the way to {stored.model_id}: "
            + (f"name one of {', '.join(ids)} with --parent." if ids else "a base model was made from no other.")
        )
    return ids.index(parent_id)


def _row(plan: BisectPlan, session: _Session, found: Found, duration_s: float) -> dict[str, Any]:
    chosen = [session.unit(name) for name in found.members or ()]
    parameters = {"include": sorted(each for unit in chosen for each in unit.include), "from_step": plan.from_step}
    return {
        "model_id": plan.model_id,
        "task_id": plan.task_id,
        "parent_id": plan.parent_id,
        "metric": plan.metric,
        "tolerance": plan.tolerance,
        "model_value": plan.model_value,
        "parent_value": plan.parent_value,
        "target": plan.target,
        "proof": "none" if found.members is None else "smallest" if found.is_smallest else "minimal",
        "modules": [path for unit in chosen for path in unit.modules],
        "value": None if found.members is None else session.value(frozenset(found.members)),
        "failing_size": found.failing_size,
        "candidates": len(plan.units.able),
        "left_out": list(plan.units.left_out),
        "step": canonical_json(Step("restore", parameters).to_json()) if chosen else None,
        "evaluations": len(session.used - {frozenset()}),
        "budget": plan.budget,
        "duration_s": duration_s,
        "at": datetime.now(UTC),
    }


def _ignore(progress: BisectProgress) -> None:
    pass
