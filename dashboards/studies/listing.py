"""All studies of the store, one a row."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from cc_ray.compare.labels import title
from cc_ray.wording import NOTHING, format_duration
from dashboards.markup import esc
from dashboards.snapshot import Row, Snapshot
from dashboards.studies.report import STATES, imported, objectives
from dashboards.studies.terms import term

_COLOURS: Final = {
    "finished": "var(--good)",
    "failed": "var(--bad)",
    "stopped": "var(--series-2)",
    "running": "var(--series-1)",
    "pending": "var(--line-2)",
}
_ARROW: Final = {"higher": "↑", "lower": "↓"}


def listing(snapshot: Snapshot, costs: Mapping[str, Row], chosen: str) -> str:
    """HTML of the studies; a click on one reports `do="study"`.

    Args:
        snapshot: Of the store.
        costs: Rows of `compare.study_costs` by study_id.
        chosen: study_id of the one that is shown below.
    """
    heads = (
        f"<th>{term('Study', 'study')}</th><th>State</th><th>{term('Trials', 'trials')}</th>"
        f'<th class="number">{term("Models", "models")}</th><th class="number">{term("CPU time", "cpu")}</th>'
        f'<th class="number">{term("GPU time", "gpu")}</th><th>Started</th><th>Ended</th>'
        f'<th class="optional">{term("Objectives", "objectives")}</th>'
    )
    rows = "".join(_row(snapshot, row, costs.get(row["study_id"], {}), chosen) for row in snapshot.studies)
    return (
        f'<h2>Studies <small>times in UTC</small></h2><table class="rows studies-table" aria-label="Studies">'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    )


def progress(study: Row) -> str:
    """How many trials are in which state, as a bar and in words."""
    parts = "".join(
        f'<i style="flex:{study[state]};background:{_COLOURS[state]}"></i>' for state in _bar_order() if study[state]
    )
    said = ", ".join(f"{study[state]} {state}" for state in _bar_order() if study[state]) or "none yet"
    return f'<span class="trials-bar" role="img" aria-label="Trials: {said}" data-tip="{said}">{parts}</span>'


def ended(study: Row) -> int:
    """Trials that have come to an end, whichever."""
    return int(study["finished"] + study["failed"] + study["stopped"])


def state_of(study: Row) -> str:
    """The state of a study as a coloured word."""
    return pill("imported" if imported(study) else study["state"])


def pill(state: str) -> str:
    """A state as a coloured word."""
    return f'<span class="state {esc(state)}">{esc(state)}</span>'


def moment(at: datetime | None) -> str:
    """A time to the minute."""
    return f"{at:%d %b %Y %H:%M}".lstrip("0") if at else NOTHING


def hours(held: float | None) -> str:
    """Hours of processors as people say them."""
    return format_duration(3600 * held) if held else NOTHING


def label_of(snapshot: Snapshot, metric: str) -> str:
    """What a metric is called, whether a model has it or not."""
    return snapshot.metrics[metric].label if metric in snapshot.metrics else title(metric)


def _bar_order() -> tuple[str, ...]:
    return (*STATES[2:], *STATES[:2])


def _row(snapshot: Snapshot, study: Row, costs: Row, chosen: str) -> str:
    id = study["study_id"]
    current = ' class="chosen" aria-current="true"' if id == chosen else ""
    wanted = ", ".join(
        f"{label_of(snapshot, name)}\u00a0{_ARROW.get(direction, '')}" for name, direction in objectives(study).items()
    )
    also = "".join(
        f' <span class="{kind}">{study[ending]} {ending}</span>'
        for ending, kind in (("failed", "bad"), ("stopped", "soft"))
        if study[ending]
    )
    trials = "none" if imported(study) else f"{progress(study)} {ended(study)} of {study['trials']}{also}"
    return (
        f'<tr data-do="study" data-study="{esc(id)}" data-key="study-{esc(id)}" tabindex="0"{current}>'
        f"<td><b>{esc(id)}</b></td><td>{state_of(study)}</td>"
        f'<td class="trials-cell">{trials}</td>'
        f'<td class="number">{study["models"]:,}</td><td class="number">{hours(costs.get("cpu_hours"))}</td>'
        f'<td class="number">{hours(costs.get("gpu_hours"))}</td>'
        f'<td class="moment">{moment(study["started_at"])}</td><td class="moment">{moment(study["finished_at"])}</td>'
        f'<td class="optional">{esc(wanted)}</td></tr>'
    )
