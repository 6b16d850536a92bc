"""Classes & slices: how a measure changes by model and class, with histograms that keep an interval."""

from __future__ import annotations

from panel.viewable import Viewable

from dashboards import markup
from dashboards.behaviour import shown
from dashboards.behaviour.asked import Asked
from dashboards.behaviour.averages import Averages, averages
from dashboards.behaviour.class_table import class_table
from dashboards.behaviour.controls import filters, measure_choice
from dashboards.behaviour.heat import heat_map
from dashboards.behaviour.view import View, grid
from dashboards.components import Html, Message

HEADS_PX = 92
"""Height of what stands above the first model of the map."""
ROW_PX = 23
"""Height of a model in the map."""
GROUPED = {"class": "Classes", "slice": "Slices"}
HINTS = {
    "class": "A row for each true class",
    "slice": "A row for each named subset of the instances; an instance may be in several",
}


class Classes(View):
    """The class table above, the map of changes below."""

    name = "classes"
    title = "Classes & slices"
    hint = "Where did a measure change?"
    needs = frozenset({"measure", "kind", "grouped", "kept", "where", "rank"})

    def view(self) -> Viewable:
        """Choices, table and map."""
        self.start = 0
        self.asked: Asked | None = None
        self.found: Averages | None = None
        self.bar = self.part("card-head", sizing_mode="stretch_width")
        self.table = Html(on=self._did, css_classes=["class-table"], sizing_mode="stretch_both")
        self.heat = self.part("heat-body")
        self.menus = [self.menu(picture=True), self.menu(picture=True)]
        table = grid("card", "table-card", children=[self.bar, self.table, self.menus[0]])
        heat = grid("card", "heat-card", children=[self.heat, self.menus[1]])
        self.whole = grid("classes", children=[table, heat])
        return self.whole

    def update(self, asked: Asked, changed: frozenset[str]) -> None:
        """One question for both, since they show the same numbers; another order needs none."""
        state, self.asked = self.session.state, asked
        rank, grouped, start = state.rank, state.grouped, self.start
        # The map is as tall as its models, up to a good part of the page.
        tall = HEADS_PX + ROW_PX * len(asked.now.ids)
        self.whole.styles = {"grid-template-rows": f"minmax(0, 1fr) min({tall}px, 44%)"}
        switch = markup.switch("grouped", GROUPED, grouped, HINTS)
        self.bar.content = f'<div class="bar">{measure_choice(asked)}{switch}{filters(self.session, asked)}</div>'
        for menu, tables in zip(self.menus, (2, 1), strict=True):
            menu.show(shown.classes(asked, grouped)[:tables])
        known = self.found if self.found is not None and self.found.answers(asked, grouped) else None

        def answer() -> tuple[Averages, str, str | None]:
            found = known or averages(asked, grouped)
            names = asked.names()
            if not found.groups:
                # What keeps nothing can be changed where it was chosen.
                heads = class_table(found, names, rank, start, asked.now.selected) if asked.between else ""
                return found, heads + _nothing(grouped), ""
            table = class_table(found, names, rank, start, asked.now.selected)
            return found, table, None if known else heat_map(found, names)

        # The map beside it each time: it may still wait for an answer that this one overtakes.
        self.ask(self.table, answer, self._show, beside=[self.heat])

    def _show(self, answer: tuple[Averages, str, str | None]) -> None:
        self.found, self.table.content, heat = answer
        if heat is not None:
            self.heat.content = heat

    def _did(self, message: Message) -> None:
        if message["do"] != "classes":
            self.do(message)
        elif self.asked is not None:
            self.start = max(0, int(message["start"]))
            self.update(self.asked, frozenset({"rank"}))


def _nothing(grouped: str) -> str:
    if grouped == "slice":
        return (
            '<p class="empty">The instances of this task are in no named slice, or none of those kept is. Import '
            "predictions with <code>--slice COLUMN</code>, or choose by a condition.</p>"
        )
    return '<p class="empty">No instance is left: take back a condition or an interval above.</p>'
