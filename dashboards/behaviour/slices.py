"""Slices: where a model changed most, found by search, and any slice that can be written as a condition."""

from __future__ import annotations

from panel.viewable import Viewable

from cc_ray import compare
from cc_ray.wording import format_change, format_value
from dashboards import markup
from dashboards.behaviour import shown
from dashboards.behaviour.asked import Asked
from dashboards.behaviour.averages import SIGNIFICANT
from dashboards.behaviour.controls import condition_field
from dashboards.behaviour.sums import chance
from dashboards.behaviour.terms import info, term
from dashboards.behaviour.view import MODELS, View, choose, grid, mark
from dashboards.markup import esc
from dashboards.snapshot import Row

FOUND = 20
"""Slices that are listed."""
EXAMPLES = (
    "confidence < 0.6",
    "NOT correct AND margin < -0.5",
    "entropy BETWEEN 0.5 AND 1.0",
    "label IN (3, 5) AND prediction <> label",
)


class Slices(View):
    """Found ones on the left, a written one on the right."""

    name = "slices"
    title = "Slices"
    hint = "On which kinds of instances is a model worse?"
    needs = frozenset({"focus", "where"})

    def view(self) -> Viewable:
        """Two cards."""
        self.head = self.part("card-head", sizing_mode="stretch_width")
        self.found = self.part("scroll", "padded")
        self.field = self.part("card-head", sizing_mode="stretch_width")
        self.written = self.part("scroll", "padded")
        self.found_menu, self.written_menu = self.menu(), self.menu()
        left = grid("card", "found-card", children=[self.head, self.found, self.found_menu])
        right = grid("card", "written-card", children=[self.field, self.written, self.written_menu])
        return grid("slices", children=[left, right])

    def update(self, asked: Asked, changed: frozenset[str]) -> None:
        """Ask for both apart."""
        state, where = self.session.state, asked.where
        focus = asked.focus(state.focus)
        names = asked.names()
        choices = {id: names[id] for id in asked.now.ids}
        choice = f'<span class="long">{markup.select("focus", "of", choices, focus)}</span>'
        self.head.content = f'<div class="bar"><h2>Found slices {info("searched")}</h2>{choice}</div>'
        field = condition_field(self.session)
        self.field.content = f'<div class="bar"><h2>A slice by condition {info("slice")}</h2>{field}</div>'
        self.found_menu.show(shown.found_slices(asked, focus, FOUND))
        self.written_menu.show(shown.written_slice(asked))
        if changed & (MODELS | {"focus"}):
            self.ask(self.found, lambda: _found(asked, focus))
        if not changed & (MODELS | {"where"}):
            return
        if where:
            self.ask(self.written, lambda: _written(asked))
        else:
            self.ask(self.written, _examples)


def _examples() -> str:
    links = (
        f'<button class="link" {choose(f"example-{text}", where=text)}><code>{esc(text)}</code></button>'
        for text in EXAMPLES
    )
    lines = "".join(f"<li>{link}</li>" for link in links)
    return f'<p class="empty">Write a condition, choose a slice that was found, or try:</p><ul>{lines}</ul>'


def _found(asked: Asked, focus: str) -> str:
    rows = compare.worst_slices(asked.snapshot.views, focus, asked.now.base, FOUND).to_pylist()
    if not rows:
        return '<p class="empty">There are too few instances to search: a slice needs 30.</p>'
    lines = "".join(_line(row, asked.where) for row in rows)
    return (
        f'<p class="soft">{rows[0]["searched"]:,} slices were searched; p is corrected for them all.</p>'
        '<table class="rows"><thead><tr><th>Slice</th><th class="number">n</th><th class="number">Base</th>'
        f'<th class="number">Model</th><th class="number">{term("Change", "change")}</th>'
        f'<th class="number">{term("p", "p")}</th></tr></thead><tbody>{lines}</tbody></table>'
    )


def _line(row: Row, where: str) -> str:
    sure = row["holm_p"] < SIGNIFICANT
    verdict = "even" if not sure else "good" if row["difference"] > 0 else "bad"
    here = ' class="picked"' if row["condition"] == where else ""
    return (
        f'<tr tabindex="0"{here} {choose(row["condition"], where=row["condition"])} data-tip="{esc(row["condition"])}">'
        f'<td>{esc(row["slice"])}</td><td class="number">{row["n"]:,}</td>'
        f'<td class="number">{format_value(row["base_accuracy"], "percent")}</td>'
        f'<td class="number">{format_value(row["accuracy"], "percent")}</td>'
        f'<td class="number {verdict}">{format_change(row["difference"], "percent")}</td>'
        f'<td class="number">{chance(row["holm_p"])}</td></tr>'
    )


def _written(asked: Asked) -> str:
    views, now = asked.snapshot.views, asked.now
    inside = compare.measures(views, now.ids, now.base, "correct", where=asked.where).to_pylist()
    if not inside:
        return '<p class="empty">No instance fulfils this condition: loosen it.</p>'
    whole = compare.measures(views, now.ids, now.base, "correct").to_pylist()
    names = asked.names()
    lines = "".join(
        _model(row, all_, place, names[row["model_id"]])
        for place, (row, all_) in enumerate(zip(inside, whole, strict=True))
    )
    link = choose("slice-instances", part="instances", only="all", label="", kept="")
    return (
        f'<div class="bar"><b>{inside[0]["n"]:,} of {whole[0]["n"]:,} instances</b> <span class="soft">base right on '
        f"{format_value(inside[0]['base_mean'], 'percent')}</span><button {link}>Show them</button>"
        f"<button {choose('slice-clear', where='')}>Clear</button></div>"
        '<table class="rows"><thead><tr><th>Model</th><th class="number">Accuracy here</th><th class="number">'
        f'{term("Change", "change")} here</th><th class="number">overall</th><th class="number">{term("p", "p")}</th>'
        f"</tr></thead><tbody>{lines}</tbody></table>"
    )


def _model(row: Row, whole: Row, place: int, name: str) -> str:
    change, overall = row["difference"], whole["difference"]
    sure = row["p"] is not None and row["p"] < SIGNIFICANT
    verdict = "even" if not sure else "good" if change > 0 else "bad"
    return (
        f'<tr data-of="{row["model_id"]}"><td><div class="named">{mark(place)}<span>{esc(name)}</span></div></td>'
        f'<td class="number">{format_value(row["mean"], "percent")}</td>'
        f'<td class="number {verdict}">{format_change(change, "percent")}</td>'
        f'<td class="number soft">{format_change(overall, "percent")}</td>'
        f'<td class="number">{chance(row["p"])}</td></tr>'
    )
