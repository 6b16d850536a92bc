"""Flips: which models err apart, how answers flow from the base, and the instances of two models."""

from __future__ import annotations

from panel.viewable import Viewable

from cc_ray import compare
from dashboards import markup
from dashboards.behaviour import shown
from dashboards.behaviour.asked import Asked
from dashboards.behaviour.flow import MOST_FLOWS, class_flows, outcome_flows, sankey
from dashboards.behaviour.matrix import flip_matrix
from dashboards.behaviour.view import MODELS, View, grid
from dashboards.components import Html, Message
from dashboards.gallery import PAGE, gallery
from dashboards.markup import esc
from dashboards.state import short

FLOWS = {"outcome": "Outcomes", "class": "Classes"}
HINTS = {
    "outcome": "From the base's right and wrong answers to the model's",
    "class": "From the base's predictions to the model's, where they differ: the largest changes",
}


class Flips(View):
    """The matrix on the left, the flow of one model and the instances of one cell on the right."""

    name = "flips"
    title = "Flips"
    hint = "Which models err apart, and on what?"
    needs = frozenset({"focus", "flow", "pair"})

    def view(self) -> Viewable:
        """Three cards."""
        self.asked: Asked | None = None
        self.offset = 0
        self.pair = ""
        self.matrix = Html(on=self._did, css_classes=["heat-body"], sizing_mode="stretch_both")
        self.flow_head = self.part("card-head", sizing_mode="stretch_width")
        self.flow = self.part("padded", "flow-body")
        self.instances = Html(on=self._did, css_classes=["scroll", "padded"], sizing_mode="stretch_both")
        self.matrix_menu, self.flow_menu, self.pair_menu = self.menu(picture=True), self.menu(picture=True), self.menu()
        matrix = grid("card", "matrix-card", children=[self.matrix, self.matrix_menu])
        below = grid("card", "pair-card", children=[self.instances, self.pair_menu])
        flow = grid("card", "flow-card", children=[self.flow_head, self.flow, self.flow_menu])
        return grid("flips", children=[matrix, flow, below])

    def update(self, asked: Asked, changed: frozenset[str]) -> None:
        """Ask for the cards apart."""
        state, self.asked = self.session.state, asked
        views, ids, pair = asked.snapshot.views, [asked.now.base, *asked.now.ids], state.pair
        if changed & MODELS:
            self.matrix_menu.show(shown.flips(asked))
            self.ask(
                self.matrix,
                lambda: flip_matrix(asked, compare.flip_matrix(views, ids).to_pylist(), asked.names(), pair),
            )
        if changed & (MODELS | {"focus", "flow"}):
            self._draw_flow(asked)
        if changed & (MODELS | {"focus", "pair"}):
            self._show_pair(asked)

    def _draw_flow(self, asked: Asked) -> None:
        focus, flow, views, base = (
            asked.focus(self.session.state.focus),
            self.session.state.flow,
            asked.snapshot.views,
            asked.now.base,
        )
        self.flow_menu.show(shown.flow(asked, self.session.state))
        names = asked.names()
        choices = {id: names[id] for id in asked.now.ids}
        self.flow_head.content = (
            f'<div class="bar"><h2>From the base to</h2><span class="long">'
            f"{markup.select('focus', 'Model', choices, focus, seen=False)}</span>"
            f"{markup.switch('flow', FLOWS, flow, HINTS)}</div>"
        )

        def draw() -> str:
            if flow == "class":
                found = class_flows(compare.prediction_changes(views, focus, base, MOST_FLOWS).to_pylist())
            else:
                found = outcome_flows(compare.outcomes(views, [focus], base).to_pylist())
            return (
                sankey(found)
                if found
                else '<p class="empty">Every prediction is the base\'s: choose another model.</p>'
            )

        self.ask(self.flow, draw)

    def _show_pair(self, asked: Asked) -> None:
        known, pair = asked.snapshot.known, self.session.state.pair
        if pair != self.pair:
            self.pair, self.offset = pair, 0
        one, _, other = pair.partition(",")
        both = [asked.now.base, *asked.now.ids]
        # Until a cell is chosen: what the model looked at alone loses.
        right, wrong = (known.get(one, ""), known.get(other, ""))
        if right not in both or wrong not in both or right == wrong:
            right, wrong = asked.now.base, asked.focus(self.session.state.focus)
        self.pair_menu.show(shown.pair(right, wrong))
        offset = self.offset

        def answer() -> str:
            found = compare.instances(
                asked.snapshot.views, [wrong], right, only="lost", sort="change", limit=PAGE, offset=offset
            )
            names = asked.names()
            head = f"<h2>Right under {esc(names[right])}, wrong under {esc(names[wrong])}</h2>"
            marks = {id: place for place, id in enumerate(asked.now.ids)}
            return head + gallery(found, [wrong], offset, marks)

        self.ask(self.instances, answer)

    def _did(self, message: Message) -> None:
        if self.asked is None:
            return
        match message["do"]:
            case "page":
                self.offset = max(0, int(message["offset"]))
                self._show_pair(self.asked)
            case "cell":
                ids = [self.asked.now.base, *self.asked.now.ids]
                row, column = (int(place) for place in message["at"].split(","))
                self.session.state.pair = f"{short(ids[row])},{short(ids[column])}"
            case _:
                self.do(message)
