"""The trials of a study: filtered by state, sorted, a page at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from cc_ray.compare.labels import STEP
from cc_ray.wording import NOTHING, format_duration
from dashboards import markup
from dashboards.gallery import pager
from dashboards.markup import esc
from dashboards.snapshot import Row
from dashboards.studies.listing import moment, pill
from dashboards.studies.report import STATES, Report, imported
from dashboards.studies.terms import TERMS

PAGE: Final = 50
"""Trials on a page."""
EVERY: Final = "all"

_KEYS: Final[Mapping[str, Callable[[Row], Any]]] = {
    "recipe": lambda row: row["called"].lower(),
    "state": lambda row: STATES.index(row["state"]),
    "made": lambda row: row["steps_run"],
    "time": lambda row: row["duration_s"],
    "at": lambda row: row["at"],
}
_HEADS: Final = {"recipe": "Recipe", "state": "State", "made": "Models made", "time": "Time", "at": "Since"}
_MEANINGS: Final = {"recipe": "recipe", "state": "state", "made": "made", "time": "time", "at": "since"}
_NUMBERS: Final = frozenset({"made", "time", "at"})


@dataclass(frozen=True)
class Order:
    """How trials are sorted, and where the page begins."""

    by: str = "at"
    falling: bool = True
    offset: int = 0

    def turned(self, by: str) -> Order:
        """Sorted by a column; once more the other way round."""
        falling = not self.falling if by == self.by else by in _NUMBERS
        return Order(by, falling)

    def page(self, offset: int) -> Order:
        """Another page."""
        return replace(self, offset=offset)


def filters(found: Report, state: str) -> str:
    """The choice of a state, with how many trials there are in each."""
    if imported(found.study):
        return ""
    counts = found.counts
    choices = {EVERY: f"All {len(found.trials):,}"}
    choices |= {name: f"{name.capitalize()} {counts[name]:,}" for name in STATES if counts[name] or name == state}
    return f'<div class="bar">{markup.switch("trials", choices, state)}</div>'


def table(
    found: Report, state: str, order: Order, known: Mapping[str, Row], stops: bool = False, asked: str = ""
) -> str:
    """HTML of one page of trials; a click on one with a model reports `do="open"`.

    Args:
        found: The study.
        state: State of the trials that are wanted, or `EVERY`.
        order: How they are sorted.
        known: Models of the store.
        stops: Trials under way have a button that stops them.
        asked: trial_id of the one whose stopping waits for a yes.
    """
    rows = [row for row in found.trials if state in (EVERY, row["state"])]
    if not rows:
        return f'<p class="empty">{_nothing(found, state)}</p>'
    rows.sort(key=_KEYS[order.by], reverse=order.falling)
    offset = order.offset if order.offset < len(rows) else 0
    shown = "".join(
        _row(row, known, found.output.get(row["trial_id"], []), stops, asked) for row in rows[offset : offset + PAGE]
    )
    turn = pager(offset, len(rows), PAGE) if len(rows) > PAGE else ""
    heads = "".join(_head(name, order) for name in _HEADS)
    return (
        f'{turn}<table class="rows trials-table" aria-label="Trials"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{shown}</tbody></table>"
    )


def recipe(called: str) -> str:
    """A recipe's name as a trail of its steps."""
    *before, last = called.split(STEP)
    trail = "".join(f'<span>{esc(step)} <i class="arrow">›</i></span> ' for step in before)
    return f'<span class="recipe">{trail}<span>{esc(last)}</span></span>'


def _nothing(found: Report, state: str) -> str:
    if imported(found.study):
        count = found.study["models"]
        return (
            f"This study was imported, with {count:,} model{'s' if count > 1 else ''} and without trials. The Overview "
            "shows the models; the best of each objective are on the right."
        )
    if not found.trials:
        return "No trial has begun yet. Trials appear here as soon as their first step waits for a worker."
    return f"No trial is {esc(state)}. Choose another state above."


def _head(name: str, order: Order) -> str:
    current = name == order.by
    sign = ("▾" if order.falling else "▴") if current else ""
    said = f' aria-sort="{"descending" if order.falling else "ascending"}"' if current else ""
    kind = f' class="number{" optional" if name == "made" else ""}"' if name in _NUMBERS else ""
    return (
        f'<th{kind}{said}><button class="sort" data-do="sort" data-by="{name}" data-key="sort-{name}"'
        f' data-tip="{esc(TERMS[_MEANINGS[name]])} Click to sort.">'
        f"{_HEADS[name]} {sign}</button></th>"
    )


def _output(row: Row, runs: list[Row]) -> str:
    """What its steps left, folded."""
    parts = "".join(_run(run) for run in runs)
    title = "Traceback" if any(run["traceback"] for run in runs) else "What its steps printed"
    key = esc(row["trial_id"])
    return (
        f'<details class="output" data-key="output-{key}"><summary>{title}</summary>{parts}</details>' if runs else ""
    )


def _run(run: Row) -> str:
    step = f"<h4>{esc(run['step'])}</h4>" if run["step"] else ""
    texts = "".join(f"<pre>{esc(run[name].strip())}</pre>" for name in ("printed", "traceback") if run[name])
    return step + texts


def _stop(row: Row, asked: str) -> str:
    """A button that stops it, or the question whether to."""
    id = esc(row["trial_id"])
    if row["trial_id"] != asked:
        return f'<button class="run-small" data-do="run-ask" data-what="{id}" data-key="stop-{id}">Stop …</button>'
    return (
        '<div class="sure">Stop this trial? Steps that others share go on; the next session tries it again. '
        f'<button class="primary run-small" data-do="run-stop" data-trial="{id}" data-key="yes-{id}">Stop it</button> '
        f'<button class="run-small" data-do="run-ask" data-what="" data-key="no-{id}">Keep running</button></div>'
    )


def _row(row: Row, known: Mapping[str, Row], runs: list[Row], stops: bool, asked: str) -> str:
    id = row["model_id"]
    opens = (
        f' data-do="open" data-model="{esc(id)}" data-key="trial-{esc(row["trial_id"])}" tabindex="0"'
        ' data-tip="Select its model and go to the Overview"'
        if id in known
        else ""
    )
    step = f"at <code>{esc(row['failed_step'])}</code>: " if row["failed_step"] else ""
    reason = f'<div class="reason">{step}{esc(row["reason"])}</div>' if row["reason"] else ""
    ended = row["state"] not in ("pending", "running")
    stop = _stop(row, asked) if stops and not ended else ""
    made, time = (f"{row['steps_run']}", format_duration(row["duration_s"])) if ended else (NOTHING, NOTHING)
    reused = f' <span class="soft">+{row["steps_reused"]} reused</span>' if row["steps_reused"] else ""
    return (
        f"<tr{opens}><td>{recipe(row['called'])}{reason}{_output(row, runs)}</td><td>{pill(row['state'])}{stop}</td>"
        f'<td class="number optional">{made}{reused}</td>'
        f'<td class="number">{time}</td>'
        f'<td class="number moment" data-tip="{moment(row["at"])} UTC">{row["at"]:%d %b %H:%M}</td></tr>'
    )
