"""The whole document: sections one below the other, with all that they need inside."""

from __future__ import annotations

import base64
import hashlib
import json
import string
from collections.abc import Callable, Sequence
from typing import Final

from cc_ray.errors import CcRayError
from dashboards.behaviour.view import failure, mark
from dashboards.chosen import BASE_BADGE
from dashboards.markup import esc
from dashboards.report.behaviours import behaviours
from dashboards.report.definitions import definitions, queries
from dashboards.report.differences import differences
from dashboards.report.layers import layers
from dashboards.report.metrics import metrics
from dashboards.report.plots import Plots, plots
from dashboards.report.recipes import recipes
from dashboards.report.section import Section
from dashboards.report.sentences import sentences
from dashboards.report.still import still
from dashboards.report.subject import Subject
from dashboards.report.trade_offs import trade_offs
from dashboards.theme import ASSETS, CSS, PAINTED

SECTIONS: Final[dict[str, tuple[str, Callable[[Subject, Plots], Section]]]] = {
    "short": ("In short", sentences),
    "recipes": ("What was done", recipes),
    "trade-offs": ("Trade-offs", trade_offs),
    "metrics": ("Metrics", metrics),
    "differences": ("Differences", differences),
    "behaviours": ("Behaviours", behaviours),
    "layers": ("Layers", layers),
}
"""Title and maker of each, by its place in the address."""
LAST: Final = {"definitions": "Definitions", "queries": "Queries"}
NAMED: Final = 12
"""Models that are named at the top."""
_SCRIPTS: Final = ("keys.js", "painter.js", "report.js")
_PAGE: Final = string.Template((ASSETS / "report.html").read_text())


def document(subject: Subject, tell: Callable[[str], None] = lambda title: None) -> str:
    """HTML of the report.

    Args:
        subject: What it is about.
        tell: Told the title of each section before it is made.
    """
    tell("Model Map")
    drawn = plots(subject)
    made: dict[str, Section] = {}
    for key, (title, make) in SECTIONS.items():
        tell(title)
        made[key] = _made(make, subject, drawn)
    titled = [(SECTIONS[key][0], section) for key, section in made.items()]
    bodies = {key: still(section.body) for key, section in made.items()}
    bodies |= {"definitions": definitions(made.values()), "queries": queries(titled)}
    titles = {key: title for key, (title, _) in SECTIONS.items()} | LAST
    own = [f"const PAINTS = {json.dumps(PAINTED)}", *((ASSETS / name).read_text() for name in _SCRIPTS)]
    scripts = [*drawn.scripts, "\n".join(own)]
    return _PAGE.substitute(
        policy=esc(policy(scripts)),
        title=esc(subject.title),
        style=f"{CSS}\n{(ASSETS / 'report.css').read_text()}",
        links="".join(f'<li><a href="#{key}">{title}</a></li>' for key, title in titles.items()),
        head=_head(subject),
        sections="".join(_section(key, title, bodies[key]) for key, title in titles.items()),
        scripts="".join(f"<script>{script}</script>" for script in scripts),
    )


def policy(scripts: Sequence[str]) -> str:
    """What the page may do: run these scripts alone, draw pictures that it holds, and reach nothing."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(each.encode()).digest()).decode()}'" for each in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def _made(make: Callable[[Subject, Plots], Section], subject: Subject, drawn: Plots) -> Section:
    """A section; where a question cannot be answered, why."""
    try:
        return make(subject, drawn)
    except CcRayError as error:
        return Section(failure(error))


def _section(key: str, title: str, body: str) -> str:
    return (
        f'<section id="{key}" aria-labelledby="title-{key}"><h2 class="title" id="title-{key}">{title}</h2>'
        f'<div class="body">{body}</div></section>'
    )


def _head(subject: Subject) -> str:
    snapshot, now = subject.snapshot, subject.now
    notes = "".join(f"<p>{esc(part)}</p>" for part in subject.notes.split("\n\n") if part.strip())
    models = "".join(_model(subject, id, place) for place, id in enumerate(subject.models[: NAMED + 1], -1))
    left = len(now.ids) - NAMED
    rest = f'<li class="soft">and {left} more, see Metrics</li>' if left > 0 else ""
    suggested = "" if now.selected else "<p class=hint>No model was named: these are the recommended ones.</p>"
    return (
        f"<h1>{esc(subject.title)}</h1>"
        f'<p class="soft">Store {esc(subject.store)} with {len(snapshot.models):,} models, version {subject.version}; '
        f'made <time datetime="{subject.made_at.isoformat()}">{subject.made_at:%Y-%m-%d %H:%M} UTC</time></p>'
        f'<div class="notes">{notes}</div>{suggested}<ul class="cast">{models}{rest}</ul>'
        f'<dl class="again"><div><dt>Make it again</dt><dd><code>{esc(subject.command)}</code></dd></div>'
        f"<div><dt>In the dashboard</dt><dd><code>{esc(subject.address)}</code> behind its address</dd></div></dl>"
    )


def _model(subject: Subject, id: str, place: int) -> str:
    badge = BASE_BADGE if place < 0 else mark(place)
    return f'<li data-of="{id}" data-point="{id}">{badge}<span>{esc(subject.snapshot.labels.name(id))}</span></li>'
