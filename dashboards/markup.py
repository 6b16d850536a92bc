"""Small pieces of HTML that several pages use. Everything that comes from a store is escaped here."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from cc_ray.compare.labels import STEP
from cc_ray.wording import format_change, format_interval, format_value, is_nothing
from dashboards.snapshot import Metric, Row, Snapshot
from dashboards.state import short
from dashboards.theme import FONT, SEQUENTIAL, css

esc = html.escape
_WORD: Final = re.compile(r"\w+")
_COMMAND: Final = re.compile(r"`([^`]+)`")
_KEY = "color:var(--ink-2);padding-right:10px;white-space:nowrap"


def told(label: str, meaning: str, key: str = "") -> str:
    """A word that is explained when it is pointed at or focused; plain where there is nothing to explain."""
    if not meaning:
        return esc(label)
    return f'<span class="term" tabindex="0" data-tip="{esc(meaning)}"{_key(key)}>{esc(label)}</span>'


def info(meaning: str, key: str = "") -> str:
    """A mark that explains what stands before it."""
    said = esc(meaning)
    return f'<span class="info" tabindex="0" role="note" aria-label="{said}" data-tip="{said}"{_key(key)}>i</span>'


def tip(meaning: str) -> str:
    """The attribute of what is explained when it is pointed at or focused."""
    return f' data-tip="{esc(meaning)}"' if meaning else ""


def sentence(text: str, names: Mapping[str, str] | None = None) -> str:
    """A message of an error for people: begun as a sentence, commands set apart, models called by their names.

    Args:
        text: As `str(error)` gives it.
        names: Of models, by model_id.
    """
    known = names or {}
    called = _WORD.sub(lambda word: f"“{known[word[0]]}”" if word[0] in known else word[0], text)
    begun = called[:1].upper() + called[1:] if called.partition(" ")[0].isalpha() else called
    return _COMMAND.sub(r"<code>\1</code>", esc(begun))


def _key(key: str) -> str:
    """What keeps the focus when the part is drawn anew."""
    return f' data-key="{esc(key)}"' if key else ""


def unseen(text: str) -> str:
    """Words for those who hear the page."""
    return f'<span class="unseen">{esc(text)}</span>'


def brush(key: str, label: str, axis: tuple[float, float, int], written: str, name: str) -> str:
    """Attributes of an axis on which an interval is chosen.

    Args:
        key: `data-key`, which keeps the focus.
        label: What it is called.
        axis: Its ends, and in how many steps arrow keys lead along it.
        written: The interval kept, in words.
        name: What is reported as `model`.
    """
    low, high, bins = axis
    return (
        f'tabindex="0" role="slider" aria-label="{esc(label)}" aria-valuemin="{low!r}" aria-valuemax="{high!r}"'
        f' aria-valuenow="{low!r}" aria-valuetext="{esc(written)}" data-brush="{esc(name)}" data-low="{low!r}"'
        f' data-high="{high!r}" data-bins="{bins}" data-key="{esc(key)}"'
    )


def options(choices: Mapping[str, str], chosen: str) -> str:
    """The options of a `<select>`: labels by value."""
    return "".join(
        f'<option value="{esc(value)}"{" selected" if value == chosen else ""}>{esc(label)}</option>'
        for value, label in choices.items()
    )


def select(name: str, label: str, choices: Mapping[str, str], chosen: str, *, hint: str = "", seen: bool = True) -> str:
    """A labelled choice that reports `do="set"` with the name of a `State` parameter.

    Args:
        name: The parameter.
        label: What is chosen.
        choices: Labels by value.
        chosen: The present value.
        hint: What the present choice means.
        seen: Whether the label is seen; else it is only heard.
    """
    before = f"<span>{told(label, hint)}</span>" if seen else unseen(label)
    return (
        f'<label class="field">{before}'
        f'<select data-do="set" data-name="{name}" data-key="{name}">{options(choices, chosen)}</select></label>'
    )


def switch(name: str, choices: Mapping[str, str], chosen: str, hints: Mapping[str, str] | None = None) -> str:
    """A few choices side by side."""
    hints = hints or {}
    return '<span class="switch">{}</span>'.format(
        "".join(
            f'<button data-do="set" data-name="{name}" data-value="{esc(value)}" data-key="{name}-{esc(value)}"'
            f' aria-pressed="{str(value == chosen).lower()}"{tip(hints.get(value, ""))}>{esc(label)}</button>'
            for value, label in choices.items()
        )
    )


def tabs(name: str, options: Mapping[str, str], current: str, hints: Mapping[str, str] | None = None) -> str:
    """Views of a page, one in front; reports as `switch` does."""
    hints = hints or {}
    buttons = "".join(
        f'<button role="tab" data-do="set" data-name="{name}" data-value="{esc(value)}" data-key="{name}-{esc(value)}"'
        f'{tip(hints.get(value, ""))} aria-selected="{str(value == current).lower()}">{esc(label)}</button>'
        for value, label in options.items()
    )
    return f'<div class="tabs" role="tablist">{buttons}</div>'


def toggle(name: str, label: str, on: bool, hint: str = "") -> str:
    """A choice of yes or no."""
    return (
        f'<button class="toggle" data-do="set" data-name="{name}" data-value="{int(not on)}" data-key="{name}"'
        f' aria-pressed="{str(on).lower()}"{tip(hint)}>{esc(label)}</button>'
    )


def button(do: str, label: str, hint: str = "", *, kind: str = "") -> str:
    """Something to do."""
    return f'<button class="{kind}" data-do="{do}" data-key="{do}"{tip(hint)}>{esc(label)}</button>'


def value(row: Row, metric: Metric) -> str:
    """A metric's value of a row of `compare.models`, with its interval for those who point at it."""
    interval = format_interval(row.get(f"{metric.metric}_low"), row.get(f"{metric.metric}_high"), metric.format)
    hint = tip(f"95 % interval {interval}") if interval else ""
    return f"<span{hint}>{esc(format_value(row[metric.metric], metric.format))}</span>"


