"""Studies: what was searched, how far it is, what it came to, and why trials failed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import panel as pn
import pyarrow as pa
from bokeh.plotting import figure as Figure

from cc_ray.errors import CcRayError, StoppedError
from dashboards import figures
from dashboards.components import Html, Message
from dashboards.markup import esc, sentence
from dashboards.page import Page, page
from dashboards.session import DRAWING, OPERATING, Session
from dashboards.sharing.menu import Menu
from dashboards.snapshot import Row, Snapshot
from dashboards.studies import shown
from dashboards.studies.card import Card
from dashboards.studies.controls import STUDY, beginning
from dashboards.studies.growth import HEIGHT_PX, growth, history, said
from dashboards.studies.listing import ended, listing
from dashboards.studies.live import Live, live
from dashboards.studies.operating import Controls
from dashboards.studies.report import Report, chosen_study, costs, imported, report
from dashboards.studies.summary import head, rest
from dashboards.studies.terms import term
from dashboards.theme import layout
from dashboards.waiting import Question

LOOK_MS = 2000
"""How often jobs and the cluster are looked at."""
GROWTH = "studies-growth"
"""Names the place of the chart of hypervolumes."""
NONE = (
    '<div class="welcome"><h1>No study has run into this store</h1>{}<p>Search a space, and watch it here:</p>'
    "<p><code>cc-ray run digits</code> <code>cc-ray run my_space.py</code></p></div>"
)


@dataclass(frozen=True)
class Asked:
    """What one change shows: the list, and the chosen study if there is one."""

    studies: str
    found: Report | None
    head: str
    rest: str


@page("studies")
class Studies(Page):
    """All studies of the store; of the chosen one progress, trials, failures and the growth of its front."""

    title = "Studies"
    order = 40
    needs_models = False

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.list = Html(on=self._do, css_classes=["padded"])
        self.list_menu, self.trials_menu, self.report_menu = Menu(session), Menu(session), Menu(session, picture=True)
        self.list_card = layout("card", "studies-card", children=[self.list, self.list_menu])
        self.card = Card(session, self._do, self.trials_menu)
        self.controls = Controls(session, self.card.draw)
        self.head = Html(on=self._do, css_classes=["padded"])
        self.grown = Html(css_classes=["card-head"])
        self.rest = Html(on=self._do, css_classes=["padded"])
        self.report_card = layout("card", "report-card", children=self._parts())
        self.found: Report | None = None
        self.missing = ""
        self.drawn: tuple[str, int] | None = None
        self.looking = False
        if session.runs is not None:
            pn.state.add_periodic_callback(self._look_again, LOOK_MS)

    def view(self) -> pn.viewable.Viewable:
        """The list above; below it trials, log or cluster on the left, what they came to on the right."""
        return layout("studies", children=[self.list_card, self.card.card, self.report_card])

    def update(self, changed: frozenset[str]) -> None:
        """Ask for what the change touches."""
        if changed & {"snapshot", "study"}:
            self.card.wait()
            self.session.apart("studies", partial(_ask, self.session.snapshot, self.session.state.study), self._show)
        elif changed & {"trials", "study_view"}:
            self.card.first_page()
            self.card.draw()
        if changed & {"study", "study_view"}:
            self._look()

    def _parts(self, *figure: pn.viewable.Viewable) -> list[pn.viewable.Viewable]:
        return [self.controls.part, self.head, self.grown, *figure, self.rest, self.report_menu]

    def _look_again(self) -> None:
        """Ask anew, unless the answer to what was asked before is still to come: it would never be shown."""
        if not self.looking:
            self._look()

    def _look(self) -> None:
        """Ask for what no row tells, while the page is looked at."""
        state, runs = self.session.state, self.session.runs
        if state.page != "studies" or runs is None:
            return
        study = state.study or (self.found.id if self.found else "")
        self.looking = True
        work = partial(live, runs, study, state.study_view)
        self.session.apart("studies-live", work, self._hear, OPERATING, self._unheard)

    def _unheard(self) -> None:
        self.looking = False

    def _hear(self, now: Live) -> None:
        self.looking = False
        self.card.hear(now)
        self.controls.hear(now)
        if self.found is None:
            self.head.content = beginning(now.study, now.job) if now.job else self.missing

    def _show(self, asked: Asked) -> None:
        self.list.content, self.found, self.missing = asked.studies, asked.found, asked.head
        self.rest.content = asked.rest
        if asked.found or not self.controls.begins(self.session.state.study):
            self.head.content = asked.head
        self.list_menu.show(shown.studies(asked.found is not None))
        self.trials_menu.show(shown.trials(asked.found))
        self.report_menu.show(shown.report(asked.found))
        self.controls.take(self.session.state.study, asked.found)
        self.card.take(asked.found)
        # Where there is no study nothing can be said of one; one that begins is named in the address.
        alone = not (self.session.snapshot.studies or self.session.state.study)
        self.card.card.visible = self.report_card.visible = not alone
        self.list_card.css_classes = ["card", "studies-card", *(["alone"] if alone else [])]
        if asked.found is None or imported(asked.found.study):
            self.grown.content, self.report_card[:] = "", self._parts()
            self.drawn = None
        else:
            self._draw_growth(asked.found)

    def _draw_growth(self, found: Report) -> None:
        key = found.id, ended(found.study)
        if self.drawn == key:
            return
        if self.drawn is None or self.drawn[0] != found.id:
            self.grown.content = "<h3>Hypervolume</h3>"
            self.report_card[:] = self._parts()
        self.drawn = key
        work = partial(_growth, self.session.snapshot, found)
        Question(self.session, GROWTH, self.grown, work, self._take_growth, instead=self._leave_growth_out).ask()

    def _leave_growth_out(self) -> None:
        self.report_card[:] = self._parts()

    def _take_growth(self, answer: tuple[str, pa.Table | None]) -> None:
        said, grown = answer
        if grown is None:
            self._leave_growth_out()
            self.grown.content = said
        else:
            self.session.apart(GROWTH, partial(_drawn, grown), partial(self._show_growth, said), DRAWING)

    def _show_growth(self, said: str, figure: Figure) -> None:
        self.grown.content = said
        self.report_card[:] = self._parts(figures.wide(figure))

    def _do(self, message: Message) -> None:
        state = self.session.state
        match message["do"]:
            case "study":
                state.param.update(study=message["study"], trials="all")
            case "set":
                state.param.update(**{message["name"]: message["value"]})
            case "open" if message["model"] in self.session.snapshot.models:
                state.param.update(selection=[message["model"]], page="overview")
            case "run-ask" if message["what"] != STUDY:
                self.card.asked = message["what"]
                self.card.draw()
            case "run-stop":
                self.card.asked = ""
                self.controls.do(message)


def _ask(snapshot: Snapshot, wanted: str) -> Asked:
    if not snapshot.studies:
        models = "<p>Its models came without one; the Overview shows them.</p>"
        return Asked(NONE.format(models if snapshot.models else ""), None, "", "")
    study: Row | None = chosen_study(snapshot, wanted)
    studies = listing(snapshot, costs(snapshot), study["study_id"] if study else "")
    if study is None:
        missing = f'<p class="failure">There is no study “{esc(wanted)}” in this store. Choose one of the list.</p>'
        return Asked(studies, None, missing, "")
    found = report(snapshot, study)
    return Asked(studies, found, head(snapshot, found), rest(snapshot, found))


def _growth(snapshot: Snapshot, found: Report) -> tuple[str, pa.Table | None]:
    """Head of the chart, and what it draws; None where there is nothing to draw."""
    try:
        grown = snapshot.once(("growth", found.id), lambda: history(snapshot.views, found.id, found.objectives))
    except StoppedError:
        raise
    except CcRayError as error:
        return f'<h3>Hypervolume</h3><p class="soft">{sentence(str(error))}</p>', None
    title = f"<h3>{term('Hypervolume', 'hypervolume')} <small>{esc(said(grown))}</small></h3>"
    return title, grown if grown.num_rows else None


def _drawn(grown: pa.Table) -> Figure:
    figure = figures.plain(partial(growth, grown), "Hypervolume by number of trials")
    figure.sizing_mode, figure.height = "stretch_width", HEIGHT_PX
    return figure
