"""HoloViews elements of CC-Ray, for notebooks and for the pages.

Each function takes what `cc_ray.compare` answers and gives an element that is complete by itself: titles, units,
colours and the hover text are set, sizes are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
from bokeh.models import HoverTool

from cc_ray.compare import weight_distribution
from cc_ray.compare.labels import letter, points_text
from cc_ray.views import Views
from dashboards.axes import tick_formatter
from dashboards.drawing import hv
from dashboards.theme import DIVERGING, INK, INK_3, LABEL_PX, MISSING, SERIES, SURFACE

SIGNIFICANT: Final = 0.05
"""Changes with a smaller p, corrected over the classes, are marked."""
CLASSES_WITH_TEXT: Final = 24
"""With more classes than this the cells have no room for numbers."""


def per_class(classes: pa.Table, *, names: Mapping[str, str] | None = None) -> hv.Overlay:
    """The change of accuracy against the base, class by class.

    Args:
        classes: As `compare.behaviours_by_class` gives them, or a `Comparison`'s `classes`.
        names: What models are called, by model_id; without it their recipes.

    Returns:
        HeatMap (class across, model down; brown worse, green better) and Labels (percentage points; a star where the
        Holm-corrected p is below 0.05).
    """
    table = classes.to_pandas()
    letters = {id: letter(place) for place, id in enumerate(table["model_id"].unique())}
    table["model"] = table["model_id"].map(letters)
    table["recipe"] = table["model_id"].map(names) if names else table["name"]
    table["points"] = 100 * table["difference"]
    table["text"] = [
        f"{points_text(points)}{'*' if p < SIGNIFICANT else ''}"
        for points, p in zip(table["points"], table["holm_p"], strict=True)
    ]
    limit = max(float(table["points"].abs().max()), 1.0)
    table["ink"] = np.where(table["points"].abs() > 0.6 * limit, SURFACE, INK)
    # HeatMap lays columns out as matrices, which pandas' Arrow-backed texts refuse.
    table = table.astype(dict.fromkeys(table.select_dtypes(include="str"), object))
    shown = ["points", "recipe", "label", "accuracy", "base_accuracy", "holm_p", "lost", "gained"]
    cells = hv.HeatMap(table, ["label_name", "model"], shown)
    texts = hv.Labels(table, ["label_name", "model"], ["text", "ink"])
    crowded = table["label_name"].nunique() > CLASSES_WITH_TEXT
    return hv.Overlay(
        [
            cells.opts(cmap=DIVERGING, clim=(-limit, limit), line_color=SURFACE, line_width=2, tools=[_class_hover()]),
            texts.opts(text_color="ink", text_font_size=f"{LABEL_PX}px", text_alpha=0 if crowded else 1),
        ]
    ).opts(xlabel="True class", ylabel="", invert_yaxis=True, responsive=True, xaxis="top", show_legend=False)


def weight_histogram(views: Views, names: Mapping[str, str], path: str = "") -> hv.Overlay:
    """How the non-zero weights of models are distributed.

    Args:
        views: Of the store.
        names: What models are called in the legend, by model_id; the first, the base, is drawn in grey.
        path: Module whose weights are meant, with all below it; "" for the whole model.

    Returns:
        Area (the base) and a Curve per model: share of non-zero weights per bin.
    """
    table = weight_distribution(views, names, path).to_pandas()
    table["weight"] = (table["low"] + table["high"]) / 2
    parts: list[hv.Element] = []
    for place, (id, name) in enumerate(names.items()):
        own = table[table["model_id"] == id]
        if place == 0:
            base = hv.Area(own, "weight", "share", label=name)
            parts.append(base.opts(color=MISSING, alpha=0.55, line_color=INK_3, line_width=1))
        else:
            curve = hv.Curve(own, "weight", "share", label=name)
            parts.append(curve.opts(color=SERIES[(place - 1) % len(SERIES)], line_width=1.8))
    return hv.Overlay(parts).opts(
        xlabel="Weight",
        ylabel="Share of non-zero weights",
        responsive=True,
        show_grid=True,
        legend_position="top",
        legend_cols=1,
        hooks=[_histogram_look],
    )


def _histogram_look(plot: Any, element: object) -> None:
    figure = plot.state
    figure.yaxis.formatter = tick_formatter("percent")
    figure.xaxis.formatter = tick_formatter("number")
    figure.y_range.start = 0
    for legend in figure.legend:
        legend.border_line_color, legend.background_fill_alpha = None, 0
        legend.label_text_font_size, legend.padding, legend.spacing = "11px", 0, 0


def _class_hover() -> HoverTool:
    rows = [
        ("Model", "@recipe"),
        ("Class", "@label_name"),
        ("Accuracy", "@accuracy{0.0 %} (base @base_accuracy{0.0 %})"),
        ("Change", "@points{+0.0} points"),
        ("Lost, gained", "@lost{0,0}, @gained{0,0}"),
        ("p (Holm)", "@holm_p{0.000}"),
    ]
    return HoverTool(tooltips=rows)
