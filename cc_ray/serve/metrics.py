"""What a replica counts of itself, for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds."""
_KINDS: Final = ("api", "static", "healthz", "login", "logout", "metrics")


class Metrics:
    """The metrics of one replica; names and meanings stand in `cluster/README.md`.

    Args:
        replica: Its name; the label `replica` of every number.
    """

    def __init__(self, replica: str) -> None:
        self.replica = replica
        self.registry = CollectorRegistry()
        self.requests = self._counter("requests", "Answered requests.", ("kind", "status"))
        self.duration = Histogram(
            "cc_ray_request_duration_seconds",
            "Time to the whole answer, websockets left out.",
            ("kind",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.sessions = Gauge("cc_ray_open_sessions", "Open tabs.", registry=self.registry)
        self.login_failures = self._counter("login_failures", "Logins that failed.", ("reason",))
        self.limited = self._counter("limited", "Requests refused because of too many.", ("kind",))
        self.version_age = Gauge(
            "cc_ray_store_version_age_seconds",
            "Time since this replica last saw the store change, or since it began.",
            registry=self.registry,
        )

    def _counter(self, name: str, meaning: str, labels: tuple[str, ...]) -> Counter:
        return Counter(f"cc_ray_{name}", meaning, labels, registry=self.registry)

    def collect(self) -> list[Metric]:
        """All metrics as they are now, each number with the replica's name."""
        found = list(self.registry.collect())
        for metric in found:
            metric.samples = [
                sample._replace(labels={**sample.labels, "replica": self.replica}) for sample in metric.samples
            ]
        return found


class VersionAge:
    """How long the store has been as it is.

    Args:
        version: The store's version now; anything that compares.
        clock: Seconds.
    """

    def __init__(self, version: Callable[[], object], clock: Callable[[], float] = time.monotonic) -> None:
        self._version, self._clock = version, clock
        self._last, self._since = version(), clock()

    def __call__(self) -> float:
        """Seconds."""
        version = self._version()
        if version is not self._last:
            self._last, self._since = version, self._clock()
        return self._clock() - self._since


class Measured:
    """Counts and times what is answered.

    Args:
        app: What answers.
        metrics: Where it is kept.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; note what becomes of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        began = time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            kind = kind_of(scope["path"])
            self._metrics.requests.labels(kind, str(status)).inc()
            self._metrics.duration.labels(kind).observe(time.perf_counter() - began)


def kind_of(path: str) -> str:
    """What a path is of: there are few kinds, and many paths."""
    first = path.strip("/").partition("/")[0]
    return (first if first in _KINDS else "other") if first else "page"


def exposition(replicas: Iterable[Iterable[Metric]]) -> bytes:
    """The metrics of several replicas in Prometheus' text format."""
    merged: dict[str, Metric] = {}
    for metrics in replicas:
        for metric in metrics:
            merged.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
            merged[metric.name].samples.extend(metric.samples)
    return generate_latest(_Collected(list(merged.values())))


class _Collected:
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics
