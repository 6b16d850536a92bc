"""What is done to a model: one operation a file."""

from cc_ray.compress.apply import Outcome, apply_step
from cc_ray.compress.base import Context, Finding, Operation, Representation, operation, operations
from cc_ray.compress.representation import representation_of
from cc_ray.compress.steps import operation_of, parameter_problems, validated_recipe, validated_step
from cc_ray.compress.suits import Suits

__all__ = [
    "Context",
    "Finding",
    "Operation",
    "Outcome",
    "Representation",
    "Suits",
    "apply_step",
    "operation",
    "operation_of",
    "operations",
    "parameter_problems",
    "representation_of",
    "validated_recipe",
    "validated_step",
]