def change(difference: float | None, metric: Metric) -> str:
    """A difference with its sign, coloured by whether it is for the better."""
    if difference is None or math.isnan(difference):
        return ""
    written = format_change(difference, metric.format)
    kind = "even" if is_nothing(written) else verdict(difference, metric)
    return f'<span class="{kind}">{esc(written)}</span>'


def verdict(difference: float, metric: Metric) -> str:
    """CSS class for a change: good, bad or even."""
    if metric.direction == "none" or difference == 0:
        return "even"
    return "good" if (difference > 0) == (metric.direction == "higher") else "bad"


def relative(value: float | None, parent: float | None) -> float | None:
    """Change as a share of the parent's value; None where it cannot be said."""
    if value is None or not parent:
        return None
    return (value - parent) / parent


def recipe(snapshot: Snapshot, model_id: str) -> str:
    """A model's name, its steps as a trail."""
    *before, last = snapshot.labels.name(model_id).split(STEP)
    trail = "".join(f'<span>{esc(step)} <i class="arrow">›</i></span> ' for step in before)
    return f'<span class="recipe">{trail}<span>{esc(last)}</span></span>'


def lineage(snapshot: Snapshot, model_id: str) -> str:
    """A model's name, each ancestor in it to be selected."""
    trail, id = [], snapshot.models[model_id]["parent"]
    while id in snapshot.models:
        step = esc(snapshot.labels.last(id))
        trail.append(
            f'<span data-do="select" data-model="{id}" data-point="{id}">{step} <i class="arrow">›</i></span> '
        )
        id = snapshot.models[id]["parent"]
    return f'<span class="recipe">{"".join(reversed(trail))}<span>{esc(snapshot.labels.last(model_id))}</span></span>'


def tooltip(snapshot: Snapshot, model_id: str, shown: Sequence[str]) -> str:
    """What the pointer tells about a model: how it was made, and its metrics beside its parent's."""
    row = snapshot.models[model_id]
    parent = snapshot.models.get(row["parent"] or "")
    facts = "".join(_tip_fact(name, text) for name, text in snapshot.labels.given(model_id).items())
    names = dict.fromkeys([*(metric.metric for metric in snapshot.primary), *shown])
    lines = "".join(_tip_line(snapshot.metrics[name], row, parent) for name in names if name in snapshot.metrics)
    return (
        f'<div style="max-width:300px;font:12px {FONT};color:var(--ink)">'
        f'<div style="font-weight:600;margin-bottom:4px">{esc(snapshot.labels.last(model_id))}</div>'
        f'<table style="border-spacing:0 1px;font:11.5px {FONT}">'
        f'{facts}{lines}</table><div style="margin-top:4px;color:var(--ink-3)">{esc(short(model_id))}</div>'
        f"{_warnings(snapshot, model_id)}</div>"
    )


def brief_tooltip(snapshot: Snapshot, model_id: str, shown: Sequence[str]) -> str:
    """A model's last step and what is drawn of it, in few characters."""
    row = snapshot.models[model_id]
    lines = "".join(
        f"<br>{esc(snapshot.metrics[name].label)} {esc(format_value(row[name], snapshot.metrics[name].format))}"
        for name in shown
    )
    return f"<b>{esc(snapshot.labels.last(model_id))}</b>{lines}"


def _warnings(snapshot: Snapshot, model_id: str) -> str:
    notes = snapshot.findings.get(model_id, [])
    return "".join(f'<div style="margin-top:4px;color:var(--bad)">{esc(note)}</div>' for note in notes[:2])


def _tip_fact(name: str, text: str) -> str:
    return f'<tr><td style="{_KEY}">{esc(name)}</td><td>{esc(text)}</td></tr>'


def _tip_line(metric: Metric, row: Row, parent: Row | None) -> str:
    written = esc(format_value(row[metric.metric], metric.format))
    share = relative(row[metric.metric], parent[metric.metric]) if parent else None
    beside = ""
    if share is not None and abs(share) >= 0.005:
        colour = {"good": "good", "bad": "bad", "even": "ink-2"}[verdict(share, metric)]
        beside = f'<td style="color:var(--{colour});padding-left:8px">{percent(share)}</td>'
    return f'<tr><td style="{_KEY}">{esc(metric.label)}</td><td>{written}</td>{beside}</tr>'


def ramp(colours: Sequence[str] = SEQUENTIAL) -> str:
    """A scale as a CSS gradient."""
    stops = (css(colours[round(place)]) for place in np.linspace(0, len(colours) - 1, 9))
    return f"linear-gradient(90deg,{','.join(stops)})"


def percent(share: float | None) -> str:
    """A relative change with its sign."""
    if share is None:
        return ""
    written = f"{100 * share:+.{int(abs(share) < 0.1)}f} %".replace("-", "−")
    return f"±{written[1:]}" if is_nothing(written) else written
