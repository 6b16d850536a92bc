"""Layers: what happened to each module, a map for each measure."""

from __future__ import annotations

from typing import Final

import numpy as np

from cc_ray import compare
from dashboards.chosen import BASE_BADGE, badge
from dashboards.layer.grid import Grid, Head, grid, legend
from dashboards.layer.measures import MEASURES, Matrix, Measure, matrix
from dashboards.layer.terms import TERMS, info
from dashboards.markup import esc
from dashboards.report.plots import Plots
from dashboards.report.section import Section, asks, nothing
from dashboards.report.subject import Subject
from dashboards.scales import Values, colour_scale
from dashboards.state import short

SHOWN: Final = ("sparsity", "effective_bits", "relative_change", "output_sqnr_db")
MOST: Final = 60
"""Layers that are shown: those that changed most."""


def layers(subject: Subject, plots: Plots) -> Section:
    """A map a measure: layers down, the base and as many models as have room across."""
    views, now = subject.snapshot.views, subject.now
    ids = (now.base, *now.shown)
    found = {name: matrix(views, ids, now.base, MEASURES[name]) for name in SHOWN}
    known = {name: whole for name, whole in found.items() if np.isfinite(whole.values).any()}
    if not known:
        remedy = (
            "<code>cc-ray run</code> records them of every model that it makes, <code>log_model(…, module=…)</code> of "
            "any other."
        )
        return Section(nothing("Nothing is recorded of the layers of these models.", remedy))
    maps = "".join(_map(subject, MEASURES[name], whole) for name, whole in known.items())
    absent = [MEASURES[name].title for name in SHOWN if name not in known]
    rest = f'<p class="soft">Not recorded of these models: {esc(", ".join(absent).lower())}.</p>' if absent else ""
    left = len(now.ids) - len(now.shown)
    more = f'<p class="hint">The base and the first {len(now.shown)} models.</p>' if left else ""
    terms = {MEASURES[name].title: TERMS[MEASURES[name].term] for name in known}
    base = short(now.base)
    queries = [asks("layer_tree", now.shown, base=base), asks("activation_changes", now.shown, base=base)]
    return Section(f'{more}<div class="maps">{maps}</div>{rest}', terms, {"Layers": queries})


def _map(subject: Subject, measure: Measure, whole: Matrix) -> str:
    first = int(measure.compared)
    rows = _chosen(subject, whole, first)
    values = whole.values[rows][:, first:]
    scale = colour_scale(values)
    badges = [BASE_BADGE, *(badge(place) for place in range(len(whole.ids) - 1))][first:]
    texts = [whole.texts[at][first:] for at in rows]
    shown = Grid(
        do="",
        corner=f"{len(rows)} of {len(whole.paths)} layers" if len(rows) < len(whole.paths) else f"{len(rows)} layers",
        rows=[Head(whole.paths[at], whole.paths[at], whole.paths[at]) for at in rows],
        columns=[
            Head(short(id), subject.snapshot.labels.name(id), "", mark)
            for id, mark in zip(whole.ids[first:], badges, strict=True)
        ],
        values=values,
        texts=texts,
        scale=scale,
        inside=[[_brief(text) for text in line] for line in texts],
    )
    keys = legend(scale, measure.form, equal=measure.column == "sqnr_db")
    return f'<div><h2>{esc(measure.title)} {info(measure.term)}</h2><p class="keys">{keys}</p>{grid(shown)}</div>'


def _chosen(subject: Subject, whole: Matrix, first: int) -> list[int]:
    """Places of layers with a value that the address's pattern lets through; of many the ones that differ most."""
    pattern, paths = subject.state.layers, list(whole.paths)
    if pattern:
        matched = set(compare.matching(subject.snapshot.views, paths, pattern))
        paths = [path for path in paths if any(path == up or path.startswith(f"{up}.") for up in matched)]
    values = whole.values[:, first:]
    places = [whole.paths.index(path) for path in paths]
    places = [at for at in places if not np.isnan(values[at]).all()]
    if len(places) <= MOST:
        return places
    spread = [_spread(whole.values[at]) for at in places]
    largest = sorted(range(len(places)), key=lambda at: -spread[at])[:MOST]
    return [places[at] for at in sorted(largest)]


def _spread(values: Values) -> float:
    known = values[np.isfinite(values)]
    return float(known.max() - known.min()) if len(known) else -1.0


def _brief(text: str) -> str:
    """What a small cell has room for."""
    return text if len(text) <= 9 else {"equal to the base": "equal"}.get(text, "–")
