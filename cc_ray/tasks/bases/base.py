"""What a base model that the user names is: a way to make it, weights or not, and how it is trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn

from cc_ray.tasks.base import Task
from cc_ray.tasks.training import Augment, train

BaseName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]{0,79}$")]
"""What a base model is called: letters, digits, `.`, `_` and `-`, at most 80."""


class Training(BaseModel):
    """How a base model is trained, as `tasks.training.train` does it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    epochs: Annotated[int, Field(ge=1)]
    """Passes over the train split."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.001
    """The highest of the cycle."""
    batch_size: Annotated[int, Field(ge=1)] = 64
    """Instances a step."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Share of a weight that is taken off it per unit of learning rate."""


class Base(BaseModel, ABC):
    """A base model. A task hands out its fields; nothing is imported or read before it is made."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    training: Training | None = None
    """How it is trained, from its weights where it has some; None takes these as they are."""

    @property
    @abstractmethod
    def trained(self) -> bool:
        """Whether it has weights already."""

    @model_validator(mode="after")
    def _gets_weights(self) -> Self:
        if not self.trained and self.training is None:
            raise ValueError("it has no weights and no training: give `weights`, or `training` with `epochs`")
        return self

    @abstractmethod
    def addresses(self) -> tuple[str, ...]:
        """Where the files lie that it is made of."""

    @abstractmethod
    def identifying(self) -> dict[str, Any]:
        """The fields that make it another model, as plain data: all but where its files lie."""

    @abstractmethod
    def make(self, **given: Any) -> nn.Module:
        """Make it with weights by lot; torch's random state decides.

        Args:
            **given: What the task knows of its inputs and outputs.
        """

    @abstractmethod
    def load(self, model: nn.Module) -> nn.Module:
        """Give a model that was made the weights that it has already, if there are any."""

    def untrained(self, **given: Any) -> nn.Module:
        """Make it with weights by lot, in evaluation mode; here and below torch's random state is left as it is."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.make(**given).eval()

    def ready(self, task: Task, seed: int, augment: Augment | None = None, **given: Any) -> nn.Module:
        """Make it with its weights, and train it if it is to be trained; in evaluation mode.

        Args:
            task: Gives the train split and the loss.
            seed: Seeds weights by lot and training; without both every seed gives the same model.
            augment: Changes each batch before the model sees it.
            **given: As for `make`.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = self.load(self.make(**given)).eval()
        if self.training is None:
            return model
        return train(model, task.data("train"), task.loss, seed=seed, augment=augment, **self.training.model_dump())
