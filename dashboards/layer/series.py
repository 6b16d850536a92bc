"""Series of sensitivity: one model whose layers one operation compressed, each alone, at several levels."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import pyarrow as pa

from cc_ray import compare
from cc_ray.compare.labels import title, value_text
from cc_ray.views import Views
from dashboards.layer.answers import KEPT
from dashboards.snapshot import Row
from dashboards.state import PROBE_SPLITS, short

Split = Literal["evaluation", "calibration"]
Done = tuple[str, str, str, str | None]
"""What was done to which model: its model_id, operation, parameters (JSON), name of the level."""


@dataclass(frozen=True)
class Series:
    """What was measured of one model under one operation."""

    key: str
    """In the address."""
    split: Split
    """What was judged on."""
    model: str
    operation: str
    parameters: Mapping[str, object]
    parameter: str | None
    """Name of the level."""
    rows: tuple[Row, ...]
    """Of `compare.sensitivity`."""

    @property
    def patterns(self) -> list[str]:
        """Layers, in the order of the answer."""
        return list(dict.fromkeys(row["pattern"] for row in self.rows))

    @property
    def levels(self) -> list[float | None]:
        """From small to large."""
        return sorted({row["level"] for row in self.rows}, key=lambda level: level or 0.0)

    @property
    def what(self) -> str:
        """The operation with its parameters, as words."""
        said = ", ".join(f"{name.replace('_', ' ')} {value_text(value)}" for name, value in self.parameters.items())
        return f"{title(self.operation)}{f' ({said})' if said else ''}"


@lru_cache(KEPT)
def all_series(views: Views, metric: str) -> tuple[Series, ...]:
    """The rows of `compare.sensitivity`, by what was done to which model and by split; the same on both has one key."""
    counts: dict[str, int] = defaultdict(int)
    keys: dict[Done, str] = {}
    found = []
    for split in PROBE_SPLITS:
        for done, rows in _by_what_was_done(views, metric, split).items():
            model, operation, parameters, parameter = done
            if done not in keys:
                counts[model] += 1
                keys[done] = f"{short(model)}-{counts[model]}"
            found.append(Series(keys[done], split, model, operation, json.loads(parameters), parameter, tuple(rows)))
    return tuple(found)


def _by_what_was_done(views: Views, metric: str, split: Split) -> dict[Done, list[Row]]:
    groups: dict[Done, list[Row]] = defaultdict(list)
    for row in compare.sensitivity(views, metric, split=split).to_pylist():
        groups[row["parent"], row["operation"], row["parameters"], row["parameter"]].append(row)
    return groups


@lru_cache(KEPT)
def probed_metrics(views: Views, metrics: tuple[str, ...]) -> tuple[str, ...]:
    """Those of some metrics whose sensitivity to some layer is known."""
    return tuple(metric for metric in metrics if all_series(views, metric))


def chosen_series(series: Sequence[Series], key: str, base: str, split: str = "evaluation") -> Series:
    """The one of a key, else the largest of a model, else the largest of all; on the split, where it was measured."""
    named = [one for one in series if one.key == key]
    own = [one for one in series if one.model == base]
    largest = max(named or own or series, key=lambda one: len(one.rows))
    alike = [one for one in series if one.key == largest.key]
    return next((one for one in alike if one.split == split), alike[0])


def bisections(views: Views, models: Sequence[str]) -> list[Row]:
    """The rows of `compare.bisections`."""
    table: pa.Table = compare.bisections(views, models)
    rows: list[Row] = table.to_pylist()
    return rows
