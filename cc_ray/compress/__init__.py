"""What is done to a model: one operation a file."""

from cc_ray.compress.apply import Outcome, apply_step
from cc_ray.compress.base import Context, Finding, Operation, Representation, operation, operations
from cc_ray.compress.representation import representation_of
from cc_ray.compress.steps import operation_of, validated_recipe, validated_step

__all__ = [
    "Context",
    "Finding",
    "Operation",
    "Outcome",
    "Representation",
    "apply_step",
    "operation",
    "operation_of",
    "operations",
    "representation_of",
    "validated_recipe",
    "validated_step",
]
