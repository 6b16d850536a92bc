"""How models and steps are called on the screen: short, telling apart what differs and leaving out what never does."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

Row = Mapping[str, Any]

STEP: Final = " › "
"""Stands between the steps of a name."""
GENERIC: Final = frozenset({"pruning", "quantization"})
"""Words of operations' names that go first where there is little room."""
NOTHING: Final[tuple[object, ...]] = ([], {}, None)
"""Values of parameters that ask for nothing."""


def title(name: str) -> str:
    """A name of the code as words: `magnitude_pruning` is "Magnitude pruning"."""
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


def letter(place: int) -> str:
    """The mark of the n-th of several models, from 0: A to Z, then numbers."""
    return chr(ord("A") + place) if place < 26 else str(place + 1)


def value_text(value: object) -> str:
    """A parameter's value in a few characters."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return " | ".join(str(item) for item in value)
    if isinstance(value, dict):
        return " | ".join(f"{name}: {value_text(item)}" for name, item in value.items())
    return str(value)


def points_text(points: float) -> str:
    """A difference in percentage points, with its sign unless it rounds to nothing."""
    text = f"{points:+.1f}"
    return "0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


class Labels:
    """Names of the models of one snapshot.

    Args:
        models: Rows of `compare.models` by model_id, with the columns of `READ` at least.
    """

    READ: Final = ("model_id", "base", "operation", "parameters", "parent")

    def __init__(self, models: Mapping[str, Row]) -> None:
        self._models = models
        self.parameters: dict[str, dict[str, Any]] = {
            id: json.loads(row["parameters"] or "{}") for id, row in models.items()
        }
        self.varying = self._varying()
        self._names: dict[str, str] = {}

    def step(self, model_id: str) -> str:
        """The parameters of a model's last step that differ between models: "0.75 global"; "" if none does."""
        row = self._models[model_id]
        if row["operation"] is None:
            return str(row["base"])
        values = self.parameters[model_id]
        named = [name for name in self.varying[row["operation"]] if name in values and values[name] not in NOTHING]
        return " ".join(_with_unit(name, values[name]) for name in named)

    def given(self, model_id: str) -> dict[str, str]:
        """All parameters of the last step that say something, as words: value by name."""
        values = self.parameters[model_id].items()
        return {name.replace("_", " "): value_text(value) for name, value in values if value not in NOTHING}

    def name(self, model_id: str) -> str:
        """The whole recipe: "resnet › Magnitude pruning 0.75 › Calibrate"."""
        if model_id not in self._names:
            row = self._models[model_id]
            last = self.last(model_id)
            known = row["parent"] in self._models
            self._names[model_id] = f"{self.name(row['parent'])}{STEP}{last}" if known else last
        return self._names[model_id]

    def last(self, model_id: str) -> str:
        """The last step: "Magnitude pruning 0.75"; the base model's own name."""
        row = self._models[model_id]
        if row["operation"] is None:
            return str(row["base"])
        return f"{title(row['operation'])} {self.step(model_id)}".strip()

    def apart(self, model_ids: Sequence[str]) -> dict[str, str]:
        """Short names that tell these models apart: the last step, before it the nearest one that differs."""
        recipes = {id: self.name(id).split(STEP) for id in model_ids}
        names = {}
        for id, steps in recipes.items():
            others = [other for own, other in recipes.items() if own != id]
            needed = next((k for k in range(1, len(steps)) if all(o[-k:] != steps[-k:] for o in others)), len(steps))
            middle = " … " if needed > 2 else STEP
            names[id] = steps[-1] if needed == 1 else f"{steps[-needed]}{middle}{steps[-1]}"
        return names

    def brief(self, model_id: str) -> str:
        """The last step in fewer words: "Magnitude 0.75"."""
        row = self._models[model_id]
        if row["operation"] is None:
            return str(row["base"])
        first, *others = title(row["operation"]).split(" ")
        kept = [word for word in others if word not in GENERIC]
        return " ".join([first, *kept, self.step(model_id)]).strip()

    def unsaid(self, model_ids: Sequence[str]) -> dict[str, str]:
        """What names leave out because it never differs: parameters by operation, for all steps of these models."""
        found: dict[str, str] = {}
        for model_id in model_ids:
            while model_id in self._models:
                row = self._models[model_id]
                if row["operation"] is not None:
                    found.setdefault(row["operation"], self._constant(model_id))
                model_id = row["parent"]
        return {operation: text for operation, text in sorted(found.items()) if text}

    def _constant(self, model_id: str) -> str:
        varying = self.varying[self._models[model_id]["operation"]]
        said = {name: value for name, value in self.parameters[model_id].items() if value not in NOTHING}
        return ", ".join(f"{name}={value_text(value)}" for name, value in said.items() if name not in varying)

    def _varying(self) -> dict[str, list[str]]:
        seen: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for id, row in self._models.items():
            for name, value in self.parameters[id].items():
                seen[row["operation"]][name].add(json.dumps(value))
        varying: dict[str, list[str]] = defaultdict(list)
        for operation, names in seen.items():
            differing = [name for name, values in names.items() if len(values) > 1]
            varying[operation] = sorted(differing, key=lambda name: not _numeric(names[name]))
        return varying


def _numeric(written: set[str]) -> bool:
    return all(isinstance(json.loads(value), int | float) for value in written)


def _with_unit(name: str, value: object) -> str:
    text = value_text(value)
    if name == "bits":
        return f"{text} bits"
    if name == "epochs":
        return f"{text} epoch{'' if value == 1 else 's'}"
    if name == "learning_rate":
        return f"rate {text}"
    return text
