"""Calibration: whether the confidence of models can be believed."""

from __future__ import annotations

from panel.viewable import Viewable

from cc_ray import compare
from cc_ray.wording import format_interval, format_value
from dashboards.behaviour import shown
from dashboards.behaviour.asked import Asked
from dashboards.behaviour.diagram import diagram
from dashboards.behaviour.sums import chance
from dashboards.behaviour.terms import info, term
from dashboards.behaviour.view import View, grid, mark
from dashboards.chosen import BASE_BADGE
from dashboards.markup import esc
from dashboards.snapshot import Row

COLUMNS = (
    ("ECE", "ece", "percent"),
    ("Overconfidence", "overconfidence", "percent"),
    ("MCE", "mce", "percent"),
    ("Brier", "brier", "number"),
    ("NLL", "nll", "number"),
)


class Calibration(View):
    """Reliability diagrams above, scores of all models below."""

    name = "calibration"
    title = "Calibration"
    hint = "Can the confidence of a model be believed?"

    def view(self) -> Viewable:
        """Two cards."""
        self.diagrams, self.diagrams_menu = self.part("scroll", "padded"), self.menu(picture=True)
        self.scores, self.scores_menu = self.part("scroll", "padded"), self.menu(picture=True)
        above = grid("card", "diagram-card", children=[self.diagrams, self.diagrams_menu])
        below = grid("card", "score-card", children=[self.scores, self.scores_menu])
        return grid("calibration", children=[above, below])

    def update(self, asked: Asked, changed: frozenset[str]) -> None:
        """Diagrams come at once, scores with their resampled intervals later."""
        self.diagrams_menu.show(shown.reliability(asked))
        self.scores_menu.show(shown.calibration(asked))
        self.ask(self.diagrams, lambda: _diagrams(asked))
        self.ask(self.scores, lambda: _scores(asked))


def _diagrams(asked: Asked) -> str:
    ids = [asked.now.base, *asked.now.shown]
    rows: dict[str, list[Row]] = {id: [] for id in ids}
    for row in compare.reliability(asked.snapshot.views, ids).to_pylist():
        rows[row["model_id"]].append(row)
    if not any(rows.values()):
        return (
            '<p class="empty">Only the predicted classes of these models are known. Import their probabilities (a '
            "column a class, or <code>--logits</code>) to see whether they are calibrated.</p>"
        )
    names = asked.names()
    drawn = "".join(
        f'<div class="diagram" data-of="{id}"><div class="top">{BASE_BADGE if not place else mark(place - 1)}'
        f'<span class="clamp">{esc(names[id])}</span></div>{diagram(rows[id])}</div>'
        for place, id in enumerate(ids)
    )
    return f'<h2>Reliability {info("reliability")}</h2><div class="diagrams">{drawn}</div>'


def _scores(asked: Asked) -> str:
    snapshot, ids = asked.snapshot, (asked.now.base, *asked.now.ids)
    found: list[Row] = snapshot.once(("calibration", ids), lambda: compare.calibration(snapshot.views, ids).to_pylist())
    heads = "".join(f'<th class="number">{term(label, name)}</th>' for label, name, _ in COLUMNS)
    largest = max((row["ece"] or 0.0 for row in found), default=0.0) or 1.0
    names = asked.names()
    lines = "".join(_line(row, place, names[row["model_id"]], largest) for place, row in enumerate(found, -1))
    return (
        "<h2>Scores <small>point at a number for its 95 % interval</small></h2>"
        f'<table class="rows"><thead><tr><th>Model</th>{heads}<th class="number">{term("p of ECE", "ece_p")}</th></tr>'
        f"</thead><tbody>{lines}</tbody></table>"
    )


def _line(row: Row, place: int, name: str, largest: float) -> str:
    cells = "".join(_score(row, column, kind, largest) for _, column, kind in COLUMNS)
    return (
        f'<tr data-of="{row["model_id"]}"><td><div class="named">{BASE_BADGE if place < 0 else mark(place)}'
        f'<span>{esc(name)}</span></div></td>{cells}<td class="number">{chance(row["ece_p"])}</td></tr>'
    )


def _score(row: Row, column: str, kind: str, largest: float) -> str:
    interval = format_interval(row.get(f"{column}_low"), row.get(f"{column}_high"), kind)
    hint = f' data-tip="95 % interval {interval}"' if interval else ""
    bar = ""
    if column == "ece" and row["ece"] is not None:
        bar = f'<span class="track"><i class="fill" style="width:{100 * row["ece"] / largest:.0f}%"></i></span>'
    return f'<td class="number"{hint}>{format_value(row[column], kind)}{bar}</td>'
