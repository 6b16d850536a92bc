"""Reports of steps under way, on the side of the worker, and as rows that later sessions decide by."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pyarrow.compute as pc

from cc_ray.errors import StoppedEarlyError
from cc_ray.reports import Listener, Report
from cc_ray.search.early_stopping import Contest, Decision
from cc_ray.store import Store


class Reporter:
    """Tells of one step that a worker executes, keeps what was decided, and ends the step where it has to.

    Args:
        contest: What is told.
        model_id: The model that the step makes.
        name: Its recipe as a person reads it.
        study_id: The study that asked for it.
        task_id: The task it solves.
        ask: Decides about a report.
    """

    def __init__(
        self,
        contest: Contest,
        *,
        model_id: str,
        name: str,
        study_id: str,
        task_id: str,
        ask: Callable[[Report], Decision],
    ) -> None:
        self.listener = Listener(contest.stopping.metric, contest.stopping.ladder, self._hear)
        self._same = {
            "model_id": model_id,
            "name": name,
            "study_id": study_id,
            "task_id": task_id,
            "metric": contest.stopping.metric,
        }
        self._ask = ask
        self._rows: list[dict[str, Any]] = []

    def publish(self, store: Store) -> None:
        """Write what was reported, all at once: a batch costs more than many an epoch."""
        if self._rows:
            store.publish("report", f"{self._same['model_id']}-{uuid.uuid4().hex}", {"reports": self._rows})

    def _hear(self, report: Report) -> None:
        decision = self._ask(report)
        what = {"decision": decision.verb, "reason": decision.reason or None, "at": datetime.now(UTC)}
        self._rows.append({**self._same, **vars(report), **what})
        if decision.verb == "stop":
            raise StoppedEarlyError(decision.reason)


def reports_of(store: Store, study_id: str, task_id: str, metric: str) -> list[dict[str, Any]]:
    """Rows of `schema.REPORTS` of a study, in their order."""
    table = store.read("reports")
    for name, value in {"study_id": study_id, "task_id": task_id, "metric": metric}.items():
        table = table.filter(pc.equal(table.column(name), value))
    rows: list[dict[str, Any]] = table.sort_by("at").to_pylist()
    return rows
