"""What the cells of the heat map can show, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from cc_ray.compare.layers.module_paths import natural
from cc_ray.views import Views
from cc_ray.wording import NOTHING, format_value
from dashboards.layer import answers
from dashboards.layer.tree import reshaped
from dashboards.scales import Values
from dashboards.snapshot import Row


@dataclass(frozen=True)
class Measure:
    """One measure of a layer in a model."""

    title: str
    term: str
    form: str
    """As formats are called."""
    column: str
    outputs: bool = False
    """Of what the layer puts out; else of its weights."""
    compared: bool = True
    """Against the base."""

    def text(self, row: Row | None) -> str:
        """What a cell says."""
        if row is None:
            return "not there"
        if row[self.column] is not None and not self._blurred(row):
            unit = " dB" if self.column == "sqnr_db" else ""
            return format_value(row[self.column], self.form) + unit
        if self._blurred(row):
            return "reshaped: no counterpart in the base"
        if self._is_equal(row):
            return "equal to the base"
        return (row["reason"] if self.outputs else "") or NOTHING

    def value(self, row: Row | None) -> float:
        """What a cell's colour stands for; NaN where there is none, infinite where it is equal to the base."""
        if row is None or self._blurred(row):
            return np.nan
        if self._is_equal(row):
            return np.inf
        return np.nan if row[self.column] is None else float(row[self.column])

    def _is_equal(self, row: Row) -> bool:
        """Whether there is no noise that a signal could be compared with."""
        return self.column == "sqnr_db" and row["relative_error" if self.outputs else "relative_change"] == 0

    def _blurred(self, row: Row) -> bool:
        return self.compared and not self.outputs and reshaped(row)


MEASURES: Final = {
    "sparsity": Measure("Sparsity", "zeros", "percent", "sparsity", compared=False),
    "effective_bits": Measure("Effective bits", "bits", "bits", "effective_bits", compared=False),
    "relative_change": Measure("Relative change", "change", "percent", "relative_change"),
    "sqnr_db": Measure("SQNR of weights", "sqnr", "number", "sqnr_db"),
    "output_sqnr_db": Measure("SQNR of outputs", "output_sqnr", "number", "sqnr_db", outputs=True),
    "relative_error": Measure("Error of outputs", "error", "percent", "relative_error", outputs=True),
    "cosine": Measure("Cosine of outputs", "cosine", "number", "cosine", outputs=True),
    "cka": Measure("CKA of outputs", "cka", "number", "cka", outputs=True),
}
"""By name in the address."""


@dataclass(frozen=True)
class Matrix:
    """A measure of many layers in many models."""

    paths: list[str]
    ids: tuple[str, ...]
    values: Values
    """(paths, ids)."""
    texts: list[list[str]]


def matrix(views: Views, ids: tuple[str, ...], base: str, measure: Measure) -> Matrix:
    """Ask for a measure of every layer of every model."""
    if measure.outputs:
        nodes = answers.output_changes(views, ids, base)
        paths = sorted(nodes, key=natural)
    else:
        tree = answers.module_tree(views, ids, base)
        nodes, paths = tree.nodes, tree.leaves
    rows = [[nodes[path].get(id) for id in ids] for path in paths]
    values = np.array([[measure.value(row) for row in line] for line in rows], float).reshape(len(paths), len(ids))
    return Matrix(paths, ids, values, [[measure.text(row) for row in line] for line in rows])
