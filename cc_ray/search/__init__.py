"""From a search space over Ray Tune to recipes and steps on the cluster.

A search space is written with the names below. `load.load_space` finds one, `plan.plan` tells what it would take,
`tuner.explore` runs it.
"""

from cc_ray.resources import Resources
from cc_ray.search.early_stopping import asha, median
from cc_ray.search.space import (
    RecipeSpace,
    SearchSpace,
    at_least,
    at_most,
    branch,
    choice,
    either,
    front_of,
    in_any_order,
    integer,
    loguniform,
    optional,
    recipe,
    rows_of,
    step,
    times_of,
    uniform,
)  # fmt: skip

__all__ = [
    "RecipeSpace",
    "Resources",
    "SearchSpace",
    "asha",
    "at_least",
    "at_most",
    "branch",
    "choice",
    "either",
    "front_of",
    "in_any_order",
    "integer",
    "loguniform",
    "median",
    "optional",
    "recipe",
    "rows_of",
    "step",
    "times_of",
    "uniform",
]
