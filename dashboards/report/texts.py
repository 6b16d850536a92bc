"""Behaviours of models that write text: sums, and a few texts word by word beside the base's."""

from __future__ import annotations

from typing import Final

from cc_ray import compare
from cc_ray.errors import NotComparableError
from dashboards.behaviour.asked import Asked
from dashboards.behaviour.sums import text_sums
from dashboards.behaviour.terms import TERMS
from dashboards.behaviour.texts import cards
from dashboards.behaviour.tokens import coloured, tables
from dashboards.report.examples import bounded
from dashboards.report.section import Section, asks
from dashboards.state import short

MOST: Final = 8
"""Instances that are shown."""
DEFINED: Final = {
    "Perplexity": "perplexity", "Exact match": "exact_match", "F1": "f1", "KL per token": "kl",
    "Same top token": "same_top", "Lost": "lost", "Gained": "gained", "p": "p",
}  # fmt: skip


def answers(asked: Asked, lead: str) -> Section:
    """A row a model, then the texts that changed most, and the tokens that cost most."""
    views, now = asked.snapshot.views, asked.now
    rows = compare.generation(views, [now.base, *now.ids], now.base).to_pylist()
    parts = [_texts(asked), _tokens(asked)]
    sections = [
        Section(lead + text_sums(asked, rows), {}, {"Sums": [asks("generation", now.ids, base=short(now.base))]})
    ]
    sections += [part for part in parts if part is not None]
    terms = {label: TERMS[key] for label, key in DEFINED.items()}
    return Section(
        "".join(part.body for part in sections),
        terms | {label: meaning for part in sections for label, meaning in part.terms.items()},
        {what: queries for part in sections for what, queries in part.queries.items()},
    )


def _texts(asked: Asked) -> Section | None:
    """None where only losses are recorded."""
    views, now = asked.snapshot.views, asked.now
    try:
        found = compare.texts(views, now.shown, now.base, only="changed", sort="change", limit=MOST)
    except NotComparableError:
        return None
    shown = [bounded(row) for row in found.table.to_pylist()]
    head = f"<h2>Texts that changed most <small>{len(shown)} of {found.count:,}</small></h2>"
    query = asks("texts", now.shown, base=short(now.base), only="changed", sort="change", limit=str(MOST))
    return Section(
        head + cards(shown, now) if shown else "<p>No text differs from the base's.</p>", {}, {"Texts": [query]}
    )


def _tokens(asked: Asked) -> Section | None:
    """None where the losses of single tokens are not recorded."""
    views, now, base = asked.snapshot.views, asked.now, short(asked.now.base)
    if not all(compare.scores_tokens(views, id) for id in (now.base, *now.shown)):
        return None
    focus = asked.focus("")
    found = compare.token_losses(views, now.shown, now.base, limit=MOST)
    head = f"<h2>Losses of tokens <small>{min(MOST, found.count)} of {found.count:,}: largest changes</small></h2>"
    lines = coloured(found.table.to_pylist(), now.shown)
    shown = f"<div>{head}{lines}</div><div>{tables(asked, focus)}</div>"
    queries = [
        asks("token_losses", now.shown, base=base, limit=str(MOST)),
        asks("hurt_tokens", model=short(focus), base=base),
        asks("perplexity_by_position", [focus], base=base),
    ]
    terms = {"Loss of a token": TERMS["token_loss"], "Perplexity by position": TERMS["token_position"]}
    return Section(f'<div class="halves">{shown}</div>', terms, {"Tokens": queries})
