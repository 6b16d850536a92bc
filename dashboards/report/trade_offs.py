"""Trade-offs: two metrics against each other with the front, and the best compromises of all objectives."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from dashboards.details import recommended
from dashboards.markup import esc
from dashboards.report.plots import Plots
from dashboards.report.section import Section, nothing
from dashboards.report.subject import Subject
from dashboards.trade_offs import judged


def trade_offs(subject: Subject, plots: Plots) -> Section:
    """The scatterplot, then a row for each of the best compromises."""
    if "trade-offs" not in plots.places:
        return Section(
            nothing("There are no two metrics to trade off.", "<code>cc-ray run</code> measures what it makes.")
        )
    snapshot, encoding = subject.snapshot, subject.encoding
    x, y = (snapshot.metrics[name] for name in (encoding.x, encoding.y))
    front = judged(snapshot.views, x.metric, y.metric)
    key = '<span class="front-key">front, with 95 % intervals</span> ' if front else ""
    drawn = (
        f'<p class="hint">{esc(y.label)} against {esc(x.label.lower())} of all models; the compared ones are ringed. '
        f"Drag to zoom, tap a model to see it on the map, too. {key}</p>{plots.places['trade-offs']}"
    )
    terms = {
        "Front": "The models that no other one beats in both metrics. With intervals: beats beyond the noise.",
        "Recommended": "The models that no other one beats on every objective of the newest study.",
    }
    objectives = [metric.metric for metric in snapshot.objectives]
    queries = {"Front": [_asks("front", [x.metric, y.metric])]} if front else {}
    queries |= {"Recommended models": [_asks("recommendations", objectives)]} if objectives else {}
    return Section(drawn + recommended(snapshot), terms, queries)


def _asks(question: str, objectives: Sequence[str]) -> str:
    return shlex.join(["cc-ray", "ask", question, *(f"objectives={metric}" for metric in objectives)])
