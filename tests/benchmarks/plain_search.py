"""What a user would do by hand with the same recipes: each one from its base model, without lineage or store.

Both ways use this project's own operations and measures, so that only the way of running them differs.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from ray import tune
from torch import nn

from cc_ray.compress import Context, apply_step
from cc_ray.evaluate import measure, measure_latency
from cc_ray.evaluate.predictions import predict
from cc_ray.recipe import Recipe
from cc_ray.store import Store
from cc_ray.store.artifacts import save_model
from cc_ray.store.weights import read_weights
from cc_ray.tasks.digits import Digits
from cc_ray.trial import load_model, run_trial

Way = Callable[[Path, Recipe, Path], None]
"""Runs a recipe: store with the base models, the recipe, an empty folder."""


def every_model(bases: Path, recipe: Recipe, folder: Path) -> None:
    """Make and measure each model on the way, alone while it is timed: the same rows, of one recipe."""
    shutil.copytree(bases, folder, dirs_exist_ok=True)
    run_trial(Store(folder), Digits(), recipe)


def last_model(bases: Path, recipe: Recipe, folder: Path) -> None:
    """Make each model on the way, save and measure only the last, timed beside whatever else runs."""
    torch.set_num_threads(1)
    task = Digits()
    base = load_model(Store(bases), recipe.model_ids(task.task_id)[0])
    made: list[nn.Module] = [base]
    for step in recipe.steps:
        context = Context(task, recipe.seed, lambda index: copy.deepcopy(made[index]))
        made.append(apply_step(step, copy.deepcopy(made[-1]), context).model)
    layout = Store(folder, create=True).layout
    saved = save_model(layout, made[-1])
    weights = read_weights(layout, saved.digest)
    answers = predict(task, made[-1], task.data("evaluation"))
    answers.table("")
    measure(task, made[-1], model_id="", artifact_size=saved.size_bytes, weights=weights, predictions=answers)
    measure_latency(task, made[-1], base, model_id="")


def trial(config: Mapping[str, Any], way: Way, bases: Path, folder: Path) -> None:
    """A recipe as a plain Tune trial."""
    recipe = Recipe.from_json(config["recipe"])
    way(bases, recipe, folder / tune.get_context().get_trial_id())
    tune.report({"done": 1})
