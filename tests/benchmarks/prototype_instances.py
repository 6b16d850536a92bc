"""The research prototype's comparison of instances, written plainly from the description of its algorithm.

Every model's vectors are read whole as float64; for each instance and model the difference and the raw value of each
comparison are computed in Python, rounded to eight digits and put, with every model's prediction, into one object an
instance; the result is written as one JSON text. Class means and histograms are taken from these objects, as its page
does.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Vectors = dict[str, NDArray[np.float64]]
"""Each model's vectors, (n, length); the base first."""

EPSILON: Final = 1e-6
BINS: Final = 20


def compare(
    vectors: dict[str, Vectors], labels: NDArray[np.int64], predictions: dict[str, NDArray[np.int64]]
) -> tuple[str, Any, Any]:
    """Compare all models with the first.

    Args:
        vectors: By comparison (`difference`, `mse` or `kl` in its name), each model's vectors.
        labels: (n,).
        predictions: Each model's, (n,).

    Returns:
        The JSON text, class means, and histograms.
    """
    rows = [_instance(vectors, predictions, index, int(label)) for index, label in enumerate(labels)]
    return json.dumps(rows), _classes(rows), _histograms(rows)


def _instance(
    vectors: dict[str, Vectors], predictions: dict[str, NDArray[np.int64]], index: int, label: int
) -> dict[str, Any]:
    given = {model: {"label": label, "pred": int(own[index])} for model, own in predictions.items()}
    row: dict[str, Any] = {"id": index, "label": label, "classes": [label], "predictions": given, "comparisons": {}}
    for name, models in vectors.items():
        base: NDArray[np.float64] | None = None
        row["comparisons"][name] = {}
        for model, values in models.items():
            own = values[index]
            base = own if base is None else base
            raw = {} if name in ("kl", "mse") else {"value": _rounded(float(np.mean(own)))}
            row["comparisons"][name][model] = {"difference": _rounded(_value(name, base, own)), **raw}
    return row


def _value(name: str, base: NDArray[np.float64], own: NDArray[np.float64]) -> float:
    if name == "kl":
        return max(0.0, float(np.sum(base * np.log2((base + EPSILON) / (own + EPSILON)))))
    if name == "mse":
        return float(np.mean((own - base) ** 2))
    return float(np.mean(own - base))


def _rounded(value: float) -> float:
    return round(value, 8) if math.isfinite(value) else 0.0


def _classes(rows: list[dict[str, Any]]) -> dict[tuple[str, str, int], float]:
    found: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    for row in rows:
        for name, models in row["comparisons"].items():
            for model, value in models.items():
                for label in row["classes"]:
                    found[name, model, label].append(value["difference"])
    return {key: sum(values) / len(values) for key, values in found.items()}


def _histograms(rows: list[dict[str, Any]]) -> dict[tuple[str, str], list[int]]:
    found: dict[tuple[str, str], list[int]] = {}
    for name in rows[0]["comparisons"]:
        values = [value for row in rows for value in _differences(row, name)]
        low, high = min(values), max(values)
        width = (high - low) / BINS or 1.0
        for model in rows[0]["comparisons"][name]:
            counts = [0] * BINS
            for row in rows:
                counts[min(BINS - 1, int((row["comparisons"][name][model]["difference"] - low) / width))] += 1
            found[name, model] = counts
    return found


def _differences(row: dict[str, Any], name: str) -> list[float]:
    return [value["difference"] for value in row["comparisons"][name].values()]
