"""How the hypervolume of a study grew over its trials."""

from __future__ import annotations

from typing import Any, Final

import pyarrow as pa
from bokeh.models import HoverTool

from cc_ray import compare
from cc_ray.views import Views
from cc_ray.wording import format_value
from dashboards.axes import tick_formatter
from dashboards.drawing import hv
from dashboards.theme import SERIES

HEIGHT_PX: Final = 190
"""Height of the drawn chart."""


def history(views: Views, study: str, objectives: dict[str, str]) -> pa.Table:
    """The answer of `compare.hypervolume_history` by trial.

    Raises:
        NotComparableError: If the study has no objective, or its models are of several tasks.
    """
    return compare.hypervolume_history(views, objectives, study=study, by="trial")


def growth(grown: pa.Table) -> hv.Overlay:
    """The hypervolume after each trial.

    Args:
        grown: As `history` gives it.

    Returns:
        Curve (a staircase) and Points (the trials that made it larger).
    """
    table = grown.select(["number", "hypervolume", "gained", "models"]).to_pandas()
    curve = hv.Curve(table, "number", ["hypervolume", "gained", "models"])
    points = hv.Points(table[table["gained"] > 0], ["number", "hypervolume"], ["gained", "models"])
    return hv.Overlay(
        [
            curve.opts(color=SERIES[0], line_width=2, interpolation="steps-post"),
            points.opts(color=SERIES[0], size=6, tools=[_hover()]),
        ]
    ).opts(
        xlabel="Trials, in order of their end",
        ylabel="Hypervolume",
        responsive=True,
        show_grid=True,
        show_legend=False,
        padding=0.05,
        hooks=[_look],
    )


def said(grown: pa.Table) -> str:
    """The chart in a sentence, for those who do not see it."""
    gains = [row for row in grown.to_pylist() if row["gained"] > 0]
    if not gains:
        return "No trial has made the hypervolume larger yet."
    since = grown.num_rows - gains[-1]["number"]
    still = (
        f"it has not grown for {since} trial{'s' if since > 1 else ''}" if since else "the last trial made it larger"
    )
    return f"{format_value(gains[-1]['hypervolume'], 'count')} after {grown.num_rows} trials; {still}."


def _hover() -> HoverTool:
    rows = [("Trial", "@number"), ("Hypervolume", "@hypervolume{0.0000a}"), ("Gained", "@gained{0.0000a}")]
    return HoverTool(tooltips=[*rows, ("Models so far", "@models")])


def _look(plot: Any, element: object) -> None:
    plot.state.xaxis.formatter = tick_formatter("count")
    plot.state.yaxis.formatter = tick_formatter("count")
