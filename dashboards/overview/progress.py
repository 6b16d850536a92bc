"""Progress: how much of what is possible the front beats, model by model, a line a study."""

from __future__ import annotations

from typing import Final

import pandas as pd

from cc_ray import compare
from cc_ray.errors import NotComparableError
from cc_ray.views import Views
from dashboards.drawing import hv
from dashboards.snapshot import Snapshot
from dashboards.theme import SERIES

MEANING: Final = (
    "Hypervolume: the volume of what the front beats, up to a fixed reference point. It grows whenever a new model is "
    "a better compromise; where a line is flat, the search found nothing new."
)


def progress(views: Views, objectives: list[str], studies: list[str]) -> hv.Overlay:
    """The hypervolume as a share of its last value, by number of models.

    Args:
        views: Of the store.
        objectives: Metrics.
        studies: Those with a line; none for one line of all models.

    Raises:
        NotComparableError: As `compare.hypervolume_history` does, or where no model adds anything.
    """
    found = {study or "all models": _history(views, objectives, study) for study in studies or [""]}
    histories = {name: history for name, history in found.items() if len(history)}
    top = max((float(history["hypervolume"].max()) for history in histories.values()), default=0.0)
    if not top > 0:
        raise NotComparableError(
            "no model is better than the reference point on every objective, so there is no volume to follow: choose "
            "other metrics for the axes."
        )
    lines = [
        hv.Curve(
            (history["number"], history["hypervolume"] / top), "Models", "Share of the final hypervolume", label=name
        )
        for name, history in histories.items()
    ]
    drawn = [
        line.opts(color=SERIES[place % len(SERIES)], line_width=2, interpolation="steps-post")
        for place, line in enumerate(lines)
    ]
    return hv.Overlay(drawn).opts(
        responsive=True, show_grid=True, legend_position="bottom_right", show_legend=len(lines) > 1, ylim=(0, 1.05)
    )


def _history(views: Views, objectives: list[str], study: str) -> pd.DataFrame:
    table = compare.hypervolume_history(views, objectives, study=study or None)
    found: pd.DataFrame = table.to_pandas()
    return found


def of_snapshot(snapshot: Snapshot, objectives: list[str]) -> hv.Overlay:
    """`progress` of a snapshot's studies.

    Raises:
        NotComparableError: As `progress` does.
    """
    studies = [study["study_id"] for study in snapshot.studies][: len(SERIES)]
    return progress(snapshot.views, objectives, studies)
