"""Steps that go by what the store knows of layers: rows of `cc-ray sensitivity` are written into them as numbers.

A step's identity is a hash of its parameters. So what it reads has to be among them, and is looked up when a space is
planned, not when the step runs: equal rows make equal steps, wherever they were measured.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import pyarrow.compute as pc

from cc_ray.errors import InvalidRecipeError, ModelNotFoundError
from cc_ray.recipe import Recipe, Step
from cc_ray.search.sampling import canonical
from cc_ray.search.sensitivity import ProbePlan, plan_probes
from cc_ray.search.space import OUTPUT_NOISE, Domain, RecipeSpace, Rows, SearchSpace, Slot, StepSpace
from cc_ray.store import Store

if TYPE_CHECKING:
    from cc_ray.compress.allocate import Allocate
    from cc_ray.schema import Judged

_FIXED: Final = ("applied", "levels", "settings", "include", "exclude")
"""Parameters that say which rows are wanted."""
_SHOWN: Final = 3
"""How many missing rows a message names."""
_DIGITS: Final = 9
"""Of a harm; what is beyond them differs between machines."""


def filled(space: SearchSpace, store: Store | None, task_id: str) -> SearchSpace:
    """The same space with numbers in place of `rows_of(...)`.

    Args:
        space: Its recipes begin with base models: see `branching.resolved`.
        store: Has the rows; None where there is no store yet.
        task_id: The task of the space.

    Raises:
        InvalidRecipeError: If rows are missing, or it is open which are wanted.
        UnknownMetricError: If layers were not judged by the metric.
    """
    if not any(_asks(step) for form in space.recipes for slot in form.slots for step in slot.options):
        return space
    if store is None:
        raise InvalidRecipeError(
            f"search space '{space.name}' goes by rows of `cc-ray sensitivity`, but there is no store yet."
        )
    look = _Look(store, task_id)
    return replace(space, recipes=[one for form in space.recipes for one in _forms(form, space, look)])


@dataclass(frozen=True)
class _Look:
    """Where rows are looked for."""

    store: Store
    task_id: str

    def harms(self, asked: Rows, made: Allocate, model_id: str) -> tuple[str, dict[str, list[float]]]:
        """The metric, and how much worse it gets at each level, by layer."""
        # Imported here: torch is not needed to read a space.
        from cc_ray.evaluate import metrics

        plan = self._plan(asked, made, model_id)
        rows, layers = self._rows(plan), _chosen(plan.layers, made)
        missing = [(layer, level) for layer in layers for level in made.levels if (layer, level) not in rows]
        if missing:
            named = ", ".join(f"'{layer}' at {level:g}" for layer, level in missing[:_SHOWN])
            _refuse(
                f"{len(missing)} of {len(layers) * len(made.levels)} rows are not in {self.store.root} ({named}"
                f"{', ...' if len(missing) > _SHOWN else ''})",
                _command(plan, made),
            )
        if asked.metric == OUTPUT_NOISE:
            harm = _noise
        elif metrics[plan.metric].definition.direction == "higher":
            harm = _fall
        else:
            harm = _rise
        harms = {layer: [_told(rows[layer, level], harm) for level in made.levels] for layer in layers}
        return asked.metric, harms

    def _plan(self, asked: Rows, made: Allocate, model_id: str) -> ProbePlan:
        levels = [int(level) if level.is_integer() else level for level in made.levels]
        split = cast("Judged", asked.split)
        # The rows of every metric tell of the noise.
        metric = None if asked.metric == OUTPUT_NOISE else asked.metric
        try:
            return plan_probes(
                self.store, model_id, made.applied, levels, metric=metric, fixed=made.settings, split=split
            )
        except ModelNotFoundError:
            _refuse(
                f"{self.store.root} does not hold the model {model_id} yet",
                f"make it by running recipes that begin alike, then measure it with `cc-ray sensitivity {model_id}`",
            )

    def _rows(self, plan: ProbePlan) -> dict[tuple[str, float | None], dict[str, Any]]:
        table = self.store.read("sensitivity")
        wanted = {"model_id": plan.model_id, "operation": plan.operation, "parameters": plan.others}
        for name, value in {**wanted, "parameter": plan.parameter, "metric": plan.metric}.items():
            table = table.filter(pc.equal(table[name], value))
        table = table.filter(pc.equal(pc.fill_null(table["split"], "evaluation"), plan.split))
        return {(row["layer"], row["level"]): row for row in table.to_pylist()}


def _forms(form: RecipeSpace, space: SearchSpace, look: _Look) -> Iterator[RecipeSpace]:
    """A form for each base model and seed, whose rows are their own."""
    if not any(_asks(step) for slot in form.slots for step in slot.options):
        yield form
        return
    for base in form.bases:
        for seed in form.seeds or space.seeds:
            slots = tuple(_slots(form, Recipe(base, (), seed), look))
            yield replace(form, bases=(base,), seeds=(seed,), slots=slots)


def _slots(form: RecipeSpace, before: Recipe | None, look: _Look) -> Iterator[Slot]:
    free = {place for stretch in form.in_any_order for place in range(*stretch)}
    for place, slot in enumerate(form.slots):
        before = None if place in free else before
        slot = replace(slot, options=tuple(_step(step, before, look) for step in slot.options))
        yield slot
        before = None if before is None else _then(before, slot)


def _then(before: Recipe, slot: Slot) -> Recipe | None:
    """The recipe with one more step; None where it is open which."""
    step = slot.options[0]
    if slot.optional or len(slot.options) > 1 or any(isinstance(value, Domain) for value in step.parameters.values()):
        return None
    return replace(before, steps=(*before.steps, Step(step.operation, dict(step.parameters))))


def _step(step: StepSpace, before: Recipe | None, look: _Look) -> StepSpace:
    asked = _asks(step)
    if not asked:
        return step
    if step.operation != "allocate" or list(asked) != ["harms"]:
        _refuse(f"{step.operation} was given {', '.join(asked)}", "it is for allocate(harms=...) alone")
    open_ones = [name for name in _FIXED if isinstance(step.parameters.get(name), Domain)]
    if open_ones or not {"applied", "levels"} <= step.parameters.keys():
        _refuse(
            f"which rows are wanted is open ({', '.join(open_ones) or 'no applied, no levels'})",
            "give one value each, and write several steps in either(...)",
        )
    rows, made = asked["harms"], _made(step)
    if not rows.model and before is None:
        _refuse("the steps before are open, and so is the model", "name one: rows_of(..., model='MODEL_ID')")
    model_id = rows.model or canonical(cast("Recipe", before)).model_ids(look.task_id)[-1]
    metric, harms = look.harms(rows, made, model_id)
    return StepSpace("allocate", {**step.parameters, "harms": harms, "metric": metric, "measured_on": rows.split})


def _asks(step: StepSpace) -> Mapping[str, Rows]:
    return {name: value for name, value in step.parameters.items() if isinstance(value, Rows)}


def _made(step: StepSpace) -> Allocate:
    """The operation with what says which rows are wanted; the rest may be open."""
    from cc_ray.compress import operation_of
    from cc_ray.compress.allocate import Allocate

    fixed = {name: step.parameters[name] for name in _FIXED if name in step.parameters}
    made = operation_of(Step("allocate", {**fixed, "unit": "bytes", "budget": 1}))
    assert isinstance(made, Allocate)
    return made


def _chosen(layers: Sequence[str], made: Allocate) -> list[str]:
    """Those of a model's layers that the operation is to work on."""
    from cc_ray.compress.targets import matches

    def named(layer: str, patterns: Sequence[str]) -> bool:
        return any(matches(pattern, name) for pattern in patterns for name in (layer, f"{layer}.weight"))

    return [layer for layer in layers if named(layer, made.include or ("*",)) and not named(layer, made.exclude)]


