"""The supervisor: gives each query a worker, counts them, and ends those that take too long or that nobody wants."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cc_ray.errors import BusyError, LimitError, QueryError, StoppedError, StoreError, TooLargeError
from cc_ray.store import Store
from cc_ray.store.address import url_of, whole
from cc_ray.store.written import Writer
from cc_ray.views.database import LARGE, SMALL
from cc_ray.views.definitions import needed
from cc_ray.views.isolated.request import Limits, Request

if TYPE_CHECKING:
    import pyarrow as pa

HEAD_BYTES: Final = 64 * 2**10
"""Length of an answer's first line at most."""

START_S: Final = 30.0
"""Within which a worker must have opened the store, in seconds."""

_START: Final = Path(__file__).with_name("start.py")
_PACKAGES: Final = Path(__file__).parents[3]
_KEPT: Final = ("LD_LIBRARY_PATH", "SYSTEMROOT")
_ENVIRONMENT: Final = {
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    # Every arena of glibc and every idle thread takes address space, which is bounded.
    "MALLOC_ARENA_MAX": "2",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ARROW_IO_THREADS": "2",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}


@dataclass(frozen=True)
class Answer:
    """What a worker answered."""

    body: bytes
    """The rows in the format asked for."""
    rows: int
    """How many there are."""
    truncated: bool
    """Whether the query has more rows than these."""
    version: str
    """Version of the store that was asked."""

    @cached_property
    def table(self) -> pa.Table:
        """The rows, where the format is `arrow`."""
        import pyarrow as pa

        return pa.ipc.open_stream(self.body).read_all()


def ask(
    root: Path | str,
    query: str,
    parameters: list[Any] | Mapping[str, Any] | None = None,
    limits: Limits | None = None,
    *,
    explain: bool = False,
) -> Answer:
    """Answer one SQL question in a process of its own.

    Args:
        root: The store's folder or URL.
        query: One statement that reads.
        parameters: Values for its `?` or `$name`.
        limits: What it may take.
        explain: Answer with its plan instead.

    Raises:
        QueryError: If the statement is wrong or no question.
        LimitError: If it needs more time or memory than allowed, or its answer is too large.
        StoreError: If the store cannot be opened.
    """
    with Workers(root, spare=False) as workers:
        return workers.ask(Request(query, parameters, explain=explain, limits=limits or Limits()))


class Workers:
    """The workers of one store; safe to use from any number of threads.

    Args:
        root: The store's folder or URL.
        at_once: Queries that run at the same time.
        waiting: Queries that wait for their turn; more are refused.
        per_user: Queries of one user, running and waiting together; of those, at most one fewer than `at_once` run, so
            that others need not wait for them.
        spare: Keep a worker ready, from the first query on: it saves the next one the start.
    """

    def __init__(
        self, root: Path | str, *, at_once: int = 3, waiting: int = 8, per_user: int = 6, spare: bool = True
    ) -> None:
        self.root = whole(root)
        self._written: Writer | None = None
        self.most = at_once + waiting
        self.per_user = per_user
        self._at_once = at_once
        self._running: list[str] = []
        self._freed = threading.Condition()
        self._queries: dict[tuple[str, str], _Query] = {}
        self._lock = threading.Lock()
        self._keep_spare = spare
        self._spare: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="cc-ray-query-")

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, request: Request, *, query_id: str | None = None, user: str = "") -> Answer:
        """Answer one question; waits for its turn.

        Args:
            request: The question.
            query_id: Name by which it can be cancelled.
            user: Whose question it is.

        Raises:
            BusyError: If too many queries wait already, or too many of this user.
            QueryError: As the function `ask` says; also if a query of this name is at work.
            StoppedError: If it was cancelled.
        """
        line = request.to_line()
        key = (user, query_id or uuid.uuid4().hex)
        query = self._enter(key)
        try:
            with self._turn(user, query, request.limits):
                self._write_down(request.query)
                return query.run(self._worker(), line, request.limits)
        finally:
            with self._lock:
                del self._queries[key]

    def cancel(self, query_id: str, *, user: str = "") -> bool:
        """Stop a user's query, running or waiting; returns whether there is one."""
        with self._lock:
            query = self._queries.get((user, query_id))
        if query is not None:
            query.stop("cancelled")
        return query is not None

    def close(self) -> None:
        """End all workers."""
        with self._lock:
            self._keep_spare = False
            queries, spare, self._spare = list(self._queries.values()), self._spare, None
        for query in queries:
            query.stop("cancelled")
        if spare is not None:
            _end(spare)
        if self._written is not None:
            self._written.close()
        self._folder.cleanup()

    def _enter(self, key: tuple[str, str]) -> _Query:
        with self._lock:
            if key in self._queries:
                raise StoppedError(f"a query '{key[1]}' is at work already: give each query an id of its own.")
            if len(self._queries) >= self.most:
                raise BusyError(f"{len(self._queries)} queries are at work or wait; no more can. Try again soon.")
            own = sum(user == key[0] for user, _ in self._queries)
            if own >= self.per_user:
                raise BusyError(f"{own} queries of yours are at work or wait; cancel one or wait for it.")
            self._queries[key] = _Query()
            return self._queries[key]

    @contextmanager
    def _turn(self, user: str, query: _Query, limits: Limits) -> Iterator[None]:
        with self._freed:
            while not self._may_run(user):
                self._freed.wait(0.1)
                query.raise_if_stopped(limits)
            self._running.append(user)
        try:
            yield
        finally:
            with self._freed:
                self._running.remove(user)
                self._freed.notify_all()
            self._prepare()

    def _may_run(self, user: str) -> bool:
        own = self._running.count(user)
        return len(self._running) < self._at_once and own < max(1, self._at_once - 1)

    def _write_down(self, query: str) -> None:
        """Before a worker is asked, who can reach this machine's files alone."""
        if url_of(self.root):
            with self._lock:
                self._written = self._written or Writer(Store(self.root))
            names = needed(query)
            self._written.write([*SMALL, *(LARGE if names is None else LARGE & names)])

    def _worker(self) -> subprocess.Popen[bytes]:
        with self._lock:
            spare, self._spare = self._spare, None
        if spare is not None and spare.poll() is None:
            return spare
        return self._spawn("now")

    def _prepare(self) -> None:
        with self._lock:
            if self._keep_spare and self._spare is None:
                self._spare = self._spawn("spare")

    def _spawn(self, when: str) -> subprocess.Popen[bytes]:
        root = self._written.file if self._written else self.root
        return subprocess.Popen(
            [sys.executable, "-I", "-B", str(_START), str(_PACKAGES), str(root), when],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._folder.name,
            env={**_ENVIRONMENT, **{name: os.environ[name] for name in _KEPT if name in os.environ}},
            start_new_session=True,
        )


