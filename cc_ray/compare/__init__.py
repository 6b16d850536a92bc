"""Questions and their answers, as Arrow tables. Every function takes the store's views first."""

from cc_ray.compare.behaviours import (
    Instances,
    behaviours,
    behaviours_by_class,
    class_names,
    instances,
    prediction_changes,
)
from cc_ray.compare.comparison import Comparison, compare
from cc_ray.compare.differences import Differences, differences
from cc_ray.compare.distributions import weight_distribution
from cc_ray.compare.labels import Labels
from cc_ray.compare.layers import layer_tree, most_changed_layers
from cc_ray.compare.lineage import ancestors, children, descendants, parents, resolve
from cc_ray.compare.lint import lint
from cc_ray.compare.models import (
    ModelCard,
    findings,
    metric_definitions,
    models,
    repeated_steps,
    show,
    studies,
    trials,
)
from cc_ray.compare.trade_offs import front, recommendations

__all__ = [
    "Comparison",
    "Differences",
    "Instances",
    "Labels",
    "ModelCard",
    "ancestors",
    "behaviours",
    "behaviours_by_class",
    "children",
    "class_names",
    "compare",
    "descendants",
    "differences",
    "findings",
    "front",
    "instances",
    "layer_tree",
    "lint",
    "metric_definitions",
    "models",
    "most_changed_layers",
    "parents",
    "prediction_changes",
    "recommendations",
    "repeated_steps",
    "resolve",
    "show",
    "studies",
    "trials",
    "weight_distribution",
]
