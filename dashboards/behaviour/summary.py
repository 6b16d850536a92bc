"""Summary: what each model lost and gained, and what became of the base's answers."""

from __future__ import annotations

from panel.viewable import Viewable

from cc_ray import compare
from dashboards.behaviour import shown
from dashboards.behaviour.asked import Asked
from dashboards.behaviour.outcomes import moves, outcome_bars
from dashboards.behaviour.sums import sums, text_sums
from dashboards.behaviour.view import View, grid


class Summary(View):
    """A row a model on the left, outcomes and changes of prediction on the right."""

    name = "summary"
    title = "Summary"
    hint = "Which models lost what, and is it more than chance?"
    generated = None

    def view(self) -> Viewable:
        """Two cards."""
        self.sums, self.sums_menu = self.part("scroll", "padded"), self.menu(picture=True)
        self.outcomes, self.outcomes_menu = self.part("scroll", "padded"), self.menu(picture=True)
        self.right = grid("card", "outcome-card", children=[self.outcomes, self.outcomes_menu])
        left = grid("card", "summary-card", children=[self.sums, self.sums_menu])
        self.whole = grid("summary", children=[left, self.right])
        return self.whole

    def update(self, asked: Asked, changed: frozenset[str]) -> None:
        """Ask for both cards apart; of generated text there is one."""
        views, now = asked.snapshot.views, asked.now

        def answer() -> tuple[str, bool]:
            if compare.generates(views, now.base):
                rows = compare.generation(views, [now.base, *now.ids], now.base).to_pylist()
                return text_sums(asked, rows), True
            return sums(asked, compare.behaviours(views, now.ids, now.base).to_pylist()), False

        self.asked = asked
        self.outcomes_menu.show(shown.outcomes(asked))
        self.ask(self.sums, answer, self._show)
        self.ask(self.outcomes, lambda: _outcomes(asked))

    def _show(self, answer: tuple[str, bool]) -> None:
        self.sums.content, generated = answer
        self.right.visible = not generated
        self.sums_menu.show(shown.sums(self.asked, generated=generated))
        self.whole.styles = {"grid-template-columns": "minmax(0, 1fr)"} if generated else {}


def _outcomes(asked: Asked) -> str:
    views, now = asked.snapshot.views, asked.now
    if compare.generates(views, now.base):
        return ""
    rows = compare.outcomes(views, now.ids, now.base).to_pylist()
    moved = {id: compare.prediction_changes(views, id, now.base).to_pylist() for id in now.shown}
    return outcome_bars(asked, rows) + moves(asked, moved)
