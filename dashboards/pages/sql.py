"""SQL: any question over the store's tables and views, answered as a table, a chart or a file."""

from __future__ import annotations

import uuid
from dataclasses import replace
from functools import partial

import panel as pn
from bokeh.plotting import figure as Figure

from cc_ray.views.guide import examples, sources
from dashboards import figures
from dashboards.components import Html, Message
from dashboards.page import Page, page
from dashboards.session import DRAWING, Session
from dashboards.sharing.menu import Menu
from dashboards.sharing.shown import Shown
from dashboards.sql.asking import WAITING as THREADS
from dashboards.sql.asking import Outcome, ask, cancel
from dashboards.sql.chart import Axes, chart, note
from dashboards.sql.editor import Editor, completions
from dashboards.sql.names import names
from dashboards.sql.results import FIRST, WAITING, body, head
from dashboards.theme import layout

LONGEST_ADDRESS = 4000
"""Characters of a query that an address holds; servers refuse long ones."""


@page("sql")
class Sql(Page):
    """An editor that knows the names of the store, and what its query answers."""

    title = "SQL"
    order = 50
    needs_models = False

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.user = uuid.uuid4().hex
        self.query_id = ""
        self.insertions = 0
        known = sources(session.snapshot.metrics)
        self.editor = Editor(self._do, query=session.state.sql, names=completions(known))
        self.names = Html(
            names(examples(), known),
            on=self._do,
            css_classes=["card", "names-card", "scroll", "padded"],
            sizing_mode="stretch_both",
        )
        self.head = Html(on=self._do, css_classes=["card-head"])
        self.body = Html(FIRST, on=self._do, css_classes=["scroll", "tree-body"], sizing_mode="stretch_both")
        self.menu = Menu(session)
        self.answer_card = layout("card", "answer-card", children=[self.head, self.body, self.menu])
        self.outcome: Outcome | None = None
        self.shown, self.offset, self.axes = "table", 0, Axes()
        self.asked_before = False
        session.doc.on_session_destroyed(lambda context: self._cancel())

    def view(self) -> pn.viewable.Viewable:
        """What can be asked on the left; the editor above the answer."""
        card = layout("card", "editor-card", children=[self.editor])
        return layout("sql", children=[self.names, card, self.answer_card])

    def update(self, changed: frozenset[str]) -> None:
        """Ask again where the address brings another query; the first one is asked by the browser."""
        if "sql" in changed and self.asked_before:
            self.editor.query = self.session.state.sql
            self._run(self.session.state.sql)
        if not self.asked_before:
            self._draw()
        self.asked_before = True

    def _do(self, message: Message) -> None:
        match message["do"]:
            case "run":
                self._take(message["query"])
            case "cancel":
                self._cancel()
            case "example":
                self._take(examples()[int(message["place"])].query)
            case "insert":
                # The number tells the browser that the same name is put in once more.
                self.insertions += 1
                self.editor.insert = [self.insertions, message["name"]]
            case "open" if message["model"] in self.session.snapshot.models:
                self.session.state.param.update(selection=[message["model"]], page="overview")
            case "page":
                self.offset = int(message["offset"])
                self._draw()
            case "set":
                self._choose(message["name"], message["value"])

    def _take(self, query: str) -> None:
        """Ask a query; the address gets it if it has room."""
        self.editor.query = query
        addressed = query if len(query) <= LONGEST_ADDRESS else ""
        if addressed and addressed != self.session.state.sql:
            self.session.state.sql = addressed
        else:
            self._run(query)

    def _run(self, query: str) -> None:
        self._cancel()
        if not query.strip():
            return
        self.query_id, self.offset = uuid.uuid4().hex, 0
        self.editor.running = True
        self.outcome = None
        self.head.content, self.body.content = head(None, self.shown, self.axes), WAITING
        self.answer_card[:] = [self.head, self.body, self.menu]
        root = str(self.session.source.root)
        self.session.apart("sql", partial(ask, root, query, self.query_id, self.user), self._show, THREADS)

    def _cancel(self) -> None:
        if self.query_id:
            cancel(str(self.session.source.root), self.query_id, self.user)

    def _show(self, outcome: Outcome) -> None:
        self.query_id, self.outcome = "", outcome
        self.editor.running = False
        if outcome.table is not None:
            self.axes = self.axes.fitting(outcome.table)
        self._draw()

    def _choose(self, name: str, value: str) -> None:
        if name == "shown":
            self.shown = value
        else:
            self.axes = replace(self.axes, **{name: value})
        self._draw()

    def _draw(self) -> None:
        self.head.content = head(self.outcome, self.shown, self.axes)
        found = self.outcome
        answered = found is not None and found.table is not None
        tables = [Shown("Answer", found.query, "The query that was asked.")] if found and answered else []
        self.menu.show(tables, picture=self.shown == "chart")
        if found is None:
            return
        if self.shown == "chart" and found.table is not None and found.table.num_rows:
            self._draw_chart(found)
            return
        snapshot = self.session.snapshot
        self.body.content = body(found, self.offset, snapshot.models, snapshot.metrics)
        self.answer_card[:] = [self.head, self.body, self.menu]

    def _draw_chart(self, found: Outcome) -> None:
        axes, metrics = self.axes, self.session.snapshot.metrics
        if not axes.y:
            self.body.content = '<p class="empty">A chart needs a column of numbers: this answer has none.</p>'
            self.answer_card[:] = [self.head, self.body, self.menu]
            return
        said = f"Chart of {axes.y} by {axes.x}"
        work = partial(figures.plain, partial(chart, found.table, axes, metrics), said)
        self.session.apart("sql-chart", work, partial(self._show_chart, found), DRAWING)

    def _show_chart(self, found: Outcome, figure: Figure) -> None:
        if self.shown != "chart" or found is not self.outcome:
            return
        left_out = note(found.table, self.axes)
        hint = [Html(f'<p class="hint">{left_out}</p>', css_classes=["card-head"])] if left_out else []
        self.answer_card[:] = [self.head, *hint, figures.fill(figure), self.menu]
