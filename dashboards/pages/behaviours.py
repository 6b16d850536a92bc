"""Behaviours: what models answer, against a base: in sum, by class, and instance by instance."""

from __future__ import annotations

from functools import partial
from typing import Any

import panel as pn
import pyarrow as pa
from bokeh.plotting import figure as Figure

from cc_ray import compare
from cc_ray.errors import CcRayError
from dashboards import figures, markup
from dashboards.behaviours import changes, summary
from dashboards.chosen import Chosen, chosen, drop, head
from dashboards.components import Html, Message
from dashboards.elements import per_class
from dashboards.gallery import PAGE, gallery
from dashboards.page import Page, page
from dashboards.session import DRAWING, Session
from dashboards.snapshot import Snapshot
from dashboards.theme import layout

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
CLASSES = (
    "<h2>Change of accuracy by class <small>percentage points; * p &lt; 0.05 after Holm's correction; "
    "click a cell to see its instances</small></h2>"
)
ROW_PX = 34
"""Height of a model's row in the class chart."""
HEADS_PX = 62
"""Height of the heads of the class chart."""
SHOWN = frozenset({"snapshot", "selection", "base"})


@page("behaviours")
class Behaviours(Page):
    """Who answers what, and who lost or gained against the base."""

    title = "Behaviours"
    order = 20

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.head = Html(on=self._do, css_classes=["controls"])
        self.summary = Html(
            on=self._do, css_classes=["card", "scroll", "padded", "summary-card"], sizing_mode="stretch_both"
        )
        self.filters = Html(on=self._do, css_classes=["card-head"])
        self.gallery = Html(on=self._do, css_classes=["scroll", "padded", "gallery-body"], sizing_mode="stretch_both")
        self.class_card = layout("card", "class-card", children=[Html(CLASSES, css_classes=["card-head"])])
        self.gallery_card = layout("card", "gallery-card", children=[self.filters, self.gallery])

        self.shown: Chosen | None = None

    def view(self) -> pn.viewable.Viewable:
        """The sums and classes on the left, the instances on the right."""
        return layout("behaviours", children=[self.head, self.summary, self.class_card, self.gallery_card])

    def update(self, changed: frozenset[str]) -> None:
        """Ask for what the change touches."""
        now = chosen(self.session)
        if now is None or not now.ids:
            self._nothing(now)
            return
        snapshot = self.session.snapshot
        if changed == {"snapshot"} and now == self.shown:
            return  # What a model answered never changes.
        self.shown = now
        if changed & SHOWN:
            self.head.content = head(self.session, now)
            self.session.apart("behaviours-summary", partial(_summed, snapshot, now), self._sum)
        if changed & {"only", "label", "sort", "offset", *SHOWN}:
            self.filters.content = self._filters(now)
            state = self.session.state
            label = int(state.label) if state.label.isdecimal() else None
            work = partial(_page, snapshot, now, label, state.only, state.sort, state.offset)
            self.session.apart("behaviours-page", work, self._fill)

    def _nothing(self, now: Chosen | None) -> None:
        self.head.content = head(self.session, now) if now else ""
        self.summary.content = '<p class="empty">Select a model besides the base to see how its answers differ.</p>'
        self.filters.content = self.gallery.content = ""
        self.class_card[1:] = []

    def _sum(self, found: tuple[str, pa.Table | None]) -> None:
        self.summary.content, classes = found
        if classes is None:
            self.class_card[1:] = []
        else:
            names = {id: self.session.snapshot.labels.name(id) for id in classes["model_id"].to_pylist()}
            work = partial(figures.plain, lambda: per_class(classes, names=names))
            height = HEADS_PX + ROW_PX * len(names)
            self.session.apart("behaviours-classes", work, partial(self._draw_classes, height), DRAWING)

    def _draw_classes(self, height: int, figure: Figure) -> None:
        # With many models the card scrolls: nothing may press the rows together.
        figure.sizing_mode, figure.height, figure.min_height = "stretch_width", height, height
        figures.on_tap(figure, self._tapped)
        self.class_card[1:] = [figures.wide(figure)]

    def _tapped(self, row: dict[str, object]) -> None:
        self.session.state.param.update(label=str(row["label"]), offset=0)

    def _fill(self, content: str) -> None:
        self.gallery.content = content

    def _do(self, message: Message) -> None:
        state = self.session.state
        match message["do"]:
            case "set":
                state.param.update(**{message["name"]: message["value"]}, offset=0)
            case "page":
                state.offset = int(message["offset"])
            case "drop":
                drop(self.session, [message["model"]])

    def _filters(self, now: Chosen) -> str:
        state = self.session.state
        names = compare.class_names(self.session.snapshot.views, now.base)
        classes = {"": "All classes"} | {str(label): name for label, name in names.items()}
        kinds = markup.switch("only", KINDS, state.only, HINTS)
        return (
            f'<div class="bar">{kinds}{markup.select("label", "Class", classes, state.label)}'
            f"{markup.select('sort', 'Order', ORDERS, state.sort)}</div>"
        )


def _summed(snapshot: Snapshot, now: Chosen) -> tuple[str, pa.Table | None]:
    try:
        table = compare.behaviours(snapshot.views, now.ids, now.base)
        classes = compare.behaviours_by_class(snapshot.views, now.ids, now.base)
    except CcRayError as error:
        return f'<p class="failure">{markup.esc(str(error))}</p>', None
    moved = {id: compare.prediction_changes(snapshot.views, id, now.base) for id in now.shown}
    return summary(snapshot, table.to_pylist(), now) + changes(moved), classes


def _page(snapshot: Snapshot, now: Chosen, label: int | None, only: Any, sort: Any, offset: int) -> str:
    try:
        found = compare.instances(
            snapshot.views, now.shown, now.base, label=label, only=only, sort=sort, limit=PAGE, offset=offset
        )
    except CcRayError as error:
        return f'<p class="failure">{markup.esc(str(error))}</p>'
    if 0 < found.count <= offset:  # Fewer than there were when the page was turned: the last ones.
        return _page(snapshot, now, label, only, sort, (found.count - 1) // PAGE * PAGE)
    return gallery(found, now.shown, offset)
