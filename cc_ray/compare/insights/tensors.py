"""Rules about layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cc_ray.compare.asking import marks, rows
from cc_ray.compare.insights.evidence import literal
from cc_ray.compare.insights.insight import Insight
from cc_ray.compare.insights.scene import Scene
from cc_ray.compare.insights.steps import heals

COLLAPSED_DB: Final = 15.0
"""Below this a tensor's change is louder than a fifth of what it said."""
APART_DB: Final = 10.0
"""How far below its model's median a tensor stands out."""
MATRICES: Final = 4
"""A median over fewer tensors says nothing."""

_LOWEST: Final = """
    WITH changed AS (
        SELECT model_id, layer, tensor, sqnr_db
        FROM layers
        WHERE sqnr_db IS NOT NULL AND isfinite(sqnr_db) {only}
    )
    SELECT
        model_id, count(*) AS tensors, median(sqnr_db) AS median, min(sqnr_db) AS lowest,
        arg_min(layer, sqnr_db) AS layer, arg_min(tensor, sqnr_db) AS tensor
    FROM changed
    GROUP BY model_id
    HAVING tensors >= ? AND lowest < ? AND median - lowest >= ?
    ORDER BY model_id
"""


def sqnr_collapse(scene: Scene) -> Iterator[Insight]:
    """A tensor that compression damaged far more than the model's other tensors; training is there to change them."""
    if not scene.wanted:
        return
    some = len(scene.wanted) < 200
    text = _LOWEST.format(only=f"AND model_id IN {marks(scene.wanted)}" if some else "")
    about = set(scene.wanted)
    for row in rows(scene.views, text, [*(scene.wanted if some else []), MATRICES, COLLAPSED_DB, APART_DB]):
        if row["model_id"] not in about or heals(scene.models[row["model_id"]]["operation"]):
            continue
        below = row["median"] - row["lowest"]
        yield Insight(
            rule="sqnr_collapse",
            sentence=(
                f"{scene.called(row['model_id'])} hits {row['layer']} hardest: the SQNR of its {row['tensor']} is "
                f"{row['lowest']:.1f} dB, the median of all {row['tensors']} changed tensors {row['median']:.1f} dB."
            ),
            model_id=row["model_id"],
            kind="loss",
            effect=-below,
            unit="dB",
            bound=below,
            scale=20.0,
            facts={"lowest": row["lowest"], "median": row["median"], "tensors": float(row["tensors"])},
            evidence=(
                f"SELECT min(sqnr_db) FILTER (layer = {literal(row['layer'])} AND tensor = {literal(row['tensor'])}) "
                "AS lowest, median(sqnr_db) AS median, count(*) AS tensors FROM layers "
                f"WHERE model_id = {literal(row['model_id'])} AND sqnr_db IS NOT NULL AND isfinite(sqnr_db)"
            ),
            view="Layers",
        )
