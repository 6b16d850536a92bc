"""What operators can do to a study: stop it, go on with it, compress its best further. What ends work asks first."""

from __future__ import annotations

from typing import Final

from dashboards import markup
from dashboards.markup import esc
from dashboards.operating import Job
from dashboards.snapshot import Row

STUDY: Final = "study"
"""What is asked about where the whole study is to be stopped."""


def controls(study: str, row: Row | None, requests: list[Row], job: Job | None, asked: str, said: str) -> str:
    """HTML of the buttons; they report `do="run-..."`.

    Args:
        study: Its name.
        row: Its row of `compare.studies`; None where no session of it has begun.
        requests: What was asked of it in this session, last first.
        job: Its last job, where one is known.
        asked: What waits for a yes.
        said: What came of what was done last, where it went wrong.
    """
    under_way = job is not None and not job.ended
    runs = under_way or (row is not None and row["state"] == "running")
    if runs and asked == STUDY:
        buttons = (
            f'<span class="sure">Stop {esc(study)}? What is made stays, and it can be gone on with. '
            '<button class="primary" data-do="run-stop" data-trial="" data-key="run-yes">Stop it</button> '
            '<button data-do="run-ask" data-what="" data-key="run-no">Keep running</button></span>'
        )
    else:
        buttons = _running() if runs else _ended(row)
    wrong = f'<p class="failure">{esc(said)}</p>' if said else ""
    return f'<div class="bar run-bar">{buttons}</div>{_asked(requests, runs)}{wrong}'


def beginning(study: str, job: Job) -> str:
    """HTML for a study that has a job, but has not said a word yet."""
    if job.ended:
        why = esc(job.reason) or "its log says why"
        return f'<p class="failure">Job {esc(job.name)} of {esc(study)} {esc(job.state)} before it began: {why}.</p>'
    return (
        f'<h2 class="study-title">{esc(study)} <span class="state pending">starting</span></h2>'
        '<p role="status">Its process is being started; its trials stand here in a few seconds.</p>'
    )


def _running() -> str:
    return (
        f'<button data-do="run-ask" data-what="{STUDY}" data-key="run-stop" title="End it; what is made stays">'
        "Stop …</button>"
    )


def _ended(row: Row | None) -> str:
    if row is None:
        return ""
    parts = []
    if row["state"] in ("stopped", "failed") or row["pending"] or row["stopped"]:
        parts.append(markup.button("run-resume", "Resume", "Go on with the trials that have not ended"))
    if row["failed"]:
        parts.append(markup.button("run-retry", "Retry failed", "Go on, and try again the trials that failed"))
    if row["models"]:
        parts.append(markup.button("run-further", "Compress its best further …", "Select them and add steps"))
    return "".join(parts)


def _asked(requests: list[Row], runs: bool) -> str:
    """Who asked to stop what, and when."""
    shown = requests[:3]
    lines = "".join(
        f"<li>{esc(row['by'] or 'An operator')} asked to stop {'a trial' if row['trial_id'] else 'it'}, "
        f"{row['at']:%H:%M:%S} UTC</li>"
        for row in shown
    )
    waits = "" if not runs or not shown or shown[0]["trial_id"] else " It ends its steps within seconds."
    return f'<ul class="seen soft">{lines}</ul>{f"<p class=soft>{waits}</p>" if waits else ""}' if lines else ""
