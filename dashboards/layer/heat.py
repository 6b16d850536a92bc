"""Heat map: one measure of every layer of many models, and the cell picked in detail."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import panel as pn

from cc_ray import compare
from dashboards import markup
from dashboards.chosen import Chosen
from dashboards.components import Message
from dashboards.layer import shown
from dashboards.layer.detail import cell_detail
from dashboards.layer.grid import Grid, Head, grid, legend, next_sort, order
from dashboards.layer.measures import MEASURES, Matrix, matrix
from dashboards.layer.modules import search
from dashboards.layer.nothing import NO_LAYER
from dashboards.layer.terms import info
from dashboards.layer.view import Card, View
from dashboards.scales import colour_scale
from dashboards.session import Session
from dashboards.snapshot import Snapshot
from dashboards.state import State, short
from dashboards.theme import layout

MOST: Final = 150
"""Models drawn at most; a search brings others."""
REDRAWN: Final = frozenset(
    {"models", "snapshot", "heat", "spread", "layers", "model_search", "layer_sort", "model_sort"}
)


class Heat(View):
    """The map on the left, the picked cell on the right."""

    name = "heat"

    def __init__(self, session: Session, do: Callable[[Message], None]) -> None:
        super().__init__(session, do)
        self.map = Card(session, "heat-card", self._do)
        self.picked = Card(session, "cell-card", self._do)

    def part(self) -> pn.viewable.Viewable:
        """The map on the left, the picked cell on the right."""
        return layout("layers-view", "heat-view", children=[self.map.part, self.picked.part])

    def update(self, changed: frozenset[str], now: Chosen) -> None:
        """Ask for what the change touches."""
        session, state = self.session, self.session.state
        if changed & REDRAWN:
            self.map.head.content = _bar(state)
            self.map.ask(partial(_draw, session.snapshot, now, state.param.values()), self._show)
        ids = candidates(session.snapshot, now, state.spread, state.model_search)[:MOST]
        self.map.menu.show(shown.heat_map(ids, now.base, MEASURES.get(state.heat) or MEASURES["sparsity"]))
        self.picked.menu.show(shown.cell(session.snapshot.known.get(state.other), now.base, state.layer))
        if changed & {"models", "layer", "other"}:
            work = partial(cell_detail, session.snapshot, now.base, state.other, state.layer, tuple(ids))
            self.picked.ask(work, self._detail)

    def _show(self, content: tuple[str, str]) -> None:
        keys, self.map.body.content = content
        self.map.head.content = _bar(self.session.state, keys)

    def _detail(self, content: tuple[str, str]) -> None:
        self.picked.head.content, self.picked.body.content = content

    def _do(self, message: Message) -> None:
        state = self.session.state
        match message["do"]:
            case "cell":
                state.param.update(layer=message["row"], other=message["column"])
            case "sort-rows":
                state.layer_sort = next_sort(state.layer_sort, message["by"])
            case "sort-columns":
                state.model_sort = next_sort(state.model_sort, message["by"])
            case "open":
                id = self.session.snapshot.known[message["model"]]
                state.param.update(selection=[id], layer_view="modules", visual="weights")
            case _:
                self.do(message)


def candidates(snapshot: Snapshot, now: Chosen, spread: str, text: str) -> list[str]:
    """The models that the map could show: those selected, or all that come from the same base model."""
    root = snapshot.models[now.base]["root"]
    ids = list(now.ids) if spread == "selected" else [id for id, row in snapshot.models.items() if row["root"] == root]
    return [id for id in ids if text.lower() in snapshot.labels.name(id).lower()]


def _draw(snapshot: Snapshot, now: Chosen, chosen: dict[str, str]) -> tuple[str, str]:
    """The key of the colours and the map."""
    found = candidates(snapshot, now, chosen["spread"], chosen["model_search"])
    ids = tuple(found[:MOST])
    if not ids:
        return "", _none(chosen)
    measure = MEASURES.get(chosen["heat"]) or MEASURES["sparsity"]
    whole = matrix(snapshot.views, ids, now.base, measure)
    paths = compare.matching(snapshot.views, whole.paths, chosen["layers"]) if chosen["layers"] else whole.paths
    rows = [place for place, path in enumerate(whole.paths) if _within(path, paths)]
    if not rows:
        return "", NO_LAYER
    drawn = _grid(snapshot, whole, rows, chosen)
    scale = colour_scale(drawn.values)
    note = f'<span class="hint">{MOST} of {len(found):,} models: search to see others.</span>'
    keys = f"{legend(scale, measure.form, equal=measure.column == 'sqnr_db')}{note if len(found) > MOST else ''}"
    return keys, grid(drawn)


def _grid(snapshot: Snapshot, whole: Matrix, rows: list[int], chosen: dict[str, str]) -> Grid:
    keys = [short(id) for id in whole.ids]
    by_model, by_path = chosen["layer_sort"], chosen["model_sort"]
    column = by_model.removeprefix("-")
    if column in keys:
        rows = [rows[at] for at in order(whole.values[rows, keys.index(column)], by_model)]
    columns, path = list(range(len(keys))), by_path.removeprefix("-")
    if path in whole.paths:
        columns = order(whole.values[whole.paths.index(path)], by_path)
    values = whole.values[rows][:, columns]
    return Grid(
        do="cell",
        corner=f"{len(rows)} layers × {len(keys)} models",
        rows=[Head(whole.paths[at], whole.paths[at], whole.paths[at]) for at in rows],
        columns=[
            Head(keys[at], snapshot.labels.name(whole.ids[at]), _brief(snapshot, whole.ids[at])) for at in columns
        ],
        values=values,
        texts=[[whole.texts[row][at] for at in columns] for row in rows],
        scale=colour_scale(values),
        picked=(chosen["layer"], chosen["other"]),
        sorted_rows=by_model,
        sorted_columns=by_path,
    )


def _brief(snapshot: Snapshot, id: str) -> str:
    """The steps in few words."""
    steps = []
    while id in snapshot.models:
        steps.append(snapshot.labels.brief(id))
        id = snapshot.models[id]["parent"]
    return " › ".join(reversed(steps[:-1])) or steps[0]


def _within(path: str, found: list[str]) -> bool:
    return any(path == up or path.startswith(f"{up}.") for up in found)


def _none(chosen: dict[str, str]) -> str:
    if chosen["model_search"]:
        return (
            f'<p class="empty">No model has “{markup.esc(chosen["model_search"])}” in its name. Shorten the text.</p>'
        )
    return '<p class="empty">Select models besides the base on the Overview, or show all models.</p>'


def _bar(state: State, keys: str = "") -> str:
    titles = {name: measure.title for name, measure in MEASURES.items()}
    spreads = {"all": "All models", "selected": "Selected"}
    hints = {"all": "All models that come from the base's base model", "selected": "Those above"}
    measure = MEASURES.get(state.heat) or MEASURES["sparsity"]
    return (
        f'<div class="bar">{markup.select("heat", "Measure", titles, state.heat)}{info(measure.term)}'
        f"{markup.switch('spread', spreads, state.spread, hints)}{search(state.layers)}"
        '<label class="field"><span>Models</span><input type="text" data-do="set" data-name="model_search"'
        f' data-key="model_search" placeholder="e.g. pruning 0.5" value="{markup.esc(state.model_search)}"'
        f' spellcheck="false"></label></div><div class="bar keys">{keys}</div>'
    )