def _told(row: Mapping[str, Any], harm: Callable[[Mapping[str, Any]], float]) -> float:
    if row["difference"] is None:
        _refuse(f"'{row['layer']}' has no value ({row['reason']})", "exclude it")
    return float(f"{harm(row):.{_DIGITS}g}")


def _noise(row: Mapping[str, Any]) -> float:
    # Of outputs that are equal there is no ratio.
    return 0.0 if row["output_sqnr_db"] is None else float(10 ** (-row["output_sqnr_db"] / 10))


def _rise(row: Mapping[str, Any]) -> float:
    return float(row["difference"])


def _fall(row: Mapping[str, Any]) -> float:
    return -_rise(row)


def _command(plan: ProbePlan, made: Allocate) -> str:
    levels = ",".join(f"{level:g}" for level in made.levels)
    settings = [f"--set={name}={json.dumps(value)}" for name, value in made.settings.items()]
    words = ["cc-ray", "sensitivity", plan.model_id, "--operation", plan.operation, "--levels", levels, *settings]
    return f"measure them first: `{shlex.join([*words, '--metric', plan.metric, '--split', plan.split])}`"


def _refuse(what: str, remedy: str) -> NoReturn:
    raise InvalidRecipeError(f"search space: rows_of(...): {what}; {remedy}.")
