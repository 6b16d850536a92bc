"""The card beside the report: the trials of a study, the log of its job, or the cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import panel as pn

from dashboards import markup
from dashboards.components import Html, Message
from dashboards.session import Session
from dashboards.studies.cluster_view import cluster
from dashboards.studies.live import Live
from dashboards.studies.log_view import bar, log
from dashboards.studies.report import Report
from dashboards.studies.trials import Order, filters, table
from dashboards.theme import layout

VIEWS: Final = {"trials": "Trials", "log": "Log", "cluster": "Cluster"}
HINTS: Final = {
    "trials": "The recipes of the study, and what became of each",
    "log": "What the process that runs the study has written",
    "cluster": "What the machines have, hold and do now",
}
NO_STUDY: Final = '<p class="empty">Choose a study above.</p>'
NO_JOB: Final = (
    '<p class="empty">No job of this study is known here: whoever ran it in a terminal has its output. '
    "Studies that are started or resumed from this dashboard have their log here.</p>"
)


class Card:
    """Shows one of its views.

    Args:
        session: The session's choices and data.
        do: What to tell of clicks that are not the card's own.
        menu: What can be taken from the trials.
    """

    def __init__(self, session: Session, do: Callable[[Message], None], menu: pn.viewable.Viewable) -> None:
        self.session = session
        self.tabs = Html(on=self._do, css_classes=["card-head", "tab-head"])
        self.bar = Html(on=self._do, css_classes=["card-head"])
        self.body = Html(on=self._do, css_classes=["scroll", "tree-body"], sizing_mode="stretch_both")
        self.card = layout("card", "trials-card", children=[self.tabs, self.bar, self.body, menu])
        self.asked = ""
        """trial_id of the trial whose stopping waits for a yes."""
        self._others = do
        self._order = Order()
        self._sought = ""
        self._found: Report | None = None
        self._live = Live()

    def wait(self) -> None:
        """Say that the trials are being read."""
        self._tabs()
        if self._found is None and self.session.state.study_view == "trials":
            self.body.content = '<p class="empty" role="status">Reading the trials …</p>'

    def take(self, found: Report | None) -> None:
        """Show another study, or newer rows of it."""
        if found is None or self._found is None or found.id != self._found.id:
            self._order, self.asked, self._live = Order(), "", Live()
        self._found = found
        self.draw()

    def hear(self, live: Live) -> None:
        """Show what was asked of the job or the cluster."""
        self._live = live
        if self._found is None or self.session.state.study_view != "trials":
            self.draw()

    def first_page(self) -> None:
        """Begin at the first trial again."""
        self._order = self._order.page(0)

    def draw(self) -> None:
        """Show the view that is chosen."""
        self._tabs()
        {"trials": self._draw_trials, "log": self._draw_log, "cluster": self._draw_cluster}[
            self.session.state.study_view
        ]()

    def _tabs(self) -> None:
        self.tabs.content = markup.tabs("study_view", VIEWS, self.session.state.study_view, HINTS)

    def _draw_trials(self) -> None:
        if self._found is None:
            soon = '<p class="empty">Its trials stand here in a few seconds.</p>'
            self.bar.content, self.body.content = "", soon if self._live.job else NO_STUDY
            return
        state, stops = self.session.state.trials, self.session.operator is not None
        known = self.session.snapshot.models
        self.bar.content = filters(self._found, state)
        self.body.content = table(self._found, state, self._order, known, stops, self.asked)

    def _draw_log(self) -> None:
        text = self._live.log
        self.bar.content = bar(self._live.study, self._sought) if text else ""
        if self._live.problem:
            self.body.content = f'<p class="failure">{markup.esc(self._live.problem)}</p>'
        elif self._found is None and not self._live.study:
            self.body.content = NO_STUDY
        elif text is None and self.session.runs is not None:
            self.body.content = '<p class="empty" role="status">Reading the log …</p>'
        elif self._live.job is None:
            self.body.content = NO_JOB
        else:
            self.body.content = log(text or "", self._sought)

    def _draw_cluster(self) -> None:
        self.bar.content = ""
        if self.session.runs is None:
            self.body.content = '<p class="empty">This dashboard is not served by Ray.</p>'
        else:
            self.body.content = cluster(self._live.cluster)

    def _do(self, message: Message) -> None:
        match message["do"]:
            case "sort":
                self._order = self._order.turned(message["by"])
            case "page":
                self._order = self._order.page(int(message["offset"]))
            case "log-search":
                self._sought = str(message["value"])
            case "log-save" if self._live.log is not None:
                self.bar.save(f"{self._live.study}.log", self._live.log)
                return
            case _:
                self._others(message)
                return
        self.draw()
