"""Base models that the user names: made by a function, or taken from the Hugging Face hub."""

from cc_ray.tasks.bases.base import Base, BaseName, Training
from cc_ray.tasks.bases.factory import FromFactory
from cc_ray.tasks.bases.transformer import FromTransformers

__all__ = ["Base", "BaseName", "FromFactory", "FromTransformers", "Training"]
