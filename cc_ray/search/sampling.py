"""Which recipes of a space are run, and in which order; knows nothing of clusters.

Every recipe that is not simply listed is drawn by `draw`, which asks a source for each open choice: chance, or Optuna
(`guided.py`).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from cc_ray.errors import InvalidRecipeError
from cc_ray.recipe import Recipe, Step, canonical_json
from cc_ray.search.baselines import baselines
from cc_ray.search.early_stopping import contest_of
from cc_ray.search.space import Choice, Range, RecipeSpace, SearchSpace, Slot, StepSpace

if TYPE_CHECKING:
    from cc_ray.tasks import Task

_LISTED: Final = 10_000
"""Spaces of up to so many recipes are written out before some are taken by lot."""
_MISSES: Final = 1_000
"""So many draws in a row that gave nothing new: the space is taken to be exhausted."""


class Source(Protocol):
    """Answers the open choices of a space."""

    def pick(self, name: str, count: int) -> int:
        """The position of one of `count` options."""

    def number(self, name: str, domain: Range) -> int | float:
        """A number of an open range."""


class Sampler(Protocol):
    """Hands out the recipes of one session and hears how they did."""

    def next(self) -> Recipe | None:
        """The next recipe that is to be run; None when there is none left."""

    def tell(self, recipe: Recipe, values: Mapping[str, float] | None, *, stopped: bool = False) -> None:
        """Report a trial's metrics; None where it failed or was stopped early."""


def task_of(space: SearchSpace) -> Task:
    """Make the task of a space.

    Raises:
        UnknownTaskError: If no such task is registered.
        InvalidRecipeError: If its parameters do not fit.
    """
    # Imported here: torch is not needed to read a space or to coordinate its trials.
    from cc_ray.tasks import task_from_json

    return task_from_json({"task": space.task, "parameters": dict(space.task_parameters)})


def listed(space: SearchSpace) -> list[Recipe]:
    """The recipes of a space by its method, canonical, each once; where it is led by what was found, as if by lot.

    Raises:
        InvalidRecipeError: If a recipe cannot run, or a grid has an open range.
        UnknownOperationError: If an operation is not registered.
    """
    if space.method == "grid":
        return _unique(space, _grid(space))
    return list(itertools.islice(draw_by_lot(space), space.samples))


def operations_of(space: SearchSpace) -> list[str]:
    """Names of the operations that the recipes of a space and its baselines use."""
    forms = (*space.recipes, *(beside.recipes if (beside := baselines(space)) else ()))
    return sorted({step.operation for form in forms for slot in form.slots for step in slot.options})


def check(space: SearchSpace) -> None:
    """Check every form of recipe a space holds, open ranges at both of their ends.

    Raises:
        InvalidRecipeError: If a recipe cannot run, a step does not apply to its base model, or early stopping looks at
            what it cannot judge by.
        UnknownMetricError: If an objective or constraint is no metric.
        UnknownOperationError: If an operation is not registered.
    """
    _check_metrics(space)
    # Imported here: torch is not needed to read a space or to coordinate its trials.
    from cc_ray.compress import Suits

    suits = Suits(task_of(space))
    for recipe in _unique(space, itertools.islice(_grid(_closed(space)), _LISTED)):
        suits.check(recipe)


def listed_suited(space: SearchSpace) -> list[Recipe]:
    """The recipes of a space but for those with a step that does not apply to their base model.

    Raises:
        InvalidRecipeError: If a recipe cannot run for another reason.
    """
    from cc_ray.compress import Suits

    suits = Suits(task_of(space))
    return [recipe for recipe in listed(space) if suits.does(recipe)]


def size(space: SearchSpace) -> int | None:
    """Number of recipes a space can give, or None where a range is open or there are very many."""
    if next(_ranges(space), None) is not None:
        return None
    found = list(itertools.islice(_grid(space), _LISTED + 1))
    return len(_unique(space, found)) if len(found) <= _LISTED else None


