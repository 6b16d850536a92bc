"""Sixty recipes of the demo's space, by hand and by CC-Ray: `pytest -m benchmark -s tests/benchmarks/test_search.py`.

By hand is three times: a script one recipe after the other, plain Ray Tune trials on all CPUs as they come, and the
same with workers that are kept and nothing logged. Each either measures every model on the way, as CC-Ray does, or the
last one only and does not keep others away while it is timed.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import ray
from ray import tune

from cc_ray.recipe import Recipe
from cc_ray.search.sampling import listed
from cc_ray.search.tuner import explore
from cc_ray.store import Store
from cc_ray.tasks.digits import Digits
from cc_ray.trial import run_trial
from search_spaces.digits import search_space
from tests.benchmarks import plain_search

RECIPES: Final = 60
SPACE: Final = replace(search_space(), name="sixty", method="random", samples=RECIPES, baselines=False)


@pytest.mark.benchmark
@pytest.mark.timeout(3600)
def test_sixty_recipes(tmp_path: Path) -> None:
    recipes = listed(SPACE)
    bases = tmp_path / "bases"
    for recipe in {Recipe(recipe.base, (), recipe.seed) for recipe in recipes}:
        run_trial(Store(bases, create=True), Digits(), recipe)
    asked = sum(len(recipe.steps) + 1 for recipe in recipes)
    unique = len({model_id for recipe in recipes for model_id in recipe.model_ids(Digits().task_id)})
    _say(f"{len(recipes)} recipes, {asked} models on the way, {unique} distinct")

    ours_s = _seconds(lambda: explore(SPACE, Store(tmp_path / "ours", create=True)))
    _say(f"CC-Ray: {ours_s:.1f} s, {unique} models with all their rows, base models made too")
    own_s = _seconds(lambda: _each_once(recipes, tmp_path / "once"))
    _say(f"its steps one after the other, each once: {own_s:.1f} s; CC-Ray takes {ours_s / own_s:.2f} of that")
    for name, way in {"last model": plain_search.last_model, "every model": plain_search.every_model}.items():
        for how, run in WAYS.items():
            by_hand_s = _seconds(partial(run, way, bases, recipes))
            _say(f"{how}, {name} measured: {by_hand_s:.1f} s; CC-Ray is {by_hand_s / ours_s:.2f}x as fast")


def _each_once(recipes: list[Recipe], folder: Path) -> None:
    for recipe in recipes:
        run_trial(Store(folder, create=True), Digits(), recipe)


def _script(way: plain_search.Way, bases: Path, recipes: list[Recipe]) -> None:
    for recipe in recipes:
        with tempfile.TemporaryDirectory() as folder:
            way(bases, recipe, Path(folder))


def _tune(way: plain_search.Way, bases: Path, recipes: list[Recipe], *, quick: bool) -> None:
    """As the documentation of Tune has it; quick is with what it says makes trials so."""
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = str(int(quick))
    with tempfile.TemporaryDirectory() as folder:
        ray.init("local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        try:
            trainable = tune.with_parameters(plain_search.trial, way=way, bases=bases, folder=Path(folder))
            space = {"recipe": tune.grid_search([recipe.to_json() for recipe in recipes])}
            results = tune.Tuner(
                tune.with_resources(trainable, {"cpu": 1}),
                param_space=space,
                tune_config=tune.TuneConfig(reuse_actors=quick),
                run_config=tune.RunConfig(storage_path=str(Path(folder) / "tune"), verbose=0),
            ).fit()
            assert not results.errors
        finally:
            ray.shutdown()


WAYS: Final[dict[str, Callable[[plain_search.Way, Path, list[Recipe]], None]]] = {
    "plain Tune trials": partial(_tune, quick=False),
    "plain Tune trials, workers kept": partial(_tune, quick=True),
    "plain script": _script,
}


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _say(text: str) -> None:
    sys.stdout.write(f"\n{text}")
    sys.stdout.flush()
