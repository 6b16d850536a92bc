"""What was done: the recipe of each model, on the Model Map and in words."""

from __future__ import annotations

from typing import Final

from cc_ray.compare.labels import STEP
from dashboards import markup
from dashboards.behaviour.view import mark
from dashboards.chosen import BASE_BADGE
from dashboards.legend import legend
from dashboards.markup import esc
from dashboards.report.plots import Plots
from dashboards.report.section import Section, selects
from dashboards.report.subject import Subject
from dashboards.state import short

MOST: Final = 24
"""Models whose parameters are written out; of more only the recipes."""


def recipes(subject: Subject, plots: Plots) -> Section:
    """The map with the models marked, then a row a model."""
    snapshot, encoding = subject.snapshot, subject.encoding
    colour = snapshot.metrics[encoding.colour].label if encoding.colour else ""
    keys = (
        f"{esc(colour)} {legend(snapshot, encoding.colour, 'colour')}" if colour else "",
        f"{esc(snapshot.metrics[encoding.size].label)} {legend(snapshot, encoding.size, 'size')}"
        if encoding.size
        else "",
    )
    drawn = (
        '<p class="hint">From base models on the left, step by step; the compared models are ringed.</p>'
        f'<p class="keys">{"".join(f"<span>{key}</span>" for key in keys if key)}</p>{plots.places["map"]}'
    )
    written = len(subject.now.ids) <= MOST
    rows = "".join(_row(subject, id, place, written) for place, id in enumerate(subject.models, -1))
    steps = "<th>Steps with their parameters</th>" if written else ""
    table = (
        f'<table class="rows"><thead><tr><th>Model</th>{steps}<th>Study</th><th>Identity</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )
    terms = {
        "Recipe": "The steps applied to a base model, in order; each step turns one model into a child model.",
        "Base": "The model that the others are compared with: ◆.",
        "Model Map": "The lineage: each model right of the one that it was made from.",
    }
    query = selects("SELECT model_id, name, operation, parameters, seed FROM models", subject.models)
    return Section(drawn + table, terms, {"Recipes": [query]})


def _row(subject: Subject, id: str, place: int, written: bool) -> str:
    snapshot = subject.snapshot
    badge = BASE_BADGE if place < 0 else mark(place)
    steps = f"<td>{_steps(subject, id)}</td>" if written else ""
    study = esc(snapshot.models[id]["study_id"] or "–")
    return (
        f'<tr data-of="{id}" data-point="{id}"><td><div class="named">{badge}{markup.recipe(snapshot, id)}</div></td>'
        f'{steps}<td class="soft">{study}</td><td><code>{short(id)}</code></td></tr>'
    )


def _steps(subject: Subject, id: str) -> str:
    """Each step on a line of its own, the first one first."""
    snapshot, lines = subject.snapshot, list[str]()
    at: str | None = id
    while at in snapshot.models:
        row = snapshot.models[at]
        if row["operation"] is not None:
            given = ", ".join(f"{name} {value}" for name, value in snapshot.labels.given(at).items())
            name = snapshot.labels.last(at).split(STEP)[-1]
            lines.append(f"<li><b>{esc(name)}</b> <small>{esc(given)}</small></li>")
        at = row["parent"]
    return f'<ol class="steps">{"".join(reversed(lines))}</ol>' if lines else '<span class="soft">a base model</span>'
