"""Steps that go by what the store knows of layers: rows of `cc-ray sensitivity` and `layer-times` become numbers.

A step's identity is a hash of its parameters. So what it reads has to be among them, and is looked up when a space is
planned, not when the step runs: equal rows make equal steps, wherever they were measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast

from cc_ray.errors import InvalidRecipeError
from cc_ray.recipe import Recipe, Step
from cc_ray.search.looked_up import Look, refuse
from cc_ray.search.sampling import canonical
from cc_ray.search.space import Domain, RecipeSpace, Rows, SearchSpace, Slot, StepSpace, Stored, Times
from cc_ray.store import Store

if TYPE_CHECKING:
    from cc_ray.compress.allocate import Allocate

_FIXED: Final = ("applied", "levels", "settings", "include", "exclude", "may_stay")
"""Parameters that say which rows are wanted."""
_MAY_ASK: Final[Mapping[str, type[Stored]]] = {"harms": Rows, "times_ms": Times}
"""Parameters of `allocate` that the store may have, by what they are asked with."""


def filled(space: SearchSpace, store: Store | None, task_id: str) -> SearchSpace:
    """The same space with numbers in place of `rows_of(...)` and `times_of(...)`.

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
        raise InvalidRecipeError(f"search space '{space.name}' goes by rows of the store, but there is no store yet.")
    look = Look(store, task_id)
    return replace(space, recipes=[one for form in space.recipes for one in _forms(form, space, look)])


def _forms(form: RecipeSpace, space: SearchSpace, look: Look) -> Iterator[RecipeSpace]:
    """A form for each base model and seed, whose rows are their own."""
    if not any(_asks(step) for slot in form.slots for step in slot.options):
        yield form
        return
    for base in form.bases:
        for seed in form.seeds or space.seeds:
            slots = tuple(_slots(form, Recipe(base, (), seed), look))
            yield replace(form, bases=(base,), seeds=(seed,), slots=slots)


def _slots(form: RecipeSpace, before: Recipe | None, look: Look) -> Iterator[Slot]:
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


def _step(step: StepSpace, before: Recipe | None, look: Look) -> StepSpace:
    found: dict[str, object] = {}
    for name, asked in _asks(step).items():
        found |= look.numbers(asked, _made(step, name, asked), _model(asked, before, look))
    return replace(step, parameters={**step.parameters, **found})


def _asks(step: StepSpace) -> Mapping[str, Stored]:
    return {name: value for name, value in step.parameters.items() if isinstance(value, Stored)}


def _made(step: StepSpace, name: str, asked: Stored) -> Allocate:
    """The operation with what says which rows are wanted; the rest may be open."""
    from cc_ray.compress import operation_of
    from cc_ray.compress.allocate import Allocate

    if step.operation != "allocate" or not isinstance(asked, _MAY_ASK.get(name, ())):
        place = next(name for name, kind in _MAY_ASK.items() if isinstance(asked, kind))
        refuse(asked, f"{step.operation} was given {name}", f"it is for allocate({place}=...) alone")
    open_ones = [name for name in _FIXED if isinstance(step.parameters.get(name), Domain)]
    if open_ones or not {"applied", "levels"} <= step.parameters.keys():
        refuse(
            asked,
            f"which rows are wanted is open ({', '.join(open_ones) or 'no applied, no levels'})",
            "give one value each, and write several steps in either(...)",
        )
    fixed = {name: step.parameters[name] for name in _FIXED if name in step.parameters}
    made = operation_of(Step("allocate", {**fixed, "unit": "bytes", "budget": 1}))
    assert isinstance(made, Allocate)
    return made


def _model(asked: Stored, before: Recipe | None, look: Look) -> str:
    """Identity of the model whose layers are meant."""
    if not asked.model and before is None:
        name = "rows_of" if isinstance(asked, Rows) else "times_of"
        refuse(asked, "the steps before are open, and so is the model", f"name one: {name}(..., model='MODEL_ID')")
    return asked.model or canonical(cast("Recipe", before)).model_ids(look.task_id)[-1]
