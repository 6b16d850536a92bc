"""What was found when asking which modules a metric was lost in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import pyarrow as pa

from cc_ray.compare.asking import AMONG, known
from cc_ray.views import Views

BISECTIONS: Final = (
    "model_id", "parent_id", "metric", "tolerance", "model_value", "parent_value", "target", "proof", "modules",
    "value", "failing_size", "candidates", "left_out", "step", "evaluations", "at",
)  # fmt: skip


def bisections(views: Views, ids: Iterable[str] | None = None) -> pa.Table:
    """Which modules, put back to an ancestor's weights, bring a metric back: what `cc-ray bisect` found.

    A row per answer, the newest first. Columns:

    - model_id, parent_id (the ancestor), metric, tolerance (how far from the ancestor's value is near enough),
      model_value, parent_value, target (value to reach);
    - proof (smallest: no smaller set reaches the target; minimal: no member can be left out; none: no set was found),
      modules (paths of the set; empty where none is needed or none was found), value (with the set put back),
      failing_size (every set of so many modules or fewer falls short; -1: none was measured), candidates (modules, tied
      ones together, that differ and can be put back), left_out (paths of modules that cannot be put back), step (the
      step that does the same, JSON; null where none does), evaluations (sets that the answer rests on), at.

    Args:
        views: The store.
        ids: Only of these models; None for all.

    Raises:
        ModelNotFoundError: If the store has no such model.
    """
    among = "" if ids is None else f"WHERE model_id {AMONG}"
    columns = ", ".join(f'"{name}"' for name in BISECTIONS)
    text = f'SELECT {columns} FROM bisections {among} ORDER BY "at" DESC, model_id, metric'
    return views.sql(text, [] if ids is None else [known(views, ids)])
