"""Marks for models that several plots share: colour, size and outline."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from dashboards.scales import UNCOLOURED, colour_scale, column, constant, sizes
from dashboards.theme import ACCENT, INK

BESIDE: Final = "beside"
"""Name of renderers whose points are no models, but marks on them."""
LOOK: Final[dict[str, Any]] = {
    "line_color": INK,
    "line_alpha": 0.35,
    "line_width": 1,
    "selection_line_alpha": 1,
    "selection_line_color": ACCENT,
    "selection_line_width": 3,
    "nonselection_alpha": 0.3,
}


def marks(models: pa.Table, colour: str, size: str, extent: tuple[float, float]) -> pd.DataFrame:
    """A row per model: model_id, colour, size (its diameter in pixels).

    Args:
        models: As `compare.models` gives them.
        colour: Metric shown as colour; "" for none.
        size: Metric shown as area; "" for none.
        extent: Diameters of the smallest and the largest model.
    """
    count = len(models)
    found = pd.DataFrame({"model_id": models["model_id"].to_pylist()})
    values = column(models[colour].to_pylist()) if colour else np.full(count, np.nan)
    found["colour"] = colour_scale(values)(values) if colour else constant(UNCOLOURED, count)
    measured = column(models[size].to_pylist()) if size else np.full(count, np.nan)
    found["size"] = sizes(measured, *extent)
    return found
