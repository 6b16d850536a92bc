"""Similarity: every layer of a model beside every layer of the base."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final

import numpy as np
import panel as pn

from cc_ray import compare
from cc_ray.views import Views
from cc_ray.wording import format_value
from dashboards import markup
from dashboards.chosen import Chosen
from dashboards.components import Message
from dashboards.layer import shown
from dashboards.layer.answers import KEPT
from dashboards.layer.grid import Grid, Head, grid, legend, next_sort, order
from dashboards.layer.modules import search
from dashboards.layer.nothing import NO_LAYER
from dashboards.layer.terms import term
from dashboards.layer.view import Card, View
from dashboards.scales import ColourScale, Values
from dashboards.session import Session
from dashboards.snapshot import Row, Snapshot
from dashboards.state import short
from dashboards.theme import layout

WHOLE: Final = ColourScale(0.0, 1.0, False, False)
NEAREST: Final = 12
"""Layers listed beside the one picked."""


class Similarity(View):
    """The matrix on the left, what is most like the picked layer on the right."""

    name = "similarity"

    def __init__(self, session: Session, do: Callable[[Message], None]) -> None:
        super().__init__(session, do)
        self.matrix = Card(session, "cka-card", self._do)
        self.nearest = Card(session, "nearest-card", self._do)

    def part(self) -> pn.viewable.Viewable:
        """The matrix on the left, the nearest layers on the right."""
        return layout("layers-view", "similarity-view", children=[self.matrix.part, self.nearest.part])

    def update(self, changed: frozenset[str], now: Chosen) -> None:
        """Ask for what the change touches."""
        snapshot, chosen = self.session.snapshot, self.session.state.param.values()
        if changed & {"models", "snapshot", "other", "layers", "layer_sort", "model_sort"}:
            self.matrix.ask(partial(_draw, snapshot, now, chosen), self._show)
        for card in (self.matrix, self.nearest):
            card.menu.show(shown.similarity(beside(snapshot, now, chosen["other"]), now.base))
        if changed & {"models", "snapshot", "other", "layer"}:
            self.nearest.ask(partial(_nearest, snapshot, now, chosen), self._show_nearest)

    def _show(self, content: tuple[str, str]) -> None:
        self.matrix.head.content, self.matrix.body.content = content

    def _show_nearest(self, content: tuple[str, str]) -> None:
        self.nearest.head.content, self.nearest.body.content = content

    def _do(self, message: Message) -> None:
        state = self.session.state
        match message["do"]:
            case "pair":
                state.layer = message["row"]
            case "sort-rows":
                state.layer_sort = next_sort(state.layer_sort, message["by"])
            case "sort-columns":
                state.model_sort = next_sort(state.model_sort, message["by"])
            case _:
                self.do(message)


@lru_cache(KEPT)
def _similar(views: Views, model: str, base: str) -> dict[tuple[str, str], Row]:
    rows = compare.layer_similarity(views, model, base).to_pylist()
    return {(row["base_path"], row["path"]): row for row in rows}


def beside(snapshot: Snapshot, now: Chosen, other: str) -> str:
    """The model that is put beside the base: the one picked, else the first shown, else the base itself."""
    id = snapshot.known.get(other)
    of_one_task = id is not None and snapshot.models[id]["task_id"] == snapshot.models[now.base]["task_id"]
    return id if id is not None and of_one_task else (now.ids or (now.base,))[0]


def _draw(snapshot: Snapshot, now: Chosen, chosen: dict[str, str]) -> tuple[str, str]:
    model = beside(snapshot, now, chosen["other"])
    pairs = _similar(snapshot.views, model, now.base)
    head = _bar(snapshot, now, model, chosen, pairs)
    if not pairs:
        name = markup.esc(snapshot.labels.name(model))
        return head, f'<p class="empty">Not known: what the layers of {name} put out. Choose another model above.</p>'
    rows, columns = ([*dict.fromkeys(pair[which] for pair in pairs)] for which in (0, 1))
    if chosen["layers"]:
        rows, columns = (_matching(snapshot.views, paths, chosen["layers"]) for paths in (rows, columns))
    if not rows or not columns:
        return head, NO_LAYER
    values = np.array([[_number(pairs[row, column]["cka"]) for column in columns] for row in rows], float)
    down, across = _sorted(values, rows, columns, chosen)
    texts = [[format_value(value, "number") for value in line] for line in values[down][:, across].tolist()]
    return head, grid(
        Grid(
            do="pair",
            corner="◆ base ↓ · model →",
            rows=[Head(rows[at], f"◆ {rows[at]}", rows[at]) for at in down],
            columns=[Head(columns[at], columns[at], columns[at]) for at in across],
            values=values[down][:, across],
            texts=texts,
            scale=WHOLE,
            picked=(chosen["layer"], chosen["layer"]),
            sorted_rows=chosen["layer_sort"],
            sorted_columns=chosen["model_sort"],
        )
    )


def _sorted(values: Values, rows: list[str], columns: list[str], chosen: dict[str, str]) -> tuple[list[int], list[int]]:
    """Places of the rows and of the columns, in the order chosen."""
    down, across = list(range(len(rows))), list(range(len(columns)))
    if (column := chosen["layer_sort"].removeprefix("-")) in columns:
        down = order(values[:, columns.index(column)], chosen["layer_sort"])
    if (row := chosen["model_sort"].removeprefix("-")) in rows:
        across = order(values[rows.index(row)], chosen["model_sort"])
    return down, across


def _matching(views: Views, paths: list[str], pattern: str) -> list[str]:
    found = compare.matching(views, paths, pattern)
    return [path for path in paths if any(path == up or path.startswith(f"{up}.") for up in found)]


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _bar(snapshot: Snapshot, now: Chosen, model: str, chosen: dict[str, str], pairs: dict[tuple[str, str], Row]) -> str:
    ids = list(dict.fromkeys([*now.ids, model, now.base]))
    names = {short(id): snapshot.labels.name(id) for id in ids}
    base = markup.esc(snapshot.labels.name(now.base))
    return (
        f'<div class="bar"><span class="roomy">{markup.select("other", "Model", names, short(model))}</span>'
        f'<span class="soft">beside ◆ {base}</span>{search(chosen["layers"])}</div>{_keys(pairs)}'
    )


def _keys(pairs: dict[tuple[str, str], Row]) -> str:
    """What the colours mean, and over how much it was measured."""
    if not pairs:
        return ""
    sample = next(iter(pairs.values()))["instances"]
    said = f"{term('cka', 'CKA')} of outputs over {sample:,} instance{'s' if sample != 1 else ''}"
    return f'<div class="bar keys"><span>{said}</span> {legend(WHOLE, "number")}</div>'


def _nearest(snapshot: Snapshot, now: Chosen, chosen: dict[str, str]) -> tuple[str, str]:
    model, path = beside(snapshot, now, chosen["other"]), chosen["layer"]
    pairs = _similar(snapshot.views, model, now.base)
    own = [row for (base_path, _), row in pairs.items() if base_path == path and row["cka"] is not None]
    if not own:
        return (
            "<h2>Most alike</h2>",
            '<p class="empty">Pick a cell to see which layers its base layer is most like.</p>',
        )
    own.sort(key=lambda row: -row["cka"])
    lines = "".join(_line(row, path) for row in own[:NEAREST])
    return (
        f"<h2>Most like <code>{markup.esc(path)}</code> of the base</h2>",
        f'<table class="rows"><thead><tr><th>Layer of the model</th><th class="number">CKA</th></tr></thead>'
        f"<tbody>{lines}</tbody></table>",
    )


def _line(row: Row, path: str) -> str:
    same = ' <small class="soft">same layer</small>' if row["path"] == path else ""
    path, module = markup.esc(row["path"]), markup.esc(row["module"])
    return (
        f'<tr><td><code>{path}</code> <small class="soft">{module}</small>{same}</td>'
        f'<td class="number">{format_value(row["cka"], "number")}<span class="track"><i class="fill" '
        f'style="width:{100 * row["cka"]:.1f}%"></i></span></td></tr>'
    )
