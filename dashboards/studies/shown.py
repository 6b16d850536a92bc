"""What each card of the page of studies shows, as questions."""

from __future__ import annotations

from typing import Any

from dashboards.sharing.shown import Shown, asked
from dashboards.studies.report import Report


def studies(there: bool) -> list[Shown]:
    """Of the list.

    Args:
        there: Whether it has any.
    """
    return [asked("Studies", "studies"), asked("Costs of studies", "study_costs")] if there else []


def trials(found: Report | None) -> list[Shown]:
    """Of the trials of the study that is shown."""
    return [asked(f"Trials of {found.id}", "trials", study=found.id)] if found else []


def report(found: Report | None) -> list[Shown]:
    """Of what a study came to; first the best models, then what there is besides."""
    if found is None:
        return []
    of: dict[str, Any] = {"study": found.id}
    parts = []
    if found.objectives:
        ways = [f"{name}:{way}" for name, way in found.objectives.items()]
        parts += [asked(f"Best of {found.id}", "study_best", **of)]
        parts += [asked(f"Hypervolume of {found.id}", "hypervolume_history", objectives=ways, by="trial", **of)]
    others = {
        "Failures": ("failures", found.failures),
        "Stopped early": ("stopped_early", found.stopped),
        "Reports": ("reports", found.stopped),
        "Repeats over seeds": ("study_repeats", found.repeats),
    }
    return parts + [asked(title, question, **of) for title, (question, rows) in others.items() if rows]
