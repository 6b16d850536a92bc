"""Recipes that Optuna takes to be promising: ask, tell, and learn from what the store holds already."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from cc_ray.errors import InvalidRecipeError
from cc_ray.recipe import Recipe
from cc_ray.search.matching import Answers, answers_for
from cc_ray.search.sampling import draw, draw_by_lot, draw_new
from cc_ray.search.space import Range, SearchSpace
from cc_ray.search.verdicts import Verdict, judged

_TRIES: Final = 20
"""So often Optuna is asked for a recipe that is new, before one is taken by lot."""


class Guided:
    """Hands out recipes that Optuna takes to be promising, each once.

    The tree-structured Parzen estimator in its grouped, multivariate form serves any number of objectives. NSGA-II
    crosses only parameters that all recipes share: it suits spaces of one form.

    Args:
        space: Where recipes come from.
        past: Trials of earlier sessions, with their metrics or None where they failed; they are not handed out again.
        others: Models of other studies, with their metrics: learnt from, and may be handed out.
        stopped: Trials of earlier sessions that were stopped early: not handed out again, and worse than all others.
        first: Recipes to hand out before Optuna is asked: baselines, and what an earlier session did not get done.
        count: How many recipes to hand out, `first` included.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        past: Sequence[tuple[Recipe, Mapping[str, float] | None]],
        first: Sequence[Recipe],
        count: int,
        others: Sequence[tuple[Recipe, Mapping[str, float]]] = (),
        stopped: Sequence[Recipe] = (),
    ) -> None:
        self._space = space
        self._left = count
        self._first = list(first)
        self._by_lot = draw_by_lot(space)
        self._study = _study(space, len(past) + len(stopped))
        self._asked: dict[Recipe, optuna.Trial] = {}
        self._seen = {recipe for recipe, _ in past}.union(first, stopped)
        for recipe, values in (*past, *others):
            self._learn(recipe, values)
        for recipe in stopped:
            self._learn_of_stopped(recipe)

    def next(self) -> Recipe | None:
        """A recipe that was not handed out before; None after `count` of them or when none is left."""
        if not self._left:
            return None
        asked = self._ask_for_known(self._first.pop(0)) if self._first else self._ask_for_new()
        if asked is None:
            return None
        recipe, trial = asked
        self._seen.add(recipe)
        if trial is not None:
            self._asked[recipe] = trial
        self._left -= 1
        return recipe

    def tell(self, recipe: Recipe, values: Mapping[str, float] | None, *, stopped: bool = False) -> None:
        """Let Optuna learn from a trial."""
        trial = self._asked.pop(recipe, None)
        if trial is None:  # A baseline that the space does not hold.
            return
        if stopped:
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._tell(trial, judged(self._space, values))

    def _tell(self, trial: optuna.Trial, verdict: Verdict | None) -> None:
        if verdict is None:
            self._study.tell(trial, state=TrialState.FAIL)
            return
        for name, excess in verdict.excess.items():
            trial.set_constraint(name, excess)
        self._study.tell(trial, list(verdict.objectives))

    def _ask_for_known(self, recipe: Recipe) -> tuple[Recipe, optuna.Trial | None]:
        return (recipe, None) if answers_for(self._space, recipe) is None else self._ask_for(recipe)

    def _ask_for_new(self) -> tuple[Recipe, optuna.Trial | None] | None:
        for _ in range(_TRIES):
            recipe, trial = self._ask()
            if recipe is not None and recipe not in self._seen:
                return recipe, trial
            self._study.tell(trial, state=TrialState.FAIL)
        # Optuna insists on what is known already.
        new = next((recipe for recipe in self._by_lot if recipe not in self._seen), None)
        return self._ask_for(new) if new else None

    def _ask_for(self, recipe: Recipe) -> tuple[Recipe, optuna.Trial]:
        self._study.enqueue_trial(self._recorded(recipe).params)
        return recipe, self._ask()[1]

    def _ask(self) -> tuple[Recipe | None, optuna.Trial]:
        trial = self._study.ask()
        return draw_new(self._space, _FromOptuna(trial)), trial

    def _learn(self, recipe: Recipe, values: Mapping[str, float] | None) -> None:
        verdict = judged(self._space, values)
        if verdict is None or answers_for(self._space, recipe) is None:
            return
        if self._space.method == "nsga2":
            # A trial belongs to a generation only if it was asked for.
            self._tell(self._ask_for(recipe)[1], verdict)
            return
        recorded = self._recorded(recipe)
        self._study.add_trial(
            create_trial(
                params=recorded.params,
                distributions=recorded.distributions,
                values=list(verdict.objectives),
                constraints=dict(verdict.excess) or None,
            )
        )

    def _learn_of_stopped(self, recipe: Recipe) -> None:
        if answers_for(self._space, recipe) is None:
            return
        recorded = self._recorded(recipe)
        self._study.add_trial(
            create_trial(state=TrialState.PRUNED, params=recorded.params, distributions=recorded.distributions)
        )

    def _recorded(self, recipe: Recipe) -> _Recorder:
        answers = answers_for(self._space, recipe)
        if answers is None:
            raise InvalidRecipeError(f"search space '{self._space.name}' does not hold the recipe '{recipe}'.")
        recorder = _Recorder(answers)
        draw(self._space, recorder)
        return recorder


