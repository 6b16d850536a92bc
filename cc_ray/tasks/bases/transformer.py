"""Base models of the library transformers, from a folder on this machine or from the Hugging Face hub.

Code that comes with a model is never run, and its weights are safetensors.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from cc_ray.errors import InvalidRecipeError
from cc_ray.tasks.bases.base import Base
from cc_ray.tasks.sources import located


class FromTransformers(Base):
    """A model that `save_pretrained` wrote."""

    transformers: Annotated[str, Field(min_length=1)]
    """A folder, or `hf://OWNER/NAME` on the hub; `@REVISION` after the name pins a commit, a tag or a branch."""

    @property
    def trained(self) -> bool:
        """Always."""
        return True

    def addresses(self) -> tuple[str, ...]:
        """Its configuration and its weights."""
        folder = self.transformers.rstrip("/")
        return f"{folder}/*.json", f"{folder}/*.safetensors"

    def identifying(self) -> dict[str, Any]:
        """All fields but the address."""
        return self.model_dump(mode="json", exclude={"transformers"})

    def make(
        self, *, classes: int | None = None, auto: str = "AutoModelForImageClassification", **given: Any
    ) -> nn.Module:
        """Make its architecture.

        Args:
            classes: Number of classes that it is to tell apart; None where that is not what it does.
            auto: Class of transformers that makes models for the task.
            **given: What other base models have to know.

        Raises:
            InvalidRecipeError: If it has another number of them and is not trained, or is no model for the task.
        """
        # Imported here: it takes a second, and only these base models need it.
        import transformers

        try:
            config = transformers.AutoConfig.from_pretrained(self._folder(), trust_remote_code=False)
            if classes is not None and config.num_labels != classes:
                self._check_trained(config.num_labels, classes)
                config.num_labels = classes
            return getattr(transformers, auto).from_config(config, trust_remote_code=False)  # type: ignore[no-any-return]
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error

    def load(self, model: nn.Module) -> nn.Module:
        """Read its weights; a last layer for another number of classes keeps those by lot."""
        kind: Any = type(model)
        try:
            return kind.from_pretrained(  # type: ignore[no-any-return]
                self._folder(),
                config=model.config,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                trust_remote_code=False,
                use_safetensors=True,
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise self._unreadable(error) from error

    def _folder(self) -> str:
        return str([located(address).root for address in self.addresses()].pop())

    def _check_trained(self, own: int, classes: int) -> None:
        if self.training is None:
            raise InvalidRecipeError(
                f"'{self.transformers}' tells {own} classes apart, the task has {classes}: name the model's in "
                "`classes`, in its order, or give it `training`, which begins with a new last layer."
            )

    def _unreadable(self, error: Exception) -> InvalidRecipeError:
        if isinstance(error, InvalidRecipeError):
            return error
        said = " ".join(str(error).split())[:300]
        return InvalidRecipeError(f"'{self.transformers}' is no model for this task that can be read: {said}")
