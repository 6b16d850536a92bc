"""What a row of the module tree shows of one model: its zeros, the changes of its weights, or its activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from cc_ray.wording import NOTHING, format_change, format_value
from dashboards.layer.histogram import PAINTS, band_names, framed, of_outputs, of_weights, picture
from dashboards.layer.terms import term
from dashboards.markup import esc
from dashboards.snapshot import Row

Rows = Mapping[str, Row]
"""What is known of one module, by model."""
BOTH, BASE_ONLY, MODEL_ONLY = "var(--zero-both)", "var(--zero-base)", "var(--zero-model)"
NOT_COMPARED: Final = "var(--series-3)"


@dataclass(frozen=True)
class Visual:
    """One way to look at modules."""

    title: str
    hint: str
    cell: Callable[[Rows, str, str], str]
    """HTML of a cell, of a module's rows, a model and the base."""
    large: Callable[[Rows, str, str], str]
    """The same with all that there is room for beside the tree."""
    measure: Callable[[Rows, str, str], float | None]
    """What rows are sorted by."""
    legend: Callable[[], str]


def zeros(rows: Rows, id: str, base: str) -> str:
    """A bar of the shares that are zero in both, in the base only, in the model only, and without the base's value."""
    node = rows.get(id)
    if node is None:
        return _absent()
    beside = ""
    if id != base and node["base_sparsity"] is not None and node["sparsity"] is not None:
        beside = f" <small>{format_change(zeros_measure(rows, id, base), 'percent').replace(' points', '')}</small>"
    share = format_value(node["sparsity"], "percent")
    return (
        f'<span class="cell" data-tip="{esc(_said_of_zeros(node, id == base))}">{share}{beside}'
        f'<span class="stack">{_parts(node, id == base)}</span></span>'
    )


def zeros_large(rows: Rows, id: str, base: str) -> str:
    """The bar with its words."""
    node = rows.get(id)
    if node is None:
        return _absent()
    words = esc(_said_of_zeros(node, id == base))
    return f'<span class="stack tall">{_parts(node, id == base)}</span><p class="soft small">{words}.</p>'


def zeros_measure(rows: Rows, id: str, base: str) -> float | None:
    """The base's share of zeros; of others how much larger it is than the base's."""
    node = rows.get(id)
    if node is None or node["sparsity"] is None:
        return None
    before = 0.0 if id == base else node["base_sparsity"]
    return None if before is None else float(node["sparsity"] - before)


def weights(rows: Rows, id: str, base: str) -> str:
    """A histogram; of others than the base by how far each weight moved."""
    node = rows.get(id)
    shown = of_weights(node, id == base)
    if node is None or shown is None:
        return _absent() if node is None or node["parameters"] is None else _unsaved(node)
    name, value = ("L1", node["mean_absolute"]) if id == base else ("Δ", node["mean_absolute_change"])
    moved = "" if id == base else f" <small>{_percent(node['relative_change'])}</small>"
    return f'<span class="cell">{picture(shown)}{name} {format_value(value, "number")}{moved}</span>'


def weights_large(rows: Rows, id: str, base: str) -> str:
    """The histogram with its axes."""
    node = rows.get(id)
    shown = of_weights(node, id == base)
    if node is None or shown is None:
        return _absent() if node is None or node["parameters"] is None else _unsaved(node)
    return framed(shown)


def weights_measure(rows: Rows, id: str, base: str) -> float | None:
    """Mean absolute weight of the base; of others the mean absolute change."""
    node = rows.get(id)
    return None if node is None else node["mean_absolute" if id == base else "mean_absolute_change"]


def activations(rows: Rows, id: str, base: str) -> str:
    """A histogram of outputs; of others than the base with the base's outline."""
    node = rows.get(id)
    shown = of_outputs(node, rows.get(base), OUTPUTS_PAINT if id != base else "var(--ink-3)")
    if node is None or shown is None:
        return _absent()
    if id == base:
        return f'<span class="cell">{picture(shown)}σ {format_value(node["std"], "number")}</span>'
    why = f' data-tip="{esc(node["reason"])}"' if node.get("reason") else ""
    return f'<span class="cell"{why}>{picture(shown)}error {_percent(node.get("relative_error"))}</span>'


