"""Questions and their answers, as Arrow tables. Every function takes the store's views first."""

from cc_ray.compare.behaviour.accuracy import accuracy_tests, same_accuracy
from cc_ray.compare.behaviour.calibration import calibration, reliability
from cc_ray.compare.behaviour.exemplars import exemplars
from cc_ray.compare.behaviour.flips import flip_matrix, outcomes
from cc_ray.compare.behaviour.generation import generation
from cc_ray.compare.behaviour.instances import Instances, instances
from cc_ray.compare.behaviour.measures import measure_distribution, measures
from cc_ray.compare.behaviour.predicted import frequent_predictions, prediction_changes
from cc_ray.compare.behaviour.repeats import noise_floor, one_seed_warning
from cc_ray.compare.behaviour.slices import slice_behaviours, worst_slices
from cc_ray.compare.behaviour.summary import behaviours, behaviours_by_class, class_names
from cc_ray.compare.behaviour.texts import Texts, generates, texts, word_changes
from cc_ray.compare.behaviour.tokens import Tokens, hurt_tokens, perplexity_by_position, scores_tokens, token_losses
from cc_ray.compare.behaviour.transitions import confusion_matrices, error_overlap, lost_overlap, transition_matrix
from cc_ray.compare.comparison import Comparison, compare
from cc_ray.compare.comparisons import comparison, comparisons
from cc_ray.compare.filtering import metric_histogram, passing
from cc_ray.compare.insights import insights
from cc_ray.compare.labels import Labels
from cc_ray.compare.layers.activations import activation_changes
from cc_ray.compare.layers.bisections import bisections
from cc_ray.compare.layers.distributions import activation_distribution, activation_histograms, weight_distribution
from cc_ray.compare.layers.module_paths import matching
from cc_ray.compare.layers.sensitivity import sensitivity
from cc_ray.compare.layers.similarity import layer_similarity
from cc_ray.compare.layers.tree import layer_tree, most_changed_layers, zero_overlap
from cc_ray.compare.layers.weight_changes import weight_changes
from cc_ray.compare.lint import lint
from cc_ray.compare.models import (
    ModelCard,
    answering,
    findings,
    metric_definitions,
    models,
    repeated_steps,
    show,
    studies,
    trials,
    with_activations,
    with_layers,
)
from cc_ray.compare.recipes.diff import nearest, only_what_differs
from cc_ray.compare.recipes.differences import Differences, differences
from cc_ray.compare.recipes.lineage import ancestors, children, descendants, edges, parents, resolve, siblings
from cc_ray.compare.recipes.sweeps import sweeps
from cc_ray.compare.study import (
    failures,
    reports,
    requests,
    stopped_early,
    study_best,
    study_costs,
    study_repeats,
    time_left,
    trial_output,
)
from cc_ray.compare.trade_offs.compromises import best_under, knee, spanning
from cc_ray.compare.trade_offs.efficiency import efficiency
from cc_ray.compare.trade_offs.fronts import NO_OPERATION, front, fronts, recommendations
from cc_ray.compare.trade_offs.hypervolume import hypervolume, hypervolume_history
from cc_ray.compare.trade_offs.requirements import Checked, check

__all__ = [
    "NO_OPERATION",
    "Checked",
    "Comparison",
    "Differences",
    "Instances",
    "Labels",
    "ModelCard",
    "Texts",
    "Tokens",
    "accuracy_tests",
    "activation_changes",
    "activation_distribution",
    "activation_histograms",
    "ancestors",
    "answering",
    "behaviours",
    "behaviours_by_class",
    "best_under",
    "bisections",
    "calibration",
    "check",
    "children",
    "class_names",
    "compare",
    "comparison",
    "comparisons",
    "confusion_matrices",
    "descendants",
    "differences",
    "edges",
    "efficiency",
    "error_overlap",
    "exemplars",
    "failures",
    "findings",
    "flip_matrix",
    "frequent_predictions",
    "front",
    "fronts",
    "generates",
    "generation",
    "hurt_tokens",
    "hypervolume",
    "hypervolume_history",
    "insights",
    "instances",
    "knee",
    "layer_similarity",
    "layer_tree",
    "lint",
    "lost_overlap",
    "matching",
    "measure_distribution",
    "measures",
    "metric_definitions",
    "metric_histogram",
    "models",
    "most_changed_layers",
    "nearest",
    "noise_floor",
    "one_seed_warning",
    "only_what_differs",
    "outcomes",
    "parents",
    "passing",
    "perplexity_by_position",
    "prediction_changes",
    "recommendations",
    "reliability",
    "repeated_steps",
    "reports",
    "requests",
    "resolve",
    "same_accuracy",
    "scores_tokens",
    "sensitivity",
    "show",
    "siblings",
    "slice_behaviours",
    "spanning",
    "stopped_early",
    "studies",
    "study_best",
    "study_costs",
    "study_repeats",
    "sweeps",
    "texts",
    "time_left",
    "token_losses",
    "transition_matrix",
    "trial_output",
    "trials",
    "weight_changes",
    "weight_distribution",
    "with_activations",
    "with_layers",
    "word_changes",
    "worst_slices",
    "zero_overlap",
]
