"""Exemplars: the instances that compression as such changes, a queue to look through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from panel.viewable import Viewable

from cc_ray import compare
from cc_ray.wording import format_value
from dashboards.behaviour import shown
from dashboards.behaviour.asked import Asked
from dashboards.behaviour.terms import info
from dashboards.behaviour.view import View, grid
from dashboards.components import Html, Message
from dashboards.gallery import PAGE, answers, marks, pager, payload
from dashboards.markup import esc, told
from dashboards.snapshot import Row

KINDS: Final = {
    "all": ("All", "Every instance whose modal prediction changes"),
    "lost": ("Lost", "The base is right, most compressed models are wrong"),
    "gained": ("Gained", "The base is wrong, most compressed models are right"),
    "wrong": ("Both wrong", "Both are wrong, with different classes"),
}


class Exemplars(View):
    """One card with the queue."""

    name = "exemplars"
    title = "Exemplars"
    hint = "Which instances does compression as such lose?"

    def view(self) -> Viewable:
        """One card."""
        self.asked: Asked | None = None
        self.kind, self.every, self.offset = "lost", True, 0
        self.bar = Html(on=self._did, css_classes=["card-head"])
        self.queue = Html(on=self._did, css_classes=["scroll", "padded", "gallery-body"], sizing_mode="stretch_both")
        self.card_menu = self.menu()
        card = grid("card", "gallery-card", children=[self.bar, self.queue, self.card_menu])
        return grid("instances", children=[card])

    def update(self, asked: Asked, changed: frozenset[str]) -> None:
        """Ask for the queue, and for the page of it that is shown."""
        self.asked = asked
        everyone = population(asked)
        self.bar.content = self._bar(asked, everyone)
        ids = everyone if self.every else list(asked.now.ids)
        self.card_menu.show(shown.exemplars(asked, ids))
        kind, offset = self.kind, self.offset
        self.ask(self.queue, lambda: _queue(asked, ids, kind, offset))

    def _bar(self, asked: Asked, everyone: Sequence[str]) -> str:
        kinds = "".join(
            f'<button data-do="kind" data-value="{kind}" data-key="kind-{kind}" data-tip="{hint}"'
            f' aria-pressed="{str(kind == self.kind).lower()}">{label}</button>'
            for kind, (label, hint) in KINDS.items()
        )
        of = "".join(
            f'<button data-do="every" data-value="{int(every)}" data-key="every-{int(every)}"'
            f' aria-pressed="{str(every == self.every).lower()}">{label}</button>'
            for every, label in (
                (True, f"All {len(everyone):,} compressed models"),
                (False, f"The {len(asked.now.ids):,} shown"),
            )
        )
        return (
            f'<div class="bar"><h2>Changed by compression {info("exemplar")}</h2><span class="switch">{kinds}</span>'
            f'<span class="field"><span>Population</span><span class="switch">{of}</span></span></div>'
        )

    def _did(self, message: Message) -> None:
        match message["do"]:
            case "kind" if message["value"] in KINDS:
                self.kind, self.offset = message["value"], 0
            case "every":
                self.every, self.offset = message["value"] == "1", 0
            case "page":
                self.offset = max(0, int(message["offset"]))
            case _:
                self.do(message)
                return
        if self.asked is not None:
            self.update(self.asked, frozenset())


def population(asked: Asked) -> list[str]:
    """All compressed models of the base's base model, and those shown."""
    models = asked.snapshot.models
    root = models[asked.now.base]["root"]
    every = [id for id, row in models.items() if row["root"] == root and row["operation"] and id != asked.now.base]
    return list(dict.fromkeys([*every, *asked.now.ids]))


def _queue(asked: Asked, ids: Sequence[str], kind: str, offset: int) -> str:
    snapshot, base = asked.snapshot, asked.now.base
    key = ("exemplars", base, tuple(ids))
    found: list[Row] = snapshot.once(key, lambda: compare.exemplars(snapshot.views, ids, [base]).to_pylist())
    chosen = [row for row in found if kind == "all" or _kind(row) == kind]
    if not chosen:
        return (
            f'<p class="empty">{len(found):,} instances change, none of this kind. Choose another kind, or a larger '
            "population.</p>"
        )
    page = {row["instance"]: row for row in chosen[offset : offset + PAGE]}
    shown = compare.instances(snapshot.views, asked.now.shown, base, among=list(page), limit=PAGE).table.to_pylist()
    letters = marks({id: place for place, id in enumerate(asked.now.shown)})
    cards = "".join(_card(row, page[row["instance"]], letters, len(ids)) for row in shown)
    return f'{pager(offset, len(chosen))}<div class="gallery queue">{cards}</div>'


def _kind(row: Row) -> str:
    return "lost" if row["base_correct"] else "gained" if row["correct"] else "wrong"


def _card(row: Row, exemplar: Row, letters: dict[str, str], count: int) -> str:
    agree = round(exemplar["agreement"] * count)
    meaning = f"{agree:,} of {count:,} compressed models predict it ({format_value(exemplar['agreement'], 'percent')})"
    tied = " A tie." if exemplar["tied"] else ""
    before = _said(exemplar["base_prediction_name"], exemplar["base_correct"])
    after = _said(exemplar["prediction_name"], exemplar["correct"])
    return (
        f"<figure>{payload(row['payload'], row['payload_type'])}<figcaption>"
        f'<div class="truth" data-tip="Instance {row["instance"]}">{esc(row["label_name"])}</div>'
        f'<div class="verdicts">{before} → {after} {told(f"{agree:,} of {count:,}", meaning + tied)}</div>'
        f"<ul>{answers(row, letters)}</ul></figcaption></figure>"
    )


def _said(name: str, correct: bool) -> str:
    return f'<span class="{"right" if correct else "wrong"}"><b class="says">{esc(name)}</b></span>'