def activations_large(rows: Rows, id: str, base: str) -> str:
    """The histogram with its axes."""
    node = rows.get(id)
    shown = of_outputs(node, rows.get(base), OUTPUTS_PAINT if id != base else "var(--ink-3)")
    return _absent() if node is None or shown is None else framed(shown)


def activations_measure(rows: Rows, id: str, base: str) -> float | None:
    """Standard deviation of the base's outputs; of others the relative error."""
    node = rows.get(id)
    return None if node is None else node.get("std" if id == base else "relative_error")


OUTPUTS_PAINT: Final = "var(--series-3)"


def swatch(paint: str, label: str) -> str:
    """A colour and what it stands for."""
    return f'<span class="key"><i style="background:{paint}"></i>{esc(label)}</span>'


def _zeros_legend() -> str:
    keys = {
        BOTH: "in both",
        BASE_ONLY: "only in the base",
        MODEL_ONLY: "only in the model",
        NOT_COMPARED: "not compared",
    }
    return f"{term('zeros', 'Zeros')} {''.join(swatch(*key) for key in keys.items())}"


def _weights_legend() -> str:
    bands = "".join(swatch(paint, name) for paint, name in zip(PAINTS, band_names(), strict=True))
    return f"{term('bands', 'Relative change')} {bands} {term('l1', 'L1')} {term('delta', 'Δ')}"


def _activations_legend() -> str:
    outline = '<span class="key"><i class="line"></i>base</span>'
    return f"{term('outputs', 'Outputs')} {swatch(OUTPUTS_PAINT, 'model')} {outline} {term('error', 'Error')}"


VISUALS: Final = {
    "sparsity": Visual(
        "Sparsity", "Where the zeros are, and which ones the base has too", zeros, zeros_large, zeros_measure,
        _zeros_legend,
    ),
    "weights": Visual(
        "Weight changes", "How the weights are distributed, and how far each moved from the base's", weights,
        weights_large, weights_measure, _weights_legend,
    ),
    "activations": Visual(
        "Activations", "How what modules put out is distributed, beside the base's", activations, activations_large,
        activations_measure, _activations_legend,
    ),
}  # fmt: skip
"""By name in the address."""


def _parts(node: Row, base: bool) -> str:
    if base:
        parts = [(node["zeros"], BOTH)]
    else:
        parts = [(node[f"zeros_{name}"], paint) for name, paint in _KINDS.items()]
        parts.append((_not_compared(node), NOT_COMPARED))
    whole = max(node["parameters"], 1)
    return "".join(
        f'<i style="width:{100 * (count or 0) / whole:.2f}%;background:{paint}"></i>' for count, paint in parts
    )


_KINDS: Final = {"both": BOTH, "base_only": BASE_ONLY, "model_only": MODEL_ONLY}


def _not_compared(node: Row) -> int:
    """Zeros that no value of the base stands beside: of tensors that were reshaped, or whose weights nobody saved."""
    return int(node["zeros"] - (node["zeros_both"] or 0) - (node["zeros_model_only"] or 0))


def _said_of_zeros(node: Row, base: bool) -> str:
    said = f"{node['zeros']:,} of {node['parameters']:,} values are zero"
    if base:
        return said
    if node["zeros_both"] is None:
        reshaped = node["unmatched_parameters"] == node["parameters"]
        why = "no value has a counterpart there" if reshaped else "the weights were not saved"
        return f"{said}; which of them the base has too is not known: {why}"
    both, here, there = (node[f"zeros_{name}"] for name in ("both", "model_only", "base_only"))
    rest = _not_compared(node)
    more = f", {rest:,} without a counterpart" if rest else ""
    return f"{said}: {both:,} in both, {here:,} only in the model{more}; {there:,} only in the base"


def _percent(value: float | None) -> str:
    return NOTHING if value is None else format_value(value, "percent")


def _absent() -> str:
    return '<span class="soft">not there</span>'


def _unsaved(node: Row) -> str:
    if node["compared"] is not None and not node["compared"]:
        return '<span class="soft" data-tip="No value has a counterpart in the base.">reshaped</span>'
    why = "The weights of this model, or of the base, are not in the store."
    return f'<span class="soft" data-tip="{why}">not saved</span>'
