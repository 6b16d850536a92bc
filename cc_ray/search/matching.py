"""From a recipe back to the choices of a search space that lead to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cc_ray.recipe import Recipe, Step
from cc_ray.search.sampling import order_name, seed_name
from cc_ray.search.space import Choice, Range, RecipeSpace, SearchSpace, Slot, StepSpace

Answers = Mapping[str, int | float]
"""What was chosen, by the name of the choice: the position of an option, or a number of a range."""


def answers_for(space: SearchSpace, recipe: Recipe) -> Answers | None:
    """The choices that lead to a recipe, or None where the space does not hold it."""
    for index, form in enumerate(space.recipes):
        seeds = list(form.seeds or space.seeds)
        if recipe.base not in form.bases or recipe.seed not in seeds:
            continue
        found = _match_form(form, index, recipe.steps)
        if found is not None:
            places = {"recipe": index, f"{index}.base": form.bases.index(recipe.base)}
            return {**places, seed_name(form, index): seeds.index(recipe.seed), **found}
    return None


def _match_form(form: RecipeSpace, index: int, steps: Sequence[Step]) -> Answers | None:
    named = [(f"{index}.{place}", slot) for place, slot in enumerate(form.slots)]
    for position, order in enumerate(form.orders()):
        found = _match_slots([named[place] for place in order], steps)
        if found is not None:
            return {order_name(index): position, **found}
    return None


def _match_slots(slots: Sequence[tuple[str, Slot]], steps: Sequence[Step]) -> Answers | None:
    """The choices at each place, given with its name."""
    if not slots:
        return None if steps else {}
    name, slot = slots[0]
    for position, candidate in enumerate(slot.candidates):
        here = {} if candidate is None else _match_step(candidate, steps, f"{name}.{position}")
        if here is None:
            continue
        rest = _match_slots(slots[1:], steps if candidate is None else steps[1:])
        if rest is not None:
            return {name: position, **here, **rest}
    return None


def _match_step(candidate: StepSpace, steps: Sequence[Step], name: str) -> dict[str, int | float] | None:
    if not steps or steps[0].operation != candidate.operation:
        return None
    answers: dict[str, int | float] = {}
    for field, value in candidate.parameters.items():
        if field not in steps[0].parameters:  # A recipe from before the operation had it.
            return None
        found = steps[0].parameters[field]
        if isinstance(value, Range):
            fits, answer = value.low <= found <= value.high, found
        else:
            options = [_listlike(option) for option in (value.options if isinstance(value, Choice) else (value,))]
            fits = _listlike(found) in options
            answer = options.index(_listlike(found)) if fits else 0
        if not fits:
            return None
        answers[f"{name}.{field}"] = answer
    return answers


def _listlike(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
