"""The flip matrix: for each two models, the instances right under the one and wrong under the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from cc_ray.compare.labels import letter
from dashboards.behaviour.asked import Asked
from dashboards.behaviour.view import mark
from dashboards.chosen import BASE_BADGE
from dashboards.markup import esc, ramp, told, unseen
from dashboards.snapshot import Row
from dashboards.state import short
from dashboards.theme import SEQUENTIAL, css, text_on

WITH_TEXT: Final = 16
"""With more models than this cells have no room for numbers."""
MEANING: Final = "Instances that the model of the row gets right and the model of the column gets wrong."


def flip_matrix(asked: Asked, rows: Sequence[Row], names: Mapping[str, str], pair: str) -> str:
    """HTML of the matrix; a cell shows its instances.

    Args:
        asked: Which models.
        rows: As `compare.flip_matrix` gives them.
        names: Short names by model_id.
        pair: The cell whose instances are shown, as the address has it.
    """
    ids = [asked.now.base, *asked.now.ids]
    lost = {(row["model_id"], row["other_id"]): row for row in rows}
    most = max((row["lost"] for row in rows), default=0) or 1
    crowded = len(ids) > WITH_TEXT
    heads = "".join(
        f'<th data-tip="{esc(asked.snapshot.labels.name(id))}">{"◆" if not place else letter(place - 1)}</th>'
        for place, id in enumerate(ids)
    )
    lines = []
    for place, id in enumerate(ids):
        badge = mark(place - 1) if place else BASE_BADGE
        full = esc(asked.snapshot.labels.name(id))
        name = f'<th scope="row" data-tip="{full}">{badge}<span>{esc(names[id])}</span></th>'
        cells = "".join(
            _cell(lost.get((id, other)), (place, column), most, pair, crowded=crowded)
            for column, other in enumerate(ids)
        )
        lines.append(f'<tr data-of="{id}">{name}{cells}</tr>')
    return (
        f'<div class="heat-head"><h2>{told("Flips between models", MEANING)} <small>right under the row, wrong under '
        'the column; a cell shows its instances</small></h2><span class="legend"><span>0</span>'
        f'<i class="ramp" style="background:{ramp()}"></i><span>{most:,}</span></span></div>'
        f'<div class="wide" data-scroll="matrix"><table class="heat matrix{" crowded" if crowded else ""}" data-cells>'
        f"<thead><tr><th>{unseen('Right under')}</th>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _cell(row: Row | None, at: tuple[int, int], most: int, pair: str, *, crowded: bool) -> str:
    if row is None:
        return '<td class="self"></td>'
    share = (row["lost"] / most) ** 0.5
    ground = SEQUENTIAL[round(255 * share)]
    colours = f"background:{css(ground)};color:{text_on(ground)}"
    text = "" if crowded else f"{row['lost']:,}"
    chosen = ' aria-selected="true"' if pair == f"{short(row['model_id'])},{short(row['other_id'])}" else ""
    right, wrong = ("◆" if not place else letter(place - 1) for place in at)
    return (
        f'<td style="{colours}" tabindex="{0 if at == (0, 1) else -1}" data-do="cell" data-at="{at[0]},{at[1]}"{chosen}'
        f' data-tip="{row["lost"]:,}: {right} right, {wrong} wrong">{text}</td>'
    )
