"""Runs studies for the dashboard: plans as Ray tasks, studies as jobs of their own, requests as rows of the store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, TypeVar

import pyarrow.compute as pc
import ray
from ray.exceptions import RayError, RayTaskError

from cc_ray.errors import CcRayError, InvalidRecipeError
from cc_ray.jobs import Job as Found
from cc_ray.operating.jobs import Jobs
from cc_ray.operating.planning import describe, plan_branch, verb
from cc_ray.operating.state import cluster
from cc_ray.search.requests import Request, ask
from cc_ray.store import Store
from dashboards.operating import WHOLE, Branch, Cluster, Job, Operation, Planned

Answer = TypeVar("Answer")

_FRESH_S: Final = 2.0
"""Ray and the job server are asked no more often than this, however many tabs look."""
_PLAN_S: Final = 120.0


class StudyOperator:
    """An `Operator` of the dashboard, for one store.

    Args:
        root: The store's folder or URL.
        jobs: Runs studies.
    """

    def __init__(self, root: str, jobs: Jobs) -> None:
        self._root = root
        self._jobs = jobs
        self._recent = _Recent()
        self._operations: tuple[Operation, ...] = ()

    def operations(self) -> Sequence[Operation]:
        """See `Operator`."""
        if not self._operations:
            self._operations = _done(describe.remote())
        return self._operations

    def plan(self, branch: Branch) -> Planned:
        """See `Operator`."""
        try:
            found: Planned = _done(plan_branch.remote(self._root, branch))
        except CcRayError as error:
            return Planned({(WHOLE, ""): str(error)})
        if found.study and self._is_known(found.study):
            said = f"there is a study '{found.study}' already: choose another name."
            return Planned({(WHOLE, "name"): said})
        return found

    def start(self, branch: Branch, by: str) -> str:
        """See `Operator`."""
        planned = self.plan(branch)
        if planned.problems:
            raise InvalidRecipeError("; ".join(planned.problems.values()))
        self._start(planned.study, [*verb(branch, planned.study), f"--by={by}"])
        return planned.study

    def resume(self, study: str, by: str, *, retry_failed: bool = False) -> None:
        """See `Operator`."""
        row = self._row(study)
        if row is None:
            raise InvalidRecipeError(f"the store has no study '{study}'.")
        retry = ["--retry-failed"] if retry_failed else []
        self._start(study, ["resume", f"--by={by}", *retry, "--", study])

    def stop(self, study: str, by: str, trial: str | None = None) -> None:
        """See `Operator`."""
        ask(Store.known(self._root), Request(study, trial, by))
        row = self._row(study)
        job = self._jobs.find(study)
        if trial is None and job and not job.ended and (row is None or row["state"] != "running"):
            # Its session has not begun, and will not look for what was asked before.
            self._jobs.stop(job)
            self._recent.forget(("job", study))

    def job(self, study: str) -> Job | None:
        """See `Runs`."""
        found = self._recent.get(("job", study), lambda: self._found(study))
        return Job(found.job_id, found.state, found.started_at, found.reason or "") if found else None

    def log(self, study: str) -> str:
        """See `Runs`."""

        def read() -> str:
            found = self._jobs.find(study)
            return self._jobs.log(found) if found else ""

        return self._recent.get(("log", study), read)

    def cluster(self) -> Cluster:
        """See `Runs`."""
        return self._recent.get("cluster", lambda: cluster(self._root))

    def _found(self, study: str) -> Found | None:
        try:
            return self._jobs.find(study)
        except CcRayError:  # Nobody answers: whoever asks for the log is told.
            return None

    def _start(self, study: str, verb: Sequence[str]) -> None:
        self._jobs.start(study, verb)
        self._recent.forget(("job", study))

    def _is_known(self, study: str) -> bool:
        job = self._found(study)
        return self._row(study) is not None or (job is not None and not job.ended)

    def _row(self, study: str) -> dict[str, Any] | None:
        """The last state of a study."""
        table = Store.known(self._root).read("studies").select(["study_id", "state", "at"])
        rows = table.filter(pc.equal(table["study_id"], study)).sort_by("at").to_pylist()
        return rows[-1] if rows else None


class _Recent:
    """Answers that are given again for a moment; those who ask meanwhile wait for the one who fetches."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: dict[Hashable, tuple[float, Any]] = {}

    def get(self, question: Hashable, fetch: Callable[[], Answer]) -> Answer:
        with self._lock:
            now = time.monotonic()
            self._answers = {asked: kept for asked, kept in self._answers.items() if now - kept[0] < _FRESH_S}
            if question not in self._answers:
                answer = fetch()
                self._answers[question] = time.monotonic(), answer
            found: Answer = self._answers[question][1]
            return found

    def forget(self, question: Hashable) -> None:
        with self._lock:
            self._answers.pop(question, None)


def _done(asked: Any) -> Any:
    """The answer of a task; what it raised, or that Ray lost it, as one of our errors."""
    try:
        return ray.get(asked, timeout=_PLAN_S)
    except RayTaskError as error:
        if isinstance(error.cause, CcRayError):
            raise error.cause from None
        raise CcRayError(f"this could not be told: {type(error.cause).__name__}: {error.cause}") from error
    except RayError as error:
        raise CcRayError(f"Ray did not answer: {' '.join(str(error).split())}") from error
