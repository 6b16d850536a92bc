"""Instances: the images and texts themselves, with every model's answer, chosen and sorted in many ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from panel.viewable import Viewable

from cc_ray import compare
from dashboards import markup
from dashboards.behaviour import shown
from dashboards.behaviour.asked import Asked
from dashboards.behaviour.controls import filters, measure_choice
from dashboards.behaviour.histogram import histogram
from dashboards.behaviour.terms import info
from dashboards.behaviour.view import MODELS, View, choose, grid, mark
from dashboards.gallery import PAGE, gallery
from dashboards.markup import esc
from dashboards.snapshot import Row
from dashboards.state import short

KINDS = {
    "flipped": "Flipped",
    "lost": "Lost",
    "gained": "Gained",
    "disagree": "Disagree",
    "wrong": "All wrong",
    "all": "All",
}
HINTS = {
    "flipped": "Right under the base and wrong under a model, or the other way round",
    "lost": "Right under the base, wrong under a model",
    "gained": "Wrong under the base, right under a model",
    "disagree": "A model predicts another class than the base",
    "wrong": "Every model is wrong",
    "all": "Every instance",
}
ORDERS = {"change": "Largest change", "loss": "Largest loss", "instance": "Number"}
_FOLLOWING = {"": "falling", "falling": "rising", "rising": ""}
_SIGNS = {"": "↕", "falling": "↓", "rising": "↑"}


class InstanceBrowser(View):
    """Choices above, a histogram for each model, the instances below."""

    name = "instances"
    title = "Instances"
    hint = "What do the models answer to which instance?"
    needs = frozenset({"measure", "kind", "kept", "where", "rank", "only", "label", "sort", "offset"})

    def view(self) -> Viewable:
        """One card."""
        self.bar = self.part("card-head", sizing_mode="stretch_width")
        self.strip = self.part("card-head", "strip-part", sizing_mode="stretch_width")
        self.gallery = self.part("scroll", "padded", "gallery-body")
        self.card_menu = self.menu()
        card = grid("card", "gallery-card", children=[self.bar, self.strip, self.gallery, self.card_menu])
        return grid("instances", children=[card])

    def update(self, asked: Asked, changed: frozenset[str]) -> None:
        """Ask for a page of instances, and for the histograms beside."""
        state = self.session.state
        measure = f"{measure_choice(asked)}{filters(self.session, asked)}"
        self.bar.content = f'<div class="bar">{self._choices(asked)}</div><div class="bar">{measure}</div>'
        self.card_menu.show(shown.instances(asked, state))
        rank, only, sort, offset = state.rank, state.only, state.sort, state.offset
        if changed & (MODELS | {"measure", "kind", "kept", "where", "rank", "label"}):
            self.ask(self.strip, lambda: _strip(asked, rank))
        self.ask(self.gallery, lambda: _page(asked, rank, only, sort, offset))

    def _choices(self, asked: Asked) -> str:
        state = self.session.state
        names = compare.class_names(asked.snapshot.views, asked.now.base)
        classes = {"": "All classes"} | {str(label): name for label, name in names.items()}
        orders = ORDERS if not ranked(asked, state.rank) else {"": "As sorted below", **ORDERS}
        return (
            f"{markup.switch('only', KINDS, state.only, HINTS)}{markup.select('label', 'Class', classes, state.label)}"
            f"{markup.select('sort', 'Order', orders, '' if '' in orders else state.sort)}"
        )


def ranked(asked: Asked, rank: str) -> tuple[str, bool] | None:
    """The model whose values give the order, and whether the smallest comes first."""
    model, _, way = rank.partition(":")
    model_id = asked.snapshot.known.get(model)
    return (model_id, way == "rising") if model_id in asked.now.ids else None


def _strip(asked: Asked, rank: str) -> str:
    rows: dict[str, list[Row]] = {}
    for row in compare.measure_distribution(
        asked.snapshot.views, asked.now.shown, asked.now.base, asked.measure, **_of(asked)
    ).to_pylist():
        rows.setdefault(row["model_id"], []).append(row)
    names = asked.names()
    columns = "".join(_column(asked, id, place, rows[id], names[id], rank) for place, id in enumerate(asked.now.shown))
    left = len(asked.now.ids) - len(asked.now.shown)
    rest = f'<span class="soft">{left:,} more in the other parts</span>' if left else ""
    return f'<div class="strip">{columns}{info("histogram")}{rest}</div>'


def _of(asked: Asked) -> dict[str, Any]:
    return {"kind": asked.kind, "label": asked.label, "where": asked.where, "between": dict(asked.between)}


def _column(asked: Asked, id: str, place: int, rows: Sequence[Row], name: str, rank: str) -> str:
    model, _, way = rank.partition(":")
    now = way if model == short(id) and way in _SIGNS else ""
    following = f"{short(id)}:{_FOLLOWING[now]}" if _FOLLOWING[now] else ""
    sort = (
        f'<button class="rank{" on" if now else ""}" {choose(f"rank-{id}", rank=following)}'
        f' data-tip="Sort by this model: largest first, smallest first, not"'
        f' aria-label="Sort by {esc(name)}">{_SIGNS[now]}</button>'
    )
    head = f'<div class="top">{mark(place)}<span class="clamp" data-tip="{esc(name)}">{esc(name)}</span>{sort}</div>'
    return f'<div class="column" data-of="{id}">{head}{histogram(asked, id, rows, name)}</div>'


def _page(asked: Asked, rank: str, only: Any, sort: Any, offset: int) -> str:
    by = ranked(asked, rank)
    order: Mapping[str, Any] = {"sort": "measure", "by": by[0], "rising": by[1]} if by else {"sort": sort}
    found = compare.instances(
        asked.snapshot.views,
        asked.now.shown,
        asked.now.base,
        only=only,
        measure=asked.measure,
        limit=PAGE,
        offset=offset,
        **order,
        **_of(asked),
    )
    if 0 < found.count <= offset:  # Fewer than there were when the page was turned: the last ones.
        return _page(asked, rank, only, sort, (found.count - 1) // PAGE * PAGE)
    return gallery(found, asked.now.shown, offset)
