"""Tokens: which tokens of a text cost a model more than the base, and which cost most over all texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from panel.viewable import Viewable

from cc_ray import compare
from cc_ray.errors import NotComparableError
from cc_ray.wording import format_change, format_interval, format_value
from dashboards import markup
from dashboards.behaviour.asked import Asked
from dashboards.behaviour.heat import Scale
from dashboards.behaviour.terms import MEASURES, info, term
from dashboards.behaviour.view import View, grid, mark
from dashboards.gallery import pager
from dashboards.markup import esc
from dashboards.snapshot import Row

ORDERS: Final = {"change": "Largest change", "loss": "Largest loss", "instance": "Number"}
PAGE: Final = 12
UNRECORDED: Final = (
    '<p class="empty">The losses of single tokens are not recorded of these models. Import them with the predictions: '
    "columns <code>token_losses</code> and <code>token_texts</code>, a list in each row.</p>"
)


class TokenLosses(View):
    """Texts coloured token by token on the left, tables over all texts on the right."""

    name = "tokens"
    title = "Tokens"
    hint = "Which tokens cost a model more than the base?"
    needs = frozenset({"sort", "offset", "focus"})
    generated = True

    def view(self) -> Viewable:
        """Two cards."""
        self.bar = self.part("card-head", sizing_mode="stretch_width")
        self.texts = self.part("scroll", "padded")
        self.tables = self.part("card", "scroll", "padded", "token-tables")
        return grid("tokens", children=[grid("card", "gallery-card", children=[self.bar, self.texts]), self.tables])

    def update(self, asked: Asked, changed: frozenset[str]) -> None:
        """Ask for a page of texts and for the tables apart."""
        state, names = self.session.state, asked.names()
        sort, offset, focus = state.sort, state.offset, asked.focus(state.focus)
        choices = {id: names[id] for id in asked.now.ids}
        self.bar.content = (
            f'<div class="bar">{markup.select("sort", "Order", ORDERS, sort)}'
            f"{markup.select('focus', 'Tables of', choices, focus)}</div>"
        )
        self.ask(self.texts, lambda: page(asked, sort, offset))
        self.ask(self.tables, lambda: tables(asked, focus))


def page(asked: Asked, sort: Any, offset: int) -> str:
    """Texts with a line a model, each token coloured by how much its loss changed."""
    now = asked.now
    try:
        found = compare.token_losses(asked.snapshot.views, now.shown, now.base, sort=sort, limit=PAGE, offset=offset)
    except NotComparableError:
        return UNRECORDED
    return pager(offset, found.count, PAGE) + coloured(found.table.to_pylist(), now.shown)


def coloured(rows: Sequence[Row], shown: Sequence[str]) -> str:
    """A card an instance with a line a model, below what the colours mean.

    Args:
        rows: Of `compare.token_losses`.
        shown: The models, in the order of their letters.
    """
    pairs = (pair for row in rows for pair in zip(row["losses"] or [], row["base_losses"] or [], strict=True))
    scale = Scale.of(MEASURES["loss"], [own - base for own, base in pairs])
    by_instance: dict[int, list[Row]] = {}
    for row in rows:
        by_instance.setdefault(row["instance"], []).append(row)
    cards = "".join(_card(instance, lines, shown, scale) for instance, lines in by_instance.items())
    legend = f'<div class="bar">{term("Change of loss", "token_loss")} {scale.legend(MEASURES["loss"])}</div>'
    return f'{legend}<div class="token-cards">{cards}</div>'


def tables(asked: Asked, focus: str) -> str:
    """The tokens that cost one model most, and its perplexity by position."""
    views, base = asked.snapshot.views, asked.now.base
    try:
        hurt = compare.hurt_tokens(views, focus, base).to_pylist()
        buckets = compare.perplexity_by_position(views, [focus], base).to_pylist()
    except NotComparableError:
        return UNRECORDED
    place, name = asked.now.ids.index(focus), esc(asked.names()[focus])
    return (
        f'<h2>Tokens most hurt {info("token_hurt")}</h2><p class="named">{mark(place)}<span>{name}</span></p>'
        f"{_hurt(hurt)}<h2>{term('Perplexity by position', 'token_position')}</h2>{_buckets(buckets)}"
    )


def _card(instance: int, rows: Sequence[Row], shown: Sequence[str], scale: Scale) -> str:
    lines = "".join(_line(row, shown.index(row["model_id"]), scale) for row in rows)
    return f'<section class="text-card"><small class="soft">Instance {instance}</small>{lines}</section>'


def _line(row: Row, place: int, scale: Scale) -> str:
    if row["reason"]:
        return f'<p class="token-line">{mark(place)} <span class="soft">{esc(row["reason"])}</span></p>'
    own, base = row["losses"], row["base_losses"]
    texts = row["tokens"] or [f"#{at} " for at in range(1, len(own) + 1)]
    before, after = (sum(values) / len(values) for values in (base, own))
    said = f"mean loss {before:.3g} → {after:.3g} nats over {len(own):,} tokens"
    tokens = "".join(_token(*each, scale) for each in zip(texts, base, own, strict=True))
    return (
        f'<p class="token-line" data-of="{row["model_id"]}"><span tabindex="0" data-tip="{said}">{mark(place)}</span>'
        f'<span class="written">{tokens}</span></p>'
    )


def _token(text: str, before: float, after: float, scale: Scale) -> str:
    colour, ink = scale.colours(after - before)
    tip = f"{text.strip() or 'space'}: {before:.3g} → {after:.3g} nats ({format_change(after - before, 'number')})"
    written = esc(text).replace("\n", "⏎\n")
    return f'<span style="background:{colour};color:{ink}" data-tip="{esc(tip)}">{written}</span>'


def _hurt(rows: Sequence[Row]) -> str:
    if not rows:
        return '<p class="empty">No token was scored often enough, or the texts of the tokens are not recorded.</p>'
    most = max(abs(row["total"]) for row in rows) or 1.0
    lines = "".join(_hurt_line(row, most) for row in rows)
    return (
        '<table class="rows lens"><thead><tr><th>Token</th><th class="number">Times</th><th class="number">Loss</th>'
        f'<th class="number">Change</th><th class="bar-head">In sum</th></tr></thead><tbody>{lines}</tbody></table>'
    )


def _hurt_line(row: Row, most: float) -> str:
    share = "" if row["share"] is None else f" <small>{format_value(row['share'], 'percent')}</small>"
    losses = f"{row['base_loss']:.3g} → {row['loss']:.3g}"
    written = esc(row["token"].replace(" ", "␣").replace("\n", "⏎"))
    return (
        f'<tr><td><code class="token">{written}</code></td>'
        f'<td class="number" data-tip="in {row["instances"]:,} instances">{row["n"]:,}</td>'
        f'<td class="number">{losses}</td>'
        f"{_change(row)}"
        f'<td class="bar-cell">{format_change(row["total"], "number")}{share}<span class="track">'
        f'<i class="fill" style="width:{100 * abs(row["total"]) / most:.0f}%"></i></span></td></tr>'
    )


def _change(row: Row) -> str:
    low, high = row["difference_low"], row["difference_high"]
    if low is None:
        verdict, tip = _verdict(row["difference"]), "one instance has it: no interval"
    else:
        # A change that chance explains is neither good nor bad.
        verdict = "even" if low <= 0 <= high else _verdict(row["difference"])
        tip = f"95 %: {format_change(low, 'number')} to {format_change(high, 'number')} nats"
    return f'<td class="number {verdict}" data-tip="{tip}">{format_change(row["difference"], "number")}</td>'


def _buckets(rows: Sequence[Row]) -> str:
    if not rows:
        return '<p class="empty">No text was scored alike by both.</p>'
    lines = "".join(_bucket(row) for row in rows)
    return (
        '<table class="rows"><thead><tr><th>Tokens</th><th class="number">Base</th><th class="number">Model</th>'
        f'<th class="number">Ratio</th><th class="number">95 % interval</th></tr></thead><tbody>{lines}</tbody></table>'
    )


def _bucket(row: Mapping[str, Any]) -> str:
    low, high = row["ratio_low"], row["ratio_high"]
    # A change that chance explains is neither good nor bad.
    verdict = "even" if low <= 1 <= high else _verdict(row["ratio"] - 1)
    return (
        f'<tr><td data-tip="{row["tokens"]:,} tokens of {row["instances"]:,} instances">{row["first"] + 1:,} to '
        f'{row["last"] + 1:,}</td><td class="number">{row["base_perplexity"]:.4g}</td>'
        f'<td class="number">{row["perplexity"]:.4g}</td><td class="number {verdict}">× {row["ratio"]:.3g}</td>'
        f'<td class="number soft">{format_interval(low, high, "number")}</td></tr>'
    )


def _verdict(change: float) -> str:
    return "bad" if change > 0 else "good" if change < 0 else "even"
