"""Base models made by a function or class that can be imported, with weights from a file.

Whoever names a function has it run, so a name is trusted no further than needed: it is imported only when a model is
made, never when a store is looked at, and it must be a class of modules or say that it returns one.
"""

from __future__ import annotations

import importlib
import inspect
import typing
from collections.abc import Callable
from typing import Annotated, Any, Final

from pydantic import Field, JsonValue
from torch import nn

from cc_ray.errors import InvalidRecipeError
from cc_ray.tasks.bases.base import Base
from cc_ray.tasks.bases.weights import give, read_state

_NEVER: Final = "trust_remote_code"


class FromFactory(Base):
    """A module that a function makes."""

    factory: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")]
    """`package.module:function`, importable on every machine; the function is annotated to return a module, or is a
    class of modules."""
    arguments: dict[str, JsonValue] = Field(default_factory=dict)
    """What it is called with, by name."""
    weights: str | None = None
    """Address of a state dict: a safetensors file, or one of `torch.save` that holds nothing but tensors."""
    key: str | None = None
    """Where in the file the state dict lies, as `state_dict` or `ema.model`."""
    prefix: str = ""
    """What is taken off the beginning of the names of its tensors, as `module.`."""

    @property
    def trained(self) -> bool:
        """Whether a file of weights is named."""
        return self.weights is not None

    def addresses(self) -> tuple[str, ...]:
        """That of the weights."""
        return () if self.weights is None else (self.weights,)

    def identifying(self) -> dict[str, Any]:
        """All fields but the address of the weights."""
        return self.model_dump(mode="json", exclude={"weights"})

    def make(self, **given: Any) -> nn.Module:
        """Import the function and call it.

        Raises:
            InvalidRecipeError: If it cannot be imported, makes no module, or refuses its arguments.
        """
        if _NEVER in self.arguments:
            raise InvalidRecipeError(f"{self.factory}: '{_NEVER}' is not allowed: it runs code that came with weights.")
        function = imported(self.factory)
        try:
            module = function(**given, **self.arguments)
        except (TypeError, ValueError, KeyError, RuntimeError) as error:
            called = ", ".join(f"{name}={value!r}" for name, value in {**given, **self.arguments}.items())
            raise InvalidRecipeError(f"{self.factory}({called}) failed: {error}") from error
        if not isinstance(module, nn.Module):
            raise InvalidRecipeError(f"{self.factory} returned {type(module).__name__}, not a torch.nn.Module.")
        return module

    def load(self, model: nn.Module) -> nn.Module:
        """Give it the weights of the file.

        Raises:
            InvalidRecipeError: If the file cannot be read, or does not fit.
        """
        return (
            model
            if self.weights is None
            else give(model, read_state(self.weights, self.key, self.prefix), self.weights)
        )


def imported(name: str) -> Callable[..., Any]:
    """What makes modules under a name `package.module:function`.

    Raises:
        InvalidRecipeError: If it cannot be imported, or does not say that it makes modules.
    """
    place, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(place), attribute)
    except (ImportError, AttributeError) as error:
        raise InvalidRecipeError(
            f"the factory '{name}' cannot be imported: {error}. Is its package installed?"
        ) from error
    if not _makes_modules(found):
        raise InvalidRecipeError(
            f"the factory '{name}' does not say that it makes a model: it has to be a class of torch.nn.Module, or a "
            "function annotated to return one (`def make() -> torch.nn.Module`)."
        )
    return found  # type: ignore[no-any-return]


def _makes_modules(found: Any) -> bool:
    if inspect.isfunction(found):
        try:
            found = typing.get_type_hints(found).get("return")
        except (NameError, TypeError, AttributeError):
            return False
    return inspect.isclass(found) and issubclass(found, nn.Module)
