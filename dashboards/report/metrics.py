"""Metrics: every one of every model, with its interval, in tables that sort."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cc_ray import compare
from cc_ray.wording import format_interval, format_value
from dashboards.behaviour.view import mark
from dashboards.chosen import BASE_BADGE
from dashboards.details import findings
from dashboards.markup import esc
from dashboards.report.plots import Plots
from dashboards.report.section import Section, nothing, selects
from dashboards.report.subject import Subject
from dashboards.snapshot import Metric

ACROSS: Final = 6
"""Metrics side by side: as many as a printed page has room for."""
ARROWS: Final = {"higher": " ↑", "lower": " ↓"}


def metrics(subject: Subject, plots: Plots) -> Section:
    """Tables of at most `ACROSS` metrics, primary ones first, and what checks noticed."""
    snapshot, ids = subject.snapshot, subject.models
    there = [m for m in snapshot.metrics.values() if any(snapshot.models[id][m.metric] is not None for id in ids)]
    if not there:
        return Section(
            nothing("No metric is recorded of these models.", "<code>cc-ray run</code> measures what it makes.")
        )
    tables = "".join(_table(subject, there[first : first + ACROSS]) for first in range(0, len(there), ACROSS))
    noticed = findings(snapshot, compare.findings(snapshot.views, ids).to_pylist())
    lead = '<p class="hint">↑ more is better, ↓ less is better; small: 95 % interval. Click a head to sort.</p>'
    query = selects("SELECT model_id, metric, value, ci_low, ci_high, n FROM metrics", ids)
    terms = {m.label: m.meaning for m in there if m.meaning}
    terms["95 % interval"] = "An interval made in this way holds the true value in 95 of 100 evaluations."
    return Section(lead + tables + noticed, terms, {"Metrics": [query]})


def _table(subject: Subject, shown: Sequence[Metric]) -> str:
    heads = "".join(_head(m.label + ARROWS.get(m.direction, ""), m.meaning, place) for place, m in enumerate(shown, 1))
    rows = "".join(_row(subject, id, place, shown) for place, id in enumerate(subject.models, -1))
    first = _head("Model", "The last step, and what tells it from the others", 0)
    return f'<table class="rows sortable"><thead><tr>{first}{heads}</tr></thead><tbody>{rows}</tbody></table>'


def _head(label: str, meaning: str, place: int) -> str:
    kind = ' class="number"' if place else ""
    return (
        f'<th{kind}><button class="sorting" type="button" data-sort="{place}" data-tip="{esc(meaning or label)}">'
        f"{esc(label)}</button></th>"
    )


def _row(subject: Subject, id: str, place: int, shown: Sequence[Metric]) -> str:
    name = subject.names[id]
    badge = BASE_BADGE if place < 0 else mark(place)
    full = esc(subject.snapshot.labels.name(id))
    cells = "".join(_cell(subject, id, metric) for metric in shown)
    return (
        f'<tr data-of="{id}" data-point="{id}"><td data-value="{esc(name)}"><div class="named" data-tip="{full}">'
        f"{badge}<span>{esc(name)}</span></div></td>{cells}</tr>"
    )


def _cell(subject: Subject, id: str, metric: Metric) -> str:
    row = subject.snapshot.models[id]
    value = row[metric.metric]
    interval = format_interval(row[f"{metric.metric}_low"], row[f"{metric.metric}_high"], metric.format)
    sorted_by = "" if value is None else f' data-value="{value!r}"'
    return f'<td class="number"{sorted_by}>{esc(format_value(value, metric.format))}<small>{esc(interval)}</small></td>'