class _Query:
    """One question on its way."""

    def __init__(self) -> None:
        self._reason = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def stop(self, reason: str) -> None:
        with self._lock:
            self._reason = self._reason or reason
            if self._process is not None:
                _kill(self._process)

    def raise_if_stopped(self, limits: Limits) -> None:
        if self._reason == "time":
            raise LimitError(
                f"stopped after {limits.seconds:g} s: narrow it with WHERE or LIMIT, ask fewer models at a time, or "
                "run it with `cc-ray sql` on the machine of the store."
            )
        if self._reason == "start":
            raise BusyError(f"no worker was ready within {START_S:g} s: the machine is too busy. Try again later.", 30)
        if self._reason:
            raise StoppedError("the query was cancelled.")

    @contextmanager
    def _stopped_after(self, seconds: float, reason: str) -> Iterator[None]:
        timer = threading.Timer(seconds, self.stop, [reason])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def run(self, process: subprocess.Popen[bytes], line: bytes, limits: Limits) -> Answer:
        with self._lock:
            self._process = process
        try:
            self.raise_if_stopped(limits)
            with self._stopped_after(START_S, "start"):
                _begin(process, line)
            with self._stopped_after(limits.seconds, "time"):
                written = process.stdout.read(HEAD_BYTES + limits.result_bytes) if process.stdout else b""
        finally:
            with self._lock:
                self._process = None
                status = _end(process)
        if not written:
            self.raise_if_stopped(limits)
        return _read(written, status, limits)


def _begin(process: subprocess.Popen[bytes], line: bytes) -> None:
    """Hand the request over and wait until the worker works on it, or is gone: then its pipes are closed."""
    assert process.stdin
    assert process.stdout
    with suppress(BrokenPipeError):
        process.stdin.write(line)
        process.stdin.flush()
    process.stdout.readline(2)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _end(process: subprocess.Popen[bytes]) -> int:
    """Make sure that a worker is gone; returns how it ended."""
    with suppress(subprocess.TimeoutExpired):
        # What has said all ends by itself.
        process.wait(0 if process.stdout is None else 0.05)
    _kill(process)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
    return process.wait()


def _read(written: bytes, status: int, limits: Limits) -> Answer:
    head, found, body = written.partition(b"\n")
    if not found:
        raise LimitError(_ended(status, limits))
    told = json.loads(head)
    if "error" not in told:
        return Answer(body, told["rows"], told["truncated"], told["version"])
    match told["kind"]:
        case "memory":
            raise LimitError(_out_of_memory(limits))
        case "large":
            raise TooLargeError(told["error"])
        case "store":
            raise StoreError(told["error"])
        case _:
            raise QueryError(told["error"])


def _ended(status: int, limits: Limits) -> str:
    if -status in (signal.SIGXCPU, signal.SIGALRM):
        return f"stopped after {limits.seconds:g} s of computing: narrow it with WHERE or LIMIT."
    if -status in (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGKILL):
        return _out_of_memory(limits)
    return f"the worker of this query ended without an answer ({status}): ask again, and simpler if it stays so."


def _out_of_memory(limits: Limits) -> str:
    return (
        f"stopped: the query needs more than {limits.memory_bytes / 2**20:.0f} MiB of memory. Narrow it with WHERE "
        "(of pairs: base_id and model_id), or sort, group and join less at a time."
    )
