"""Behaviours: how the answers of the models differ from the base's, in sum, by class, and in examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from cc_ray import compare
from dashboards.behaviour.asked import Asked
from dashboards.behaviour.averages import Averages, averages
from dashboards.behaviour.class_table import class_table
from dashboards.behaviour.flow import outcome_flows, sankey
from dashboards.behaviour.heat import heat_map
from dashboards.behaviour.outcomes import moves, outcome_bars
from dashboards.behaviour.sums import sums
from dashboards.behaviour.terms import TERMS
from dashboards.markup import esc
from dashboards.report import texts
from dashboards.report.examples import MOST, examples
from dashboards.report.plots import Plots
from dashboards.report.section import Section, asks, nothing
from dashboards.report.subject import Subject
from dashboards.state import short

IMPORT: Final = (
    "<code>cc-ray import predictions FILE</code> brings those of any model; <code>cc-ray run</code> records them."
)
DEFINED: Final = {
    "Change": "change", "Lost": "lost", "Gained": "gained", "Flips": "flips", "p": "p", "p (Holm), *": "holm",
    "KL": "kl", "Outcomes": "outcomes", "Slice": "slice",
}  # fmt: skip
"""Key of each term."""


def behaviours(subject: Subject, plots: Plots) -> Section:
    """Against the base: sums, outcomes, classes, and a few instances that were lost."""
    views, now = subject.snapshot.views, subject.now
    there = compare.answering(views, subject.models)
    if now.base not in there:
        return Section(nothing("No predictions of the base are recorded.", IMPORT))
    ids = tuple(id for id in now.ids if id in there)
    if not ids:
        return Section(nothing("No predictions of these models are recorded.", IMPORT))
    asked = replace(subject.asked, now=replace(now, ids=ids, selected=False))
    left = [subject.names[id] for id in now.ids if id not in ids]
    lead = nothing(f"No predictions are recorded of {esc(', '.join(left))}: left out here.", IMPORT) if left else ""
    if compare.generates(views, now.base):
        return texts.answers(asked, lead)
    terms = {label: TERMS[key] for label, key in DEFINED.items()}
    terms[asked.shown.label] = asked.shown.meaning
    return Section(lead + _drawn(asked), terms, _queries(asked))


def _drawn(asked: Asked) -> str:
    views, now = asked.snapshot.views, asked.now
    rows = compare.behaviours(views, now.ids, now.base).to_pylist()
    outcomes = compare.outcomes(views, now.ids, now.base).to_pylist()
    moved = {id: compare.prediction_changes(views, id, now.base).to_pylist() for id in now.shown}
    focus = asked.focus("")
    flows = outcome_flows(row for row in outcomes if row["model_id"] == focus)
    flow = f"<h2>Answers that changed under {esc(asked.names()[focus])}</h2>{sankey(flows)}" if flows else ""
    return (
        f'{sums(asked, rows)}<div class="halves"><div>{outcome_bars(asked, outcomes)}{moves(asked, moved)}</div>'
        f"<div>{flow}</div></div>{_classes(asked)}{examples(asked)}"
    )


def _classes(asked: Asked) -> str:
    """The table of as many models as have room, and the map of all."""
    found = averages(asked, "class")
    names = asked.names()
    if not found.groups:
        return '<p class="empty">No instance answers to the conditions of the address.</p>'
    few = _of(found, asked.now.shown)
    table = class_table(few, names, "", 0, selected=False)
    rest = len(asked.now.ids) - len(few.asked.now.ids)
    more = f" <small>the first {len(few.asked.now.ids)} models; the map has all</small>" if rest else ""
    head = f"<h2>{esc(asked.shown.label)} by class{more}</h2>{_conditions(asked)}"
    return f"{head}{table}{heat_map(found, names)}"


def _of(found: Averages, ids: Sequence[str]) -> Averages:
    return replace(found, asked=replace(found.asked, now=replace(found.asked.now, ids=tuple(ids))))


def _conditions(asked: Asked) -> str:
    """Which instances the address left over for the classes."""
    said = [f"where <code>{esc(asked.where)}</code>"] if asked.where else []
    said += ["in intervals of the measure"] if asked.between else []
    return f'<p class="hint">Only instances {" and ".join(said)}.</p>' if said else ""


def _queries(asked: Asked) -> dict[str, list[str]]:
    ids, base = asked.now.ids, short(asked.now.base)
    changes = [asks("prediction_changes", model=short(id), base=base) for id in asked.now.shown]
    return {
        "Against the base": [asks("behaviours", ids, base=base)],
        "Outcomes and changes of prediction": [asks("outcomes", ids, base=base), *changes],
        "By class": [_by_class(asked)],
        "Lost instances": [asks("instances", asked.now.shown, base=base, only="lost", sort="change", limit=str(MOST))],
    }


def _by_class(asked: Asked) -> str:
    chosen = {"where": asked.where} if asked.where else {}
    chosen |= {"measure": asked.measure, "base": short(asked.now.base), "by_class": "true"}
    return asks("measures", [asked.now.base, *asked.now.ids], **chosen)
