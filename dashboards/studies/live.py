"""What the page asks again and again while it is looked at, because no row of the store tells of it."""

from __future__ import annotations

from dataclasses import dataclass

from cc_ray.errors import CcRayError
from dashboards.operating import Cluster, Job, Runs


@dataclass(frozen=True)
class Live:
    """One moment of one study."""

    study: str = ""
    job: Job | None = None
    log: str | None = None
    """None where it was not asked for."""
    cluster: Cluster | None = None
    problem: str = ""
    """Why the log cannot be read."""


def live(runs: Runs, study: str, view: str) -> Live:
    """Ask for what a view shows of a study."""
    job = runs.job(study) if study else None
    if view == "cluster":
        return Live(study, job, cluster=runs.cluster())
    if view != "log" or not study:
        return Live(study, job)
    try:
        return Live(study, job, runs.log(study))
    except CcRayError as error:
        return Live(study, job, problem=str(error))
