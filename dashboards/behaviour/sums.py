"""Tables with a row a model: how its answers differ from the base's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cc_ray.compare.labels import points_text
from cc_ray.wording import NOTHING, format_change, format_interval, format_value
from dashboards.behaviour.asked import Asked
from dashboards.behaviour.terms import term
from dashboards.behaviour.view import mark
from dashboards.chosen import BASE_BADGE
from dashboards.markup import esc, recipe
from dashboards.snapshot import Row

TUG_PX: Final = 22
"""Length of the longest bar of lost or gained."""
PRECISION: Final = 0.05


def sums(asked: Asked, rows: Sequence[Row]) -> str:
    """A row a model: accuracy, its change with interval, flips both ways, and whether chance explains it."""
    now = asked.now
    reach = max((max(abs(row["difference_low"]), abs(row["difference_high"])) for row in rows), default=0) or 1
    most = max((max(row["lost"], row["gained"]) for row in rows), default=0) or 1
    lines = "".join(_line(asked, row, place, reach, most) for place, row in enumerate(rows))
    name, accuracy = esc(asked.snapshot.labels.name(now.base)), format_value(rows[0]["base_accuracy"], "percent")
    return (
        f"<h2 class=under-menu>Against the base <small>{name}, accuracy {accuracy} of {rows[0]['n']:,}</small></h2>"
        '<table class="rows lens"><thead><tr><th>Model</th><th class="number">Accuracy</th>'
        f'<th class="number">{term("Change", "change")}</th>'
        f'<th class="centred">{term("Lost | gained", "lost_gained")}</th>'
        f'<th class="number optional">{term("Flips", "flips")}</th><th class="number">{term("p", "p")}</th>'
        f'<th class="number optional">{term("KL", "kl")}</th>'
        f"<td></td></tr></thead><tbody>{lines}</tbody></table>"
    )


def _line(asked: Asked, row: Row, place: int, reach: float, most: int) -> str:
    verdict = "even" if row["mcnemar_p"] > PRECISION else "good" if row["difference"] > 0 else "bad"
    points, from_, to = (points_text(100 * row[f"difference{end}"]) for end in ("", "_low", "_high"))
    low, high = (50 + 50 * row[f"difference_{end}"] / reach for end in ("low", "high"))
    at = 50 + 50 * row["difference"] / reach
    divergence = NOTHING if row["kl_mean"] is None else f"{row['kl_mean']:.2g}"
    return (
        f'<tr data-of="{row["model_id"]}"><td><div class="named">{mark(place)}'
        f"{recipe(asked.snapshot, row['model_id'])}</div></td>"
        f'<td class="number">{format_value(row["accuracy"], "percent")}</td>'
        f'<td class="number {verdict}" data-tip="95 % interval {from_} to {to} points">{points}'
        f'<span class="track zero"><i class="whisker" style="left:{low:.1f}%;width:{high - low:.1f}%"></i>'
        f'<i class="point {verdict}" style="left:{at:.1f}%"></i></span></td>'
        f"<td>{tug(row['lost'], row['gained'], most)}</td>"
        f'<td class="number optional">{format_value(row["flips"], "percent")}</td>'
        f'<td class="number">{chance(row["mcnemar_p"])}</td>'
        f'<td class="number optional">{divergence}</td><td class="number">{cross(asked, row["model_id"])}</td></tr>'
    )


def cross(asked: Asked, model_id: str) -> str:
    """The way to leave a model out, where models were selected."""
    if not asked.now.selected:
        return ""
    return (
        f'<button class="cross" data-do="drop" data-model="{model_id}" data-key="out-{model_id}"'
        ' aria-label="Leave out">×</button>'
    )


def tug(lost: int, gained: int, most: int) -> str:
    """Lost to the left, gained to the right."""
    left, right = (TUG_PX * count / most for count in (lost, gained))
    return (
        f'<span class="tug"><span>{lost:,}</span><i class="lost" style="width:{left:.1f}px"></i>'
        f'<i class="gained" style="width:{right:.1f}px"></i><span>{gained:,}</span></span>'
    )


def chance(value: float | None) -> str:
    """A p-value."""
    if value is None:
        return NOTHING
    return "&lt; 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def text_sums(asked: Asked, rows: Sequence[Row]) -> str:
    """A row a model that generates text, the base's first."""
    columns = (
        ("Perplexity", "perplexity", "perplexity", "number"),
        ("Exact match", "exact_match", "exact_match", "percent"),
        ("F1", "f1", "f1", "percent"),
        ("KL per token", "kl_mean", "kl", "number"),
        ("Same top token", "same_top", "same_top", "percent"),
    )
    others = [row for row in rows if row["model_id"] != asked.now.base]
    there = [column for column in columns if any(row[column[1]] is not None for row in others)]
    heads = "".join(f'<th class="number">{term(label, meaning)}</th>' for label, _, meaning, _ in there)
    most = max((max(row["lost"] or 0, row["gained"] or 0) for row in rows), default=0) or 1
    lines = "".join(_text_line(asked, row, place, there, most) for place, row in enumerate(rows, -1))
    return (
        f"<h2>Generated text <small>{rows[0]['n']:,} instances</small></h2>"
        f'<table class="rows lens"><thead><tr><th>Model</th>{heads}<th class="number">{term("F1 change", "f1")}</th>'
        f'<th class="centred">{term("Lost | gained", "lost_gained")}</th><th class="number">{term("p", "p")}</th>'
        f"<td></td></tr></thead><tbody>{lines}</tbody></table>"
    )


def _text_line(asked: Asked, row: Row, place: int, columns: Sequence[tuple[str, str, str, str]], most: int) -> str:
    values = "".join(_number(row, name, kind) for _, name, _, kind in columns)
    is_base = row["model_id"] == asked.now.base
    named = (
        f'<div class="named">{BASE_BADGE if is_base else mark(place)}{recipe(asked.snapshot, row["model_id"])}</div>'
    )
    change = row["f1_difference"]
    verdict = "even" if not change else "good" if change > 0 else "bad"
    beside = (
        '<td colspan="4" class="soft number">base</td>'
        if is_base
        else (
            f'<td class="number {verdict}">{format_change(change, "percent")}</td>'
            f"<td>{tug(row['lost'] or 0, row['gained'] or 0, most)}</td>"
            f'<td class="number">{chance(row["mcnemar_p"])}</td><td class="number">{cross(asked, row["model_id"])}</td>'
        )
    )
    return f'<tr data-of="{row["model_id"]}"><td>{named}</td>{values}{beside}</tr>'


def _number(row: Row, name: str, kind: str) -> str:
    interval = format_interval(row.get(f"{name}_low"), row.get(f"{name}_high"), kind)
    hint = f' data-tip="95 % interval {interval}"' if interval else ""
    return f'<td class="number"{hint}>{format_value(row[name], kind)}</td>'