@dataclass
class _FromOptuna:
    trial: optuna.Trial

    def pick(self, name: str, count: int) -> int:
        # Options are told by position: Optuna takes only plain values, and options may be lists.
        return int(self.trial.suggest_categorical(name, range(count))) if count > 1 else 0

    def number(self, name: str, domain: Range) -> int | float:
        if domain.scale == "integer":
            return int(self.trial.suggest_int(name, int(domain.low), int(domain.high)))
        return float(self.trial.suggest_float(name, domain.low, domain.high, log=domain.scale == "loguniform"))


class _Recorder:
    """Gives known answers and notes the distribution that Optuna would have drawn each from."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self.params: dict[str, int | float] = {}
        self.distributions: dict[str, Any] = {}

    def pick(self, name: str, count: int) -> int:
        value = int(self._answers[name])
        if count > 1:
            self.params[name] = value
            self.distributions[name] = CategoricalDistribution(range(count))
        return value

    def number(self, name: str, domain: Range) -> int | float:
        value = self.params[name] = self._answers[name]
        if domain.scale == "integer":
            self.distributions[name] = IntDistribution(int(domain.low), int(domain.high))
        else:
            self.distributions[name] = FloatDistribution(domain.low, domain.high, log=domain.scale == "loguniform")
        return value


def _study(space: SearchSpace, past: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Another seed in each session: the first draws would only repeat those of the last one.
    sampler = _SAMPLERS[space.method](space, space.sampler_seed + past)
    directions = ["maximize" if direction == "higher" else "minimize" for direction in space.objectives.values()]
    return optuna.create_study(directions=directions, sampler=sampler)


def _tpe(space: SearchSpace, seed: int) -> optuna.samplers.BaseSampler:
    with warnings.catch_warnings():
        # `group` and `constant_liar` have been marked experimental for years.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            multivariate=True,
            group=True,
            constant_liar=True,
            seed=seed,
            n_startup_trials=min(10, max(1, (space.samples or 1) // 4)),
        )


def _nsga2(space: SearchSpace, seed: int) -> optuna.samplers.BaseSampler:
    # About eight generations, of as many as make crossing worth while.
    return optuna.samplers.NSGAIISampler(population_size=min(50, max(6, (space.samples or 1) // 8)), seed=seed)


_SAMPLERS: Final[Mapping[str, Callable[[SearchSpace, int], optuna.samplers.BaseSampler]]] = {
    "tpe": _tpe,
    "nsga2": _nsga2,
}
