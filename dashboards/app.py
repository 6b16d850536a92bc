"""The dashboard as Panel applications: the shell around the pages, and what keeps a tab in step with the store."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode

import panel as pn
import param
from bokeh.document import Document
from bokeh.models import CustomJS

from dashboards.components import Address, Html, Look, Message
from dashboards.deck import Deck, Front
from dashboards.lasting import lasting
from dashboards.page import Page, pages
from dashboards.session import DRAWING, Session
from dashboards.sharing.comparisons import Comparisons, Panel
from dashboards.sharing.menu import Menu
from dashboards.sharing.store_list import StoreList
from dashboards.snapshot import Row, Snapshot
from dashboards.state import CHOICES
from dashboards.stores import Stores
from dashboards.theme import ASSETS, CSS, LAYOUT_CSS, bokeh_theme, layout
from dashboards.user import User

POLL_MS: Final = 2000
"""How often a tab looks for news of the store."""

THEME: Final = lasting(CSS + LAYOUT_CSS, "css")
RELOAD_JS: Final = (ASSETS / "reload.js").read_text()
_RELOAD: Final = "window.loadAgain()"
"""See `assets/reload.js`."""


def applications(stores: Stores) -> dict[str, Callable[[], pn.template.BaseTemplate]]:
    """The Panel applications by path: one, at "/".

    Args:
        stores: What may be shown. Which one a tab shows, the address says (`store`); it is to be open already, or the
            tab holds up all others until it is.
    """
    pn.extension(notifications=False)
    first = stores.open(stores.first)
    # All pages are imported now: what one defines must be known before the first tab.
    for name in pages:
        DRAWING.submit(pages[name].prepare, first.snapshot)  # What fails here is told to whoever opens the page.

    def tab() -> pn.template.BaseTemplate:
        doc = pn.state.curdoc
        doc.theme = bokeh_theme()
        return Shell(_session(stores, doc), stores).template()

    return {"/": tab}


class Template(pn.Template):  # type: ignore[misc] # Panel ships no types
    """Panel writes out all parts of a template at each that is added, for notebooks: nobody reads it here."""

    def __repr__(self) -> str:
        return type(self).__name__


def _session(stores: Stores, doc: Document) -> Session:
    """A session of the store that the request for a tab names."""
    given = (pn.state.session_args or {}).get("store", [b""])[0].decode(errors="replace")
    name = given or stores.first
    served = stores.served(name)
    user = User.of(pn.state.headers or {})
    in_address = "" if name == stores.first else name
    return Session(stores.open(name), doc, user, served.comparisons, served.operator, in_address)


class Shell:
    """Header, navigation, the page shown, and the ties to address and store.

    Args:
        session: Of the tab.
        stores: What else may be shown.
    """

    def __init__(self, session: Session, stores: Stores) -> None:
        self.session = session
        self.store = session.state.store or stores.first
        self.store_list = StoreList(session, stores, self.store) if len(stores.names) > 1 else None
        self.made: dict[str, Page] = {}
        self.waiting: dict[str, set[str]] = {}
        self.address = Address(visible=False)
        self.navigation = Html(on=self._go, sizing_mode=None, css_classes=["inline"])
        self.look = Look(sizing_mode=None, margin=0, css_classes=["inline"])
        self.status = Html(sizing_mode=None, css_classes=["inline"])
        self.welcome = Html(sizing_mode="stretch_both")
        self.comparisons = Comparisons(session, self._take)
        self.deck = Deck()
        self.deck.add("welcome", self.welcome)
        self.main = layout("main", children=[self.deck.place])
        self.trouble = ""
        session.on_failure = self._fail
        self._read(self._query_of_request())
        self.address.query = session.state.query()
        session.state.param.watch(self._changed, list(CHOICES))
        self.address.param.watch(lambda event: self._read(event.new), "query")
        self._draw_header()
        self._show()

    def template(self) -> pn.template.BaseTemplate:
        """The HTML document with its live parts."""
        template = Template((ASSETS / "shell.html").read_text())
        for name, value in self._said().items():
            template.add_variable(name, value)
        if self.store_list:
            template.add_panel("store_list", self.store_list)
        for name in ("navigation", "status", "look", "main", "address"):
            template.add_panel(name, getattr(self, name))
        template.add_panel("comparisons", self.comparisons.panel)
        doc = self.session.doc
        doc.js_on_event("connection_lost", CustomJS(code=_RELOAD))
        pn.state.onload(self.session.ready.set)
        pn.state.add_periodic_callback(self._poll, POLL_MS)
        return template

    def _said(self) -> dict[str, Any]:
        """What the shell says of the tab, by name."""
        state = self.session.state
        return {
            "theme": THEME,
            "code": [kind.address for kind in (Address, Front, Html, Look, Menu, Panel)],
            "reload": RELOAD_JS,
            "store": self.session.source.root,
            "store_name": self.store,
            "several": self.store_list is not None,
            "home": state.with_store("") or "./",
            "api": f"./api/stores/{state.store}/" if state.store else "./api/",
            "user": self.session.user,
        }

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
        if any(event.name == "page" for event in events):
            self.navigation.content = navigation(self.session.state.page)
        self._tell({event.name for event in events})

    def _tell(self, names: set[str]) -> None:
        for waiting in self.waiting.values():
            waiting |= names
        self._show()

    def _show(self) -> None:
        """Bring the page in front up to date, making it first if need be; or the welcome where it needs models."""
        name = self.session.state.page
        if pages[name].needs_models and not self.session.snapshot.models:
            self.welcome.content = welcome(self.session.snapshot)
            self.deck.show("welcome")
            return
        if name not in self.made:
            self.made[name] = pages[name](self.session)
            self.deck.add(name, self.made[name].view())
            self.waiting[name] = {*CHOICES, "snapshot"}
        self.deck.show(name)
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
            self.comparisons.draw()
            self._tell({"snapshot"})

    def _fail(self, reason: str) -> None:
        self.trouble = reason
        self._draw_header()

    def _draw_header(self) -> None:
        self.navigation.content = navigation(self.session.state.page)
        self.status.content = status(self.session.snapshot, self.trouble)


def navigation(page: str) -> str:
    """Links to the pages, the current one marked; the browser has them keep all other choices (`data-page`)."""
    ordered = sorted(pages.items(), key=lambda item: item[1].order)
    links = "".join(_link(name, kind, current=name == page) for name, kind in ordered)
    title = f'<h1 class="unseen">{html.escape(pages[page].title)}</h1>' if page in pages else ""
    return f"{title}<nav aria-label=Pages>{links}</nav>"


def _link(name: str, kind: type[Page], *, current: bool) -> str:
    marked = ' aria-current="page"' if current else ""
    known = f'data-do="{name}" data-page="{name}" data-key="nav-{name}"'
    return f'<a href="?page={name}" {known}{marked}>{html.escape(kind.title)}</a>'


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
    count = len(snapshot.models)
    failed = sum(study["failed"] for study in snapshot.studies)
    trials = f'<span class="bad">{failed} trial{"s" * (failed > 1)} failed</span>' if failed else ""
    here = (
        f'<span class="bad" tabindex="0" data-tip="{html.escape(trouble)}">a view could not be made</span>'
        if trouble
        else ""
    )
    return f'<div class="status">{here}{running}{trials}<span><b>{count:,}</b> model{"s" * (count != 1)}</span></div>'


def _running(study: Row) -> str:
    ended = study["trials"] - study["running"] - study["pending"]
    share = 100 * ended / max(study["trials"], 1)
    return (
        f'<span class="running">{html.escape(study["study_id"])} {ended} of {study["trials"]} trials'
        f'<span class="progress"><i style="width:{share:.0f}%"></i></span></span>'
    )
