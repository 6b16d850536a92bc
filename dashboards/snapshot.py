"""The store as it was at one moment, read once a process and shared, unchanged, by all its sessions."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, TypeVar

import pyarrow as pa

from cc_ray import compare
from cc_ray.compare.labels import Labels
from cc_ray.views import Views, open_views
from cc_ray.wording import label_with_unit
from dashboards.state import short

Row = dict[str, Any]
Answer = TypeVar("Answer")

REFRESH_S: Final = 1.5
"""The store is asked for news no more often than this, however many sessions ask."""


@dataclass(frozen=True)
class Metric:
    """What a metric's numbers mean."""

    metric: str
    label: str
    unit: str
    direction: str
    min: float | None
    max: float | None
    format: str
    primary: bool
    meaning: str


@dataclass(frozen=True)
class Snapshot:
    """Everything that pages ask more than once, for one version of the store."""

    views: Views
    _answers: dict[Hashable, Any] = field(default_factory=dict)

    @cached_property
    def table(self) -> pa.Table:
        """The answer of `compare.models`."""
        return compare.models(self.views)

    @cached_property
    def models(self) -> dict[str, Row]:
        """A row per model by model_id, in the order of `table`."""
        return {row["model_id"]: row for row in self.table.to_pylist()}

    @cached_property
    def metrics(self) -> dict[str, Metric]:
        """Definitions by name of the metrics that some model has: objectives first, then the other primary ones."""
        names = {name for name in self.table.column_names if self.table[name].null_count < len(self.table)}
        rows = [row for row in compare.metric_definitions(self.views).to_pylist() if row["metric"] in names]
        place = {name: index for index, name in enumerate(self._wanted)}
        rows.sort(key=lambda row: (place.get(row["metric"], len(place)), not row["primary"]))
        for row in rows:
            row["label"] = label_with_unit(row["label"], row["unit"], row["format"])
        return {row["metric"]: Metric(**{name: row[name] for name in Metric.__annotations__}) for row in rows}

    @cached_property
    def labels(self) -> Labels:
        """How models are called on the screen."""
        return Labels(self.models)

    @cached_property
    def known(self) -> dict[str, str]:
        """model_id by the digits that stand in the address."""
        return {short(id): id for id in self.models}

    @cached_property
    def findings(self) -> dict[str, list[str]]:
        """What checks said of models, by model_id, gravest first."""
        found: dict[str, list[str]] = {}
        for row in compare.findings(self.views).to_pylist():
            found.setdefault(row["model_id"], []).append(row["message"])
        return found

    @cached_property
    def studies(self) -> list[Row]:
        """The answer of `compare.studies`, newest first."""
        rows: list[Row] = compare.studies(self.views).to_pylist()
        return rows

    @cached_property
    def comparisons(self) -> list[Row]:
        """The answer of `compare.comparisons`, the last changed first."""
        rows: list[Row] = compare.comparisons(self.views).to_pylist()
        return rows

    @cached_property
    def _wanted(self) -> list[str]:
        """Objectives of the newest study that has any."""
        named = (list(json.loads(study["objectives"] or "{}")) for study in self.studies)
        return next((names for names in named if names), [])

    @property
    def objectives(self) -> list[Metric]:
        """What the newest study sought, else the primary metrics of which a direction is better."""
        sought = [self.metrics[name] for name in self._wanted if name in self.metrics]
        return sought or [metric for metric in self.primary if metric.direction != "none"]

    @cached_property
    def recommended(self) -> list[Row]:
        """The answer of `compare.recommendations` for the objectives.

        Raises:
            NotComparableError: If the store holds models of several tasks, or no objective.
        """
        names = [metric.metric for metric in self.objectives]
        rows: list[Row] = compare.recommendations(self.views, names).to_pylist()
        return rows

    @property
    def primary(self) -> list[Metric]:
        """The metrics shown first."""
        return [metric for metric in self.metrics.values() if metric.primary]

    def once(self, key: Hashable, ask: Callable[[], Answer]) -> Answer:
        """The answer to a question, asked of this version of the store only once."""
        if key not in self._answers:
            self._answers[key] = ask()
        answer: Answer = self._answers[key]
        return answer

    def answered(self, key: Hashable) -> Any:
        """What `once` answered; None where it was not asked yet."""
        return self._answers.get(key)


def _read(views: Views) -> Snapshot:
    """A snapshot with what every tab asks for read already, because tabs ask on the event loop."""
    fresh = Snapshot(views)
    fresh.labels, fresh.known, fresh.metrics, fresh.studies, fresh.comparisons  # noqa: B018 (that reads them)
    return fresh


class Source:
    """Where sessions of this process get the newest snapshot from.

    Args:
        root: The store's folder or URL.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._lock = threading.Lock()
        self._snapshot = _read(open_views(self.root))
        self._asked_at = time.monotonic()

    @property
    def snapshot(self) -> Snapshot:
        """The newest one read so far."""
        return self._snapshot

    def refresh(self, *, at_once: bool = False) -> Snapshot:
        """Look at the store again, unless someone just did or does; takes its time, so not for the event loop.

        Args:
            at_once: Look even if someone just did: for who has written himself.
        """
        if not self._lock.acquire(blocking=False):
            return self._snapshot
        try:
            if at_once or time.monotonic() - self._asked_at > REFRESH_S:
                views = self._snapshot.views.refreshed()
                if views is not self._snapshot.views:
                    self._snapshot = _read(views)
                self._asked_at = time.monotonic()
            return self._snapshot
        finally:
            self._lock.release()
