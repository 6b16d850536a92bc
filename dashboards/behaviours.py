"""Tables of behaviours: how the answers of models differ from a base's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import pyarrow as pa

from cc_ray.compare.labels import points_text
from cc_ray.wording import NOTHING, format_value
from dashboards.chosen import Chosen, badge
from dashboards.markup import esc, recipe
from dashboards.snapshot import Row, Snapshot

TUG_PX: Final = 22
"""Length of the longest bar of lost or gained."""


def summary(snapshot: Snapshot, rows: Sequence[Row], now: Chosen) -> str:
    """A row a model: accuracy, its change with interval, flips both ways, and whether chance explains it."""
    reach = max((max(abs(row["difference_low"]), abs(row["difference_high"])) for row in rows), default=0) or 1
    most = max((max(row["lost"], row["gained"]) for row in rows), default=0) or 1
    lines = "".join(_line(snapshot, row, place, reach, most) for place, row in enumerate(rows))
    base = rows[0]["base_accuracy"]
    name, accuracy = esc(snapshot.labels.name(now.base)), format_value(base, "percent")
    return (
        f"<h2>Against the base <small>{name}, accuracy {accuracy} of {rows[0]['n']:,}"
        '</small></h2><table class="rows lens"><thead><tr><th>Model</th><th class="number">Accuracy</th>'
        f'<th class="number" title="Accuracy less the base\'s, with its paired bootstrap 95 % interval">Change</th>'
        '<th title="Right under the base only | right under the model only">Lost | gained</th>'
        '<th class="number optional" title="Share of instances right under one and wrong under the other">Flips</th>'
        '<th class="number" title="McNemar: chance of as uneven flips if neither model were better">p</th>'
        '<th class="number optional" title="Mean KL divergence from the base, in nats">KL</th></tr></thead>'
        f"<tbody>{lines}</tbody></table>"
    )


def changes(moved: Mapping[str, pa.Table]) -> str:
    """The most frequent changes of prediction of each model."""
    lines = "".join(
        f'<div class="moves">{badge(place)}{"".join(_move(row) for row in table.to_pylist())}</div>'
        for place, table in enumerate(moved.values())
        if len(table)
    )
    return f"<h3>Most frequent changes of prediction</h3>{lines}" if lines else ""


def _line(snapshot: Snapshot, row: Row, place: int, reach: float, most: int) -> str:
    verdict = "even" if row["mcnemar_p"] > 0.05 else "good" if row["difference"] > 0 else "bad"
    points, from_, to = (points_text(100 * row[f"difference{end}"]) for end in ("", "_low", "_high"))
    low, high = (50 + 50 * row[f"difference_{end}"] / reach for end in ("low", "high"))
    at = 50 + 50 * row["difference"] / reach
    divergence = NOTHING if row["kl_mean"] is None else f"{row['kl_mean']:.2g}"
    return (
        f'<tr><td><div class="named">{badge(place)}{recipe(snapshot, row["model_id"])}</div></td>'
        f'<td class="number">{format_value(row["accuracy"], "percent")}</td>'
        f'<td class="number {verdict}" title="95 % interval {from_} to {to} points">{points}'
        f'<span class="track zero"><i class="whisker" style="left:{low:.1f}%;width:{high - low:.1f}%"></i>'
        f'<i class="point {verdict}" style="left:{at:.1f}%"></i></span></td>'
        f"<td>{_tug(row['lost'], row['gained'], most)}</td>"
        f'<td class="number optional">{format_value(row["flips"], "percent")}</td>'
        f'<td class="number">{_p(row["mcnemar_p"])}</td>'
        f'<td class="number optional">{divergence}</td></tr>'
    )


def _tug(lost: int, gained: int, most: int) -> str:
    left, right = (TUG_PX * count / most for count in (lost, gained))
    return (
        f'<span class="tug"><span>{lost:,}</span><i class="lost" style="width:{left:.1f}px"></i>'
        f'<i class="gained" style="width:{right:.1f}px"></i><span>{gained:,}</span></span>'
    )


def _p(value: float) -> str:
    return "&lt; 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def _move(row: Row) -> str:
    kind = "bad" if row["lost"] > row["gained"] else "good" if row["gained"] > row["lost"] else "even"
    return (
        f'<span class="move {kind}" title="{row["share"]:.2%} of all instances">{esc(row["base_prediction_name"])}'
        f" → {esc(row['prediction_name'])} <b>{row['count']:,}</b></span>"
    )
