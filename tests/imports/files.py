"""Result files made by hand, a few models each."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ACCURACY = {"name": "Accuracy", "min": 0.0, "max": 1.0, "primary": True, "format": ".2%"}
SIZE = {"name": "Model Size", "min": 0, "max": None, "primary": True, "format": ".2~s"}
PRUNE = {"name": "prune", "parameters": ["amount"]}


def model(
    id: str, base: str | None = None, operation: str | None = "prune", metrics: Any = None, **parameters: Any
) -> dict[str, Any]:
    """An entry of `models`; a root has no operation."""
    entry: dict[str, Any] = {
        "id": id,
        "tag": f"tag of {id}",
        "metrics": {"Accuracy": 0.9} if metrics is None else metrics,
    }
    if base is not None:
        entry["base"] = base
        entry["operation"] = operation and {"name": operation, "parameters": parameters or {"amount": 0.5}}
    return entry


def write(
    folder: Path,
    models: Sequence[Mapping[str, Any]],
    *,
    metrics: Sequence[Mapping[str, Any]] = (ACCURACY, SIZE),
    operations: Sequence[Mapping[str, Any]] = (PRUNE,),
    name: str = "small.json",
) -> Path:
    """Write a result file."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"metrics": metrics, "operations": operations, "models": models}))
    return file
