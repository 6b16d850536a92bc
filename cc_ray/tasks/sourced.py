"""What tasks share whose base models and data the user names."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from cc_ray.errors import InvalidRecipeError
from cc_ray.tasks.base import Task, splits_used
from cc_ray.tasks.bases import Base, BaseName
from cc_ray.tasks.sources import Slice, Sources, fingerprint
from cc_ray.tasks.training import Augment


class Sourced(Task):
    """A task whose base models and data the user names. What makes a model is imported when one is made, not before."""

    models: Annotated[Mapping[BaseName, Base], Field(min_length=1)]
    """The base models, by the names that recipes call them."""
    sources: Sources
    """Where the instances lie."""
    slices: tuple[Slice, ...] = ()
    """What else than classes makes slices of the evaluation instances: columns of the data, ranges and conditions."""

    @abstractmethod
    def given(self, base: Base) -> dict[str, Any]:
        """What a base model has to know of the data to be made."""

    @property
    def augment(self) -> Augment | None:
        """What changes batches while base models are trained; None for nothing."""
        return None

    @property
    def bases(self) -> tuple[str, ...]:
        """The names in `models`."""
        return tuple(self.models)

    def build(self, base: str) -> nn.Module:
        """Make a base model with untrained weights.

        Raises:
            InvalidRecipeError: If there is no such base model, or it cannot be made.
        """
        model = self._model(base)
        return model.untrained(**self.given(model))

    def train(self, base: str, seed: int) -> nn.Module:
        """Make a base model with its weights, and train it if it is to be trained.

        Raises:
            InvalidRecipeError: If there is no such base model, its weights do not fit or it cannot be made.
        """
        model = self._model(base)
        made = model.ready(self, seed, self.augment, **self.given(model))
        self._check_outputs(base, made)
        return made

    def data_fingerprint(self) -> str:
        """SHA-256 over all files of the data and of the models."""
        models = (address for model in self.models.values() for address in model.addresses())
        return fingerprint([*self.sources.addresses.values(), *models])

    def identifying(self) -> dict[str, Any]:
        """All fields but those that say where files lie."""
        models = {name: model.identifying() for name, model in self.models.items()}
        sources = self.sources.identifying()
        return {**self.model_dump(mode="json", exclude={"models", "sources"}), "models": models, "sources": sources}

    def _check_outputs(self, base: str, model: nn.Module) -> None:
        # To look at the shape of an instance is not to use it.
        with splits_used(), torch.no_grad():
            outputs = self.logits(model, self.data("train").inputs[:1])
        if self.class_names and outputs.shape != (1, len(self.class_names)):
            raise InvalidRecipeError(
                f"base model '{base}' gives outputs of shape {tuple(outputs.shape[1:])}, the task has "
                f"{len(self.class_names)} classes ({', '.join(self.class_names[:5])}, ...): they must be as many."
            )

    def _model(self, base: str) -> Base:
        if base not in self.models:
            raise InvalidRecipeError(f"task '{self.name}' has no base model '{base}': use {' or '.join(self.models)}.")
        return self.models[base]
