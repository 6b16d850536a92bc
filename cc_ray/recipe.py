"""Recipes: ordered steps applied to a base model, as frozen data, and the identities that follow from them.

A model's identity is a hash of how it came to be: its parent, the operation with its parameters, the task and the
seed. Equal prefixes of two recipes therefore name the same models, in any study.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

ID_LENGTH = 20
"""Hexadecimal digits of an identity: 80 bits."""
LEVELS: Final = ("sparsity", "bits", "ratio", "rank_ratio", "rank", "density", "amount")
"""Parameters that say how strong an operation is; of one that has several the first counts."""


def canonical_json(value: object) -> str:
    """Write plain data the one way that hashing relies on: sorted keys, no blanks, no NaN.

    Raises:
        ValueError: If a number is NaN or infinite.
        TypeError: If the value is not plain data.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def identity(*parts: object) -> str:
    """Hash plain data to `ID_LENGTH` hexadecimal digits (SHA-256, cut)."""
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()[:ID_LENGTH]


@dataclass(frozen=True)
class Step:
    """One place in a recipe: an operation with its parameters."""

    operation: str
    """Name of a registered operation."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """The operation's fields by name; plain JSON data."""
    version: int = 1
    """The operation's version: raised when the same parameters give other weights than before."""

    def __hash__(self) -> int:
        return hash(canonical_json(self.to_json()))

    def __str__(self) -> str:
        said = {name: value for name, value in self.parameters.items() if value not in ([], (), {}, None)}
        values = ", ".join(f"{name}={_short(value)}" for name, value in said.items())
        return f"{self.operation}({values})"

    def to_json(self) -> dict[str, Any]:
        """Plain data that `from_json` reads back."""
        return {"operation": self.operation, "parameters": dict(self.parameters), "version": self.version}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(data["operation"], dict(data.get("parameters", {})), data.get("version", 1))


@dataclass(frozen=True)
class Recipe:
    """The ordered steps applied to a base model."""

    base: str
    """Name of one of the task's base models."""
    steps: tuple[Step, ...] = ()
    seed: int = 0
    """Seeds the training of the base model and every step."""

    def __str__(self) -> str:
        return " → ".join([self.base, *(str(step) for step in self.steps)])

    def prefix(self, length: int) -> Recipe:
        """The recipe of the model after `length` steps; 0 is the base model."""
        return Recipe(self.base, self.steps[:length], self.seed)

    def model_ids(self, task_id: str) -> tuple[str, ...]:
        """Identities from the base model to the last child: one more than there are steps."""
        ids = [identity("base", self.base, task_id, self.seed)]
        for step in self.steps:
            ids.append(identity("step", ids[-1], step.to_json(), task_id, self.seed))
        return tuple(ids)

    def to_json(self) -> dict[str, Any]:
        """Plain data that `from_json` reads back."""
        return {"base": self.base, "steps": [step.to_json() for step in self.steps], "seed": self.seed}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        steps = tuple(Step.from_json(step) for step in data.get("steps", ()))
        return cls(data["base"], steps, data.get("seed", 0))


_TOLD_APART: Final = 4
"""Digits by which tables that are too long to be read are told apart."""
BASE_STEP: Final = "train base"
"""What the making of a base model is called where steps are named."""


def step_name(recipe: Recipe) -> str:
    """The last step of a recipe as a person reads it."""
    return str(recipe.steps[-1]) if recipe.steps else f"{BASE_STEP} {recipe.base}"


def trial_id(study_id: str, recipe: Recipe) -> str:
    """Identity of a trial: a recipe has one trial per study."""
    return identity("trial", study_id, recipe.to_json())


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return "|".join(str(item) for item in value)
    if isinstance(value, Mapping) and any(isinstance(item, list | tuple) for item in value.values()):
        return f"{len(value)} rows {identity(value)[:_TOLD_APART]}"
    if isinstance(value, Mapping):
        return "|".join(f"{name}:{_short(item)}" for name, item in value.items())
    return str(value)