@dataclass(frozen=True)
class Arranged:
    """A recipe as it comes out of a space; not yet canonical."""

    recipe: Recipe
    as_written: Recipe
    """The same steps in the order in which the space has them; it has to be able to run."""

    def canonical(self, bases: Collection[str]) -> Recipe | None:
        """Fill in every default and check the steps; None where they cannot come in this order.

        Args:
            bases: Names of the task's base models.

        Raises:
            InvalidRecipeError: If they cannot run as they are written.
            UnknownOperationError: If an operation is not registered.
        """
        # Imported here: torch is not needed to read a space or to coordinate its trials.
        from cc_ray.compress import validated_recipe

        try:
            return validated_recipe(self.recipe, bases)
        except InvalidRecipeError:
            # Where it is not the order that is wrong, this tells.
            validated_recipe(self.as_written, bases)
            return None


def draw(space: SearchSpace, source: Source) -> Arranged:
    """Take one recipe."""
    index = source.pick("recipe", len(space.recipes))
    form = space.recipes[index]
    base = form.bases[source.pick(f"{index}.base", len(form.bases))]
    seeds = form.seeds or space.seeds
    seed = seeds[source.pick(seed_name(form, index), len(seeds))]
    order = (orders := form.orders())[source.pick(order_name(index), len(orders))]
    # Choices are named by the place that is written, so that they teach about their step in whichever order.
    steps = [_draw_step(slot, f"{index}.{place}", source) for place, slot in enumerate(form.slots)]
    return _arranged(base, steps, order, seed)


def draw_new(space: SearchSpace, source: Source) -> Recipe | None:
    """Take one recipe, canonical; None where its steps cannot come in the order that was drawn.

    Raises:
        InvalidRecipeError: If the recipe cannot run.
        UnknownOperationError: If an operation is not registered.
    """
    drawn = draw(space, source)
    return drawn.canonical((drawn.recipe.base,))


def _arranged(base: str, steps: Sequence[Step | None], order: Sequence[int], seed: int) -> Arranged:
    def made(places: Iterable[int]) -> Recipe:
        return Recipe(base, tuple(step for place in places if (step := steps[place]) is not None), seed)

    return Arranged(made(order), made(range(len(steps))))


def seed_name(form: RecipeSpace, index: int) -> str:
    """Name of the choice of a seed: forms with seeds of their own choose by themselves."""
    return f"{index}.seed" if form.seeds else "seed"


def order_name(index: int) -> str:
    """Name of the choice of an order."""
    return f"{index}.order"


class Listed:
    """Hands out recipes that are known from the start.

    Args:
        recipes: What is to be run, in this order.
    """

    def __init__(self, recipes: Iterable[Recipe]) -> None:
        self._left = iter(recipes)

    def next(self) -> Recipe | None:
        """The next recipe of the list."""
        return next(self._left, None)

    def tell(self, recipe: Recipe, values: Mapping[str, float] | None, *, stopped: bool = False) -> None:
        """Nothing is learnt: the list is fixed."""


def canonical(recipe: Recipe) -> Recipe:
    """Fill in every default and check the recipe's steps against the operations.

    Raises:
        InvalidRecipeError: If the recipe cannot run.
        UnknownOperationError: If an operation is not registered.
    """
    # Imported here: torch is not needed to read a space or to coordinate its trials.
    from cc_ray.compress import validated_recipe

    return validated_recipe(recipe, (recipe.base,))


@dataclass
class _FromChance:
    random: random.Random

    def pick(self, name: str, count: int) -> int:
        return self.random.randrange(count)

    def number(self, name: str, domain: Range) -> int | float:
        if domain.scale == "integer":
            return self.random.randint(int(domain.low), int(domain.high))
        if domain.scale == "loguniform":
            return float(domain.low * (domain.high / domain.low) ** self.random.random())
        return self.random.uniform(domain.low, domain.high)


