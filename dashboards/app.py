"""The dashboard as Panel applications: the shell around the pages, and what keeps a tab in step with the store."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Final
from urllib.parse import urlencode

import panel as pn
import param
from bokeh.models import CustomJS

from dashboards.components import Address, Html, Message
from dashboards.page import Page, pages
from dashboards.session import Session
from dashboards.snapshot import Row, Snapshot, source
from dashboards.state import CHOICES, State
from dashboards.theme import ASSETS, CSS, LAYOUT_CSS, bokeh_theme, layout

POLL_MS: Final = 2000
"""How often a tab looks for news of the store."""

_RELOAD: Final = """
const again = () => fetch("./healthz").then((r) => r.ok ? window.location.reload() : later()).catch(later)
const later = () => setTimeout(again, 1000)
document.body.classList.add("connection-lost")
later()
"""


def applications(root: Path | str) -> dict[str, Callable[[], pn.template.BaseTemplate]]:
    """The Panel applications of one store by path: one, at "/".

    Raises:
        StoreError: If the folder is not a store.
    """
    pn.extension(notifications=False)
    list(pages)  # Imported now: what a page defines must be known before the first tab.
    shared = source(str(root))

    def tab() -> pn.template.BaseTemplate:
        doc = pn.state.curdoc
        doc.theme = bokeh_theme()
        return Shell(Session(shared, doc)).template()

    return {"/": tab}


class Shell:
    """Header, navigation, the page shown, and the ties to address and store."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.made: dict[str, Page] = {}
        self.waiting: dict[str, set[str]] = {}
        self.address = Address(visible=False)
        self.navigation = Html(on=self._go, sizing_mode=None, css_classes=["inline"])
        self.status = Html(sizing_mode=None, css_classes=["inline"])
        self.welcome = Html(sizing_mode="stretch_both")
        self.main = layout("main", children=[self.welcome])
        self.trouble = ""
        session.on_failure = self._fail
        self._read(self._query_of_request())
        session.state.param.watch(self._changed, list(CHOICES))
        self.address.param.watch(lambda event: self._read(event.new), "query")
        self._draw_header()
        self._show()

    def template(self) -> pn.template.BaseTemplate:
        """The HTML document with its live parts."""
        store = str(self.session.source.root)
        template = pn.Template((ASSETS / "shell.html").read_text())
        for name, value in {"theme": CSS + LAYOUT_CSS, "store": store, "store_name": PurePath(store).name}.items():
            template.add_variable(name, value)
        for name in ("navigation", "status", "main", "address"):
            template.add_panel(name, getattr(self, name))
        doc = self.session.doc
        doc.js_on_event("connection_lost", CustomJS(code=_RELOAD))
        pn.state.onload(self.session.ready.set)
        pn.state.add_periodic_callback(self._poll, POLL_MS)
        return template

    def _query_of_request(self) -> str:
        arguments = pn.state.session_args or {}
        return "?" + urlencode({name: values[0].decode(errors="replace") for name, values in arguments.items()})

    def _read(self, query: str) -> None:
        state = self.session.state
        state.read(query, self.session.snapshot.known)
        if state.page not in pages:
            state.page = "overview"

    def _go(self, message: Message) -> None:
        self.session.state.page = str(message["do"])

    def _changed(self, *events: param.parameterized.Event) -> None:
        self.address.query = self.session.state.query()
        self.navigation.content = navigation(self.session.state)
        self._tell({event.name for event in events})

    def _tell(self, names: set[str]) -> None:
        for waiting in self.waiting.values():
            waiting |= names
        self._show()

    def _show(self) -> None:
        """Bring the page in front up to date, making it first if need be; without models there is only a welcome."""
        self.welcome.visible = not self.session.snapshot.models
        if self.welcome.visible:
            self.welcome.content = welcome(self.session.snapshot)
            return
        name = self.session.state.page
        if name not in self.made:
            self.made[name] = pages[name](self.session)
            # In a frame of its own: the page's own arrangement would overrule that it is hidden.
            self.main.append(layout("frame", children=[self.made[name].view()]))
            self.waiting[name] = {*CHOICES, "snapshot"}
        for frame, other in zip(self.main[1:], self.made, strict=True):
            frame.visible = other == name
        changed, self.waiting[name] = frozenset(self.waiting[name]), set()
        if changed:
            self.made[name].update(changed)

    def _poll(self) -> None:
        session = self.session
        session.apart("snapshot", session.source.refresh, self._take)

    def _take(self, snapshot: Snapshot) -> None:
        if snapshot is not self.session.snapshot:
            self.session.snapshot = snapshot
            self._draw_header()
            self._tell({"snapshot"})

    def _fail(self, reason: str) -> None:
        self.trouble = reason
        self._draw_header()

    def _draw_header(self) -> None:
        self.navigation.content = navigation(self.session.state)
        self.status.content = status(self.session.snapshot, self.trouble)


def navigation(state: State) -> str:
    """Links to the pages, which keep all other choices; the current one marked."""
    ordered = sorted(pages.items(), key=lambda item: item[1].order)
    return "<nav>{}</nav>".format("".join(_link(state, name, kind) for name, kind in ordered))


def _link(state: State, name: str, kind: type[Page]) -> str:
    current = ' aria-current="page"' if name == state.page else ""
    address = html.escape(state.query(page=name) or "./")
    return f'<a href="{address}" data-do="{name}" data-key="nav-{name}"{current}>{html.escape(kind.title)}</a>'


def welcome(snapshot: Snapshot) -> str:
    """What to do about a store without models, or what to wait for."""
    running = [study for study in snapshot.studies if study["state"] == "running"]
    if running:
        names = ", ".join(html.escape(study["study_id"]) for study in running)
        text = f"<h1>{names} is running</h1><p>Models appear here as soon as they are measured.</p>"
    else:
        text = (
            "<h1>No models yet</h1><p>Explore the example, or a search space of your own, into this store:</p>"
            "<p><code>cc-ray demo</code> <code>cc-ray run SPACE</code></p><p>Models appear here as they are made.</p>"
        )
    return f'<div class="welcome">{text}</div>'


def status(snapshot: Snapshot, trouble: str = "") -> str:
    """How many models there are, what the studies are doing, and what went wrong in this tab."""
    running = "".join(_running(study) for study in snapshot.studies if study["state"] == "running")
    failed = sum(study["failed"] for study in snapshot.studies)
    trials = f'<span class="bad">{failed} trial{"s" * (failed > 1)} failed</span>' if failed else ""
    here = f'<span class="bad" title="{html.escape(trouble)}">a view could not be made</span>' if trouble else ""
    return f'<div class="status">{here}{running}{trials}<span><b>{len(snapshot.models):,}</b> models</span></div>'


def _running(study: Row) -> str:
    ended = study["trials"] - study["running"] - study["pending"]
    share = 100 * ended / max(study["trials"], 1)
    return (
        f'<span class="running">{html.escape(study["study_id"])} {ended} of {study["trials"]} trials'
        f'<span class="progress"><i style="width:{share:.0f}%"></i></span></span>'
    )
