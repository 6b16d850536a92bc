"""What became of the base's answers: outcomes as bars, and the most frequent changes of prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cc_ray.wording import format_value
from dashboards.behaviour.asked import Asked
from dashboards.behaviour.terms import info
from dashboards.behaviour.view import choose, mark
from dashboards.markup import esc
from dashboards.snapshot import Row
from dashboards.state import short

LOOK = {
    ("right", "right"): ("right-kept", "Still right"),
    ("right", "wrong"): ("lost", "Lost"),
    ("wrong", "right"): ("gained", "Gained"),
    ("wrong", "same wrong"): ("same-wrong", "Wrong alike"),
    ("wrong", "other wrong"): ("other-wrong", "Wrong otherwise"),
}


def outcome_bars(asked: Asked, rows: Sequence[Row]) -> str:
    """A bar a model; what stayed right is cut off so that the rest can be seen."""
    by_model: dict[str, list[Row]] = {}
    for row in rows:
        by_model.setdefault(row["model_id"], []).append(row)
    widest = max((1 - each[0]["share"] for each in by_model.values()), default=0) or 1
    names = asked.names()
    lines = "".join(
        _bar(id, place, by_model[id], widest, names[id]) for place, id in enumerate(asked.now.ids) if id in by_model
    )
    keys = "".join(f'<span class="key"><i class="{look}"></i>{label}</span>' for look, label in list(LOOK.values())[1:])
    return (
        f"<h2 class=under-menu>What became of the base's answers {info('outcomes')} <small>what is not right under "
        f'both; the widest bar is {format_value(widest, "percent")} of all</small></h2><div class="keys">{keys}</div>'
        f'<div class="outcomes">{lines}</div>'
    )


def _bar(id: str, place: int, rows: Sequence[Row], widest: float, name: str) -> str:
    parts = "".join(
        f'<i class="{LOOK[row["base_outcome"], row["outcome"]][0]}" style="width:{100 * row["share"] / widest:.2f}%"'
        f' data-tip="{LOOK[row["base_outcome"], row["outcome"]][1]}: {row["count"]:,} ({row["share"]:.2%})"></i>'
        for row in rows[1:]
    )
    link = choose(f"flow-{id}", part="flips", focus=id, pair="")
    return (
        f'<div class="outcome" data-of="{id}"><button class="link" {link} data-tip="See how they flow">{mark(place)}'
        f'<span>{esc(name)}</span></button><span class="stacked">{parts}</span>'
        f'<span class="number">{format_value(1 - rows[0]["share"], "percent")}</span></div>'
    )


def moves(asked: Asked, moved: Mapping[str, Sequence[Row]]) -> str:
    """The most frequent changes of prediction of each model side by side."""
    lines = "".join(
        f'<div class="moves" data-of="{id}">{mark(place)}{"".join(_move(row, id) for row in rows)}</div>'
        for place, (id, rows) in enumerate(moved.items())
        if rows
    )
    left = len(asked.now.ids) - len(moved)
    rest = f" <small>of the first {len(moved)} models</small>" if left else ""
    return f"<h3>Most frequent changes of prediction {info('moves')}{rest}</h3>{lines}" if lines else ""


def _move(row: Row, id: str) -> str:
    kind = "bad" if row["lost"] > row["gained"] else "good" if row["gained"] > row["lost"] else "even"
    before, after = row["base_prediction"], row["prediction"]
    where = f"prediction = {before}"
    hint = f"{row['share']:.2%} of all instances; click for what the base calls so and models disagree on"
    link = choose(
        f"move-{short(id)}-{before}-{after}", part="instances", only="disagree", where=where, label="", kept=""
    )
    return (
        f'<button class="move {kind}" {link} data-tip="{hint}">{esc(row["base_prediction_name"])} → '
        f"{esc(row['prediction_name'])} <b>{row['count']:,}</b></button>"
    )