def _draw_step(slot: Slot, name: str, source: Source) -> Step | None:
    position = source.pick(name, len(slot.candidates))
    step = slot.candidates[position]
    if step is None:
        return None
    values = {
        field: _draw_value(f"{name}.{position}.{field}", value, source) for field, value in step.parameters.items()
    }
    return Step(step.operation, values)


def _draw_value(name: str, value: Any, source: Source) -> Any:
    if isinstance(value, Choice):
        return value.options[source.pick(name, len(value.options))]
    return source.number(name, value) if isinstance(value, Range) else value


def _grid(space: SearchSpace) -> Iterator[Arranged]:
    for form in space.recipes:
        places = [[filled for step in slot.candidates for filled in _filled(step)] for slot in form.slots]
        ways = itertools.product(form.orders(), form.bases, form.seeds or space.seeds, itertools.product(*places))
        for order, base, seed, steps in ways:
            yield _arranged(base, steps, order, seed)


def _filled(step: StepSpace | None) -> Iterator[Step | None]:
    if step is None:
        yield None
        return
    names = [name for name, _ in step.parameters.items()]
    for values in itertools.product(*(_options(step, name, value) for name, value in step.parameters.items())):
        yield Step(step.operation, dict(zip(names, values, strict=True)))


def _options(step: StepSpace, name: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, Range):
        raise InvalidRecipeError(
            f"search space: '{step.operation}: {name}' is an open range ({value.low:g} to {value.high:g}), which a "
            "grid cannot write out; allowed: a value or choice(...), or method='random', 'tpe' or 'nsga2'."
        )
    return value.options if isinstance(value, Choice) else (value,)


def draw_by_lot(space: SearchSpace) -> Iterator[Recipe]:
    """Distinct recipes in a random order that follows from the sampler's seed."""
    chance = random.Random(space.sampler_seed)
    if size(space) is not None:
        recipes = _unique(space, _grid(space))
        yield from chance.sample(recipes, len(recipes))
        return
    seen: set[str] = set()
    misses = 0
    while misses < _MISSES:
        recipe = draw_new(space, _FromChance(chance))
        key = canonical_json(recipe.to_json()) if recipe else ""
        misses = misses + 1 if recipe is None or key in seen else 0
        if recipe is not None and key not in seen:
            seen.add(key)
            yield recipe


def _unique(space: SearchSpace, found: Iterable[Arranged]) -> list[Recipe]:
    bases = task_of(space).bases
    recipes = (recipe for each in found if (recipe := each.canonical(bases)) is not None)
    return list({canonical_json(recipe.to_json()): recipe for recipe in recipes}.values())


def _check_metrics(space: SearchSpace) -> None:
    from cc_ray.evaluate import metrics
    from cc_ray.evaluate.answers import kind_of

    kind = kind_of(task_of(space))
    for metric in (*space.objectives, *(constraint.metric for constraint in space.constraints)):
        if not metrics[metric].fits(kind):
            fitting = [name for name, each in metrics.items() if each.fits(kind)]
            raise InvalidRecipeError(
                f"search space: '{metric}' cannot be taken from the answers of task '{space.task}'; allowed in "
                f"objectives and constraints: {', '.join(fitting)}."
            )
    contest_of(space)


def _ranges(space: SearchSpace) -> Iterator[Range]:
    for form in space.recipes:
        for slot in form.slots:
            for step in slot.options:
                yield from (value for value in step.parameters.values() if isinstance(value, Range))


def _closed(space: SearchSpace) -> SearchSpace:
    """The same space with each open range narrowed to its two ends, and the steps in the order that is written."""

    def ends(value: Any) -> Any:
        return Choice((value.low, value.high)) if isinstance(value, Range) else value

    def close(form: RecipeSpace) -> RecipeSpace:
        slots = (
            replace(
                slot,
                options=tuple(
                    StepSpace(s.operation, {k: ends(v) for k, v in s.parameters.items()}) for s in slot.options
                ),
            )
            for slot in form.slots
        )
        return replace(form, slots=tuple(slots), in_any_order=())

    return replace(space, recipes=[close(form) for form in space.recipes], method="grid", samples=None)
