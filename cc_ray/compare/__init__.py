"""Questions and their answers, as Arrow tables. Every function takes the store's views first."""

from cc_ray.compare.behaviour.accuracy import accuracy_tests, same_accuracy
from cc_ray.compare.behaviour.calibration import calibration, reliability
from cc_ray.compare.behaviour.exemplars import exemplars
from cc_ray.compare.behaviour.generation import generation
from cc_ray.compare.behaviour.instances import Instances, instances
from cc_ray.compare.behaviour.measures import measure_distribution, measures
from cc_ray.compare.behaviour.repeats import noise_floor, one_seed_warning
from cc_ray.compare.behaviour.slices import slice_behaviours, worst_slices
from cc_ray.compare.behaviour.summary import behaviours, behaviours_by_class, class_names, prediction_changes
from cc_ray.compare.behaviour.transitions import confusion_matrices, error_overlap, lost_overlap, transition_matrix
from cc_ray.compare.comparison import Comparison, compare
from cc_ray.compare.insights import insights
from cc_ray.compare.labels import Labels
from cc_ray.compare.layers.activations import activation_changes
from cc_ray.compare.layers.distributions import activation_distribution, weight_distribution
from cc_ray.compare.layers.module_paths import matching
from cc_ray.compare.layers.sensitivity import sensitivity
from cc_ray.compare.layers.tree import layer_tree, most_changed_layers, zero_overlap
from cc_ray.compare.layers.weight_changes import weight_changes
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
from cc_ray.compare.recipes.diff import nearest, only_what_differs
from cc_ray.compare.recipes.differences import Differences, differences
from cc_ray.compare.recipes.lineage import ancestors, children, descendants, parents, resolve, siblings
from cc_ray.compare.trade_offs.compromises import best_under, knee, spanning
from cc_ray.compare.trade_offs.efficiency import efficiency
from cc_ray.compare.trade_offs.fronts import front, fronts, recommendations
from cc_ray.compare.trade_offs.hypervolume import hypervolume, hypervolume_history

__all__ = [
    "Comparison",
    "Differences",
    "Instances",
    "Labels",
    "ModelCard",
    "accuracy_tests",
    "activation_changes",
    "activation_distribution",
    "ancestors",
    "behaviours",
    "behaviours_by_class",
    "best_under",
    "calibration",
    "children",
    "class_names",
    "compare",
    "confusion_matrices",
    "descendants",
    "differences",
    "efficiency",
    "error_overlap",
    "exemplars",
    "findings",
    "front",
    "fronts",
    "generation",
    "hypervolume",
    "hypervolume_history",
    "insights",
    "instances",
    "knee",
    "layer_tree",
    "lint",
    "lost_overlap",
    "matching",
    "measure_distribution",
    "measures",
    "metric_definitions",
    "models",
    "most_changed_layers",
    "nearest",
    "noise_floor",
    "one_seed_warning",
    "only_what_differs",
    "parents",
    "prediction_changes",
    "recommendations",
    "reliability",
    "repeated_steps",
    "resolve",
    "same_accuracy",
    "sensitivity",
    "show",
    "siblings",
    "slice_behaviours",
    "spanning",
    "studies",
    "transition_matrix",
    "trials",
    "weight_changes",
    "weight_distribution",
    "worst_slices",
    "zero_overlap",
]
