"""A metric against how strongly one layer at a time is compressed: a HoloViews element, for notebooks too."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from bokeh.models import HoverTool, Line, Patch
from bokeh.models.renderers import GlyphRenderer
from bokeh.plotting import figure as Figure

from cc_ray.compare.labels import title
from dashboards.axes import axis_title, tick_formatter
from dashboards.drawing import hv
from dashboards.layer.series import Series
from dashboards.snapshot import Metric
from dashboards.theme import ACCENT, INK_2, MISSING

COLUMNS: Final = ["pattern", "level", "value", "ci_low", "ci_high", "parent_value"]


def sensitivity_curves(series: Series, metric: Metric, picked: str = "") -> hv.Overlay:
    """A line per layer.

    Args:
        series: What was measured.
        metric: What it was measured with.
        picked: The layer that stands out, with its 95 % intervals.

    Returns:
        Contours (all layers), HLine (the model as it is), Area (intervals of the picked layer) and Curve (the picked
        layer).
    """
    table = _measured(series)
    lines = [
        {"level": part["level"].to_numpy(), "value": part["value"].to_numpy(float), "layer": layer}
        for layer, part in table.groupby("pattern", sort=False)
    ]
    own = table[table["pattern"] == picked]
    band = own[["level", "ci_low", "ci_high"]].dropna().astype(float)
    whole = float(table["parent_value"].iloc[0]) if len(table) else np.nan
    return hv.Overlay(
        [
            hv.Contours(lines, ["level", "value"], "layer").opts(color=MISSING, line_width=1.4, tools=[_hover(metric)]),
            hv.HLine(whole).opts(color=INK_2, line_width=1, line_dash="dashed"),
            hv.Area(band, "level", ["ci_low", "ci_high"]).opts(color=ACCENT, alpha=0.14, line_width=0),
            hv.Curve(own[["level", "value"]], "level", "value").opts(color=ACCENT, line_width=2.4),
        ]
    ).opts(
        xlabel=title(series.parameter) if series.parameter else "",
        ylabel=axis_title(metric.label, metric.format),
        responsive=True,
        show_legend=False,
        show_grid=True,
        padding=(0.04, 0.08),
        hooks=[_axes(series, metric)],
    )


def bring_out(figure: Figure, series: Series, picked: str) -> None:
    """Let another layer stand out in a figure of `sensitivity_curves` that is on the screen."""
    table = _measured(series)
    own = table[table["pattern"] == picked]
    band = own[["level", "ci_low", "ci_high"]].dropna().astype(float)
    line, area = (_drawn(figure, kind) for kind in (Line, Patch))
    line.data_source.data = {"level": own["level"].to_numpy(), "value": own["value"].to_numpy(float)}
    area.data_source.data = {
        "x": np.concatenate([band["level"], band["level"][::-1]]),
        "y": np.concatenate([band["ci_low"], band["ci_high"][::-1]]),
    }


def _drawn(figure: Figure, kind: type) -> Any:
    drawn = (one for one in figure.renderers if isinstance(one, GlyphRenderer))
    return next(one for one in drawn if isinstance(one.glyph, kind))


def _measured(series: Series) -> pd.DataFrame:
    table = pd.DataFrame([row for row in series.rows if row["value"] is not None], columns=COLUMNS)
    table["level"] = table["level"].astype(float).fillna(0.0)
    return table.sort_values("level")


def _hover(metric: Metric) -> HoverTool:
    return HoverTool(tooltips=[("Layer", "@layer")], line_policy="nearest")


def _axes(series: Series, metric: Metric) -> Any:
    def set_axes(plot: Any, element: object) -> None:
        levels = [level for level in series.levels if level is not None]
        plot.state.yaxis.formatter = tick_formatter(metric.format)
        plot.state.xaxis.formatter = tick_formatter("number")
        plot.state.xaxis.ticker = levels
        plot.state.xgrid.ticker = plot.state.xaxis[0].ticker

    return set_axes
