"""What Tune runs as a trial: waits for the recipe's steps. Its process imports this file, so it imports little."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ray import tune

from cc_ray.errors import StoreUnavailableError
from cc_ray.recipe import Recipe
from cc_ray.search.scatter import one_line
from cc_ray.search.waiting import complete
from cc_ray.search.work import Chain, Job, Outcome


def coordinate(config: Mapping[str, Any], job: Job) -> None:
    """Have a recipe's work done and tell how it ended; runs in a process of its own, on the driver's machine."""
    recipe, contest = Recipe.from_json(json.loads(config["recipe"])), None if config["lasting"] else job.contest
    try:
        chain = complete(replace(job, recipe=recipe, contest=contest))
    except Exception as error:  # Whatever it is, the trial's row tells of it: Tune would only count it.
        chain = Chain(0, 0, Outcome("", one_line(error), unavailable=isinstance(error, StoreUnavailableError)))
    failure = chain.failure or Outcome()
    spent = {"cpu_s": chain.cpu_s, "gpu_s": chain.gpu_s}
    told = {name: getattr(failure, name) for name in ("failed_step", "reason", "stopped", "unavailable")}
    tune.report({"made": chain.made, "reused": chain.reused, **spent, **told})
