"""What a piece of work asks of the cluster."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from cc_ray.errors import InvalidRecipeError


@dataclass(frozen=True)
class Resources:
    """What a step holds while it runs; it is started on a node that has as much free."""

    cpus: float = 1.0
    """Processors; 0 for work that waits."""
    gpus: float = 0.0
    """Graphics processors; a fraction lets several steps share one, each in its share of the memory; of several a step
    uses the first. A model's identity does not depend on it: weights trained on a GPU differ a little from those that a
    CPU trains, and of two the first to publish wins."""
    memory_bytes: int = 0
    """Main memory that is kept for it; 0 keeps none."""
    custom: Mapping[str, float] = field(default_factory=dict)
    """Amounts of resources that the cluster's nodes were started with, by name."""
    accelerator_type: str = ""
    """Such as `H100`: the node must have GPUs of this type; empty takes any."""

    def __post_init__(self) -> None:
        amounts = {"cpus": self.cpus, "gpus": self.gpus, "memory_bytes": self.memory_bytes, **self.custom}
        for name, amount in amounts.items():
            if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 <= amount < math.inf:
                raise InvalidRecipeError(f"resources: '{name}' is {amount!r}; allowed: a number, not below 0.")
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise InvalidRecipeError(f"resources: 'gpus' is {self.gpus!r}; allowed: below 1, or a whole number.")

    def to_json(self) -> dict[str, Any]:
        """Plain data that `from_json` reads back."""
        return {**asdict(self), "custom": dict(self.custom)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(**data)

    def __str__(self) -> str:
        parts = [f"{self.cpus:g} CPU"]
        parts += [f"{self.gpus:g} GPU{f' of type {self.accelerator_type}' if self.accelerator_type else ''}"] * (
            self.gpus > 0
        )
        parts += [f"{self.memory_bytes / 1e9:g} GB of memory"] * (self.memory_bytes > 0)
        return ", ".join([*parts, *(f"{amount:g} {name}" for name, amount in self.custom.items())])
