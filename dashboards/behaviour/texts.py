"""Texts: what models wrote, word by word beside the base's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from panel.viewable import Viewable

from cc_ray import compare
from cc_ray.wording import format_value
from dashboards import markup
from dashboards.behaviour import shown
from dashboards.behaviour.asked import Asked
from dashboards.behaviour.terms import info
from dashboards.behaviour.view import View, grid
from dashboards.chosen import BASE_BADGE, Chosen
from dashboards.gallery import marks, pager
from dashboards.markup import esc
from dashboards.snapshot import Row

KINDS: Final = {
    "flipped": "Flipped",
    "lost": "Lost",
    "gained": "Gained",
    "disagree": "Changed",
    "wrong": "All wrong",
    "all": "All",
}
HINTS: Final = {
    "flipped": "Right under the base and wrong under a model, or the other way round",
    "lost": "Right under the base, wrong under a model",
    "gained": "Wrong under the base, right under a model",
    "disagree": "A model writes another text than the base",
    "wrong": "Every model is wrong",
    "all": "Every instance",
}
ORDERS: Final = {"change": "Largest change of F1", "loss": "Largest loss", "instance": "Number"}
PAGE: Final = 36


class GeneratedTexts(View):
    """One card with the instances."""

    name = "texts"
    title = "Texts"
    hint = "Which words changed?"
    needs = frozenset({"only", "sort", "offset"})
    generated = True

    def view(self) -> Viewable:
        """One card."""
        self.bar = self.part("card-head", sizing_mode="stretch_width")
        self.texts = self.part("scroll", "padded")
        self.card_menu = self.menu()
        card = grid("card", "gallery-card", children=[self.bar, self.texts, self.card_menu])
        return grid("instances", children=[card])

    def update(self, asked: Asked, changed: frozenset[str]) -> None:
        """Ask for a page of texts."""
        state = self.session.state
        self.card_menu.show(shown.texts(asked, state))
        only, sort, offset = state.only, state.sort, state.offset
        self.bar.content = (
            f'<div class="bar">{markup.switch("only", KINDS, only, HINTS)}'
            f"{markup.select('sort', 'Order', ORDERS, sort)}"
            f'<span class="hint"><del>only the base</del> <ins>only the model</ins> {info("diff")}</span></div>'
        )
        self.ask(self.texts, lambda: _page(asked, only, sort, offset))


def _page(asked: Asked, only: Any, sort: Any, offset: int) -> str:
    now = asked.now
    kind: Any = "changed" if only == "disagree" else only
    found = compare.texts(
        asked.snapshot.views,
        now.shown,
        now.base,
        only=kind,
        sort=sort,
        limit=PAGE,
        offset=offset,
    )
    if not found.count:
        return '<p class="empty">No text answers to this choice: choose another kind.</p>'
    return pager(offset, found.count) + cards(found.table.to_pylist(), now)


def cards(rows: Sequence[Row], now: Chosen) -> str:
    """A card an instance, with what the base and the models wrote.

    Args:
        rows: As `compare.texts` gives them.
        now: The models shown.
    """
    letters = marks({id: place for place, id in enumerate(now.shown)})
    return f'<div class="texts">{"".join(_card(row, now.base, letters) for row in rows)}</div>'


def _card(row: Row, base: str, letters: dict[str, str]) -> str:
    shown = esc((row["payload"] or b"").decode(errors="replace")) if row["payload_type"] != "image/png" else ""
    references = " | ".join(esc(text) for text in dict.fromkeys(row["references"] or []))
    answers = "".join(_answer(answer, base, letters) for answer in row["answers"])
    accepted = f'<p class="soft">accepted: {references}</p>' if references else ""
    return (
        f'<section class="text-card"><p class="prompt" data-tip="Instance {row["instance"]}">{shown}</p>{accepted}'
        f"<ul>{answers}</ul></section>"
    )


def _answer(answer: Row, base: str, letters: dict[str, str]) -> str:
    verdict, sign = {True: ("right", "✓"), False: ("wrong", "✗"), None: ("", "")}[answer["correct"]]
    facts = [f"F1 {format_value(answer['f1'], 'number')}"] if answer["f1"] is not None else []
    facts += [f"loss {format_value(answer['loss'], 'number')} per token"] if answer["loss"] is not None else []
    badge = BASE_BADGE if answer["model_id"] == base else letters.get(answer["model_id"], "")
    return (
        f'<li class="{verdict}">{badge}<i>{sign}</i><span class="written">{_words(answer)}</span>'
        f'<small class="soft">{", ".join(facts)}</small></li>'
    )


def _words(answer: Row) -> str:
    if not answer["text"]:
        return '<span class="soft">(nothing)</span>' + "".join(_piece(piece) for piece in answer["changes"])
    return "".join(_piece(piece) for piece in answer["changes"])


def _piece(piece: Row) -> str:
    words = esc(piece["words"])
    return {"removed": f"<del>{words}</del>", "added": f"<ins>{words}</ins>"}.get(piece["kind"], words)
