"""Jobs as processes of this machine, on the Ray that serves the dashboard: a job server would take a gigabyte more.

A job is a folder: `about` (what it is), `log`, `lock` (held while it runs), `pid` and `exit`. It outlives the replica
that started it, and is ended with the Ray that it runs on.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import ray

import cc_ray
from cc_ray.errors import CcRayError
from cc_ray.jobs import Job
from cc_ray.operating import keeper
from cc_ray.operating.jobs import arguments
from cc_ray.recipe import identity

_KEPT: Final = 50
"""Jobs of a store whose logs are kept."""
_END_S: Final = 20.0
"""How long jobs may take to end by themselves when their Ray ends."""
_STOPPED: Final = (130, 128 + signal.SIGTERM)
_OURS: Final = ("RAY_AUTH_", "RAY_USAGE_")
"""Settings of Ray that a driver takes over from the worker that starts it; others are of that worker alone."""


class LocalJobs:
    """Jobs of one store on this machine.

    Args:
        root: The store's folder or URL.
        address: Of the Ray that they run on; empty for that of this process.
    """

    def __init__(self, root: str, address: str = "") -> None:
        self._root = root
        self._address = address
        self._folder = _all_jobs() / identity(root)

    def start(self, study: str, verb: Sequence[str]) -> Job:
        """See `Jobs`."""
        address = self._address or ray.get_runtime_context().gcs_address
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._folder.stat().st_uid != os.getuid():
            raise CcRayError(f"the folder of jobs {self._folder} is another user's: remove it, or set TMPDIR.")
        with _locked(self._folder / "starting"):
            if (found := self.find(study)) and not found.ended:
                return found
            self._forget_old()
            folder = self._folder / f"{time.time_ns()}"
            folder.mkdir(mode=0o700)
            about = {"study": study, "verb": list(verb), "ray": address, "started_at": datetime.now(UTC).isoformat()}
            (folder / "about").write_text(json.dumps(about))
            _launch(folder, [sys.executable, *arguments(verb, self._root)], address)
        return _job(folder)

    def find(self, study: str) -> Job | None:
        """See `Jobs`."""
        jobs = [_job(folder) for folder in _folders(self._folder) if _about(folder).get("study") == study]
        return max(jobs, key=lambda job: (not job.ended, job.job_id), default=None)

    def log(self, job: Job) -> str:
        """See `Jobs`."""
        file = self._folder / job.job_id / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    def stop(self, job: Job) -> None:
        """See `Jobs`."""
        _terminate(self._folder / job.job_id)

    def _forget_old(self) -> None:
        ended = [folder for folder in _folders(self._folder) if not _runs(folder)]
        for folder in ended[: max(0, len(ended) - _KEPT)]:
            shutil.rmtree(folder, ignore_errors=True)


def end_with(address: str) -> None:
    """End the jobs that run on a Ray which is about to end, and wait until they have."""
    here = [folder for store in _folders(_all_jobs()) for folder in _folders(store) if _runs(folder)]
    mine = [folder for folder in here if _about(folder).get("ray") == address]
    for folder in mine:
        _terminate(folder)
    until = time.monotonic() + _END_S
    while any(map(_runs, mine)) and time.monotonic() < until:
        time.sleep(0.1)


def _all_jobs() -> Path:
    return Path(tempfile.gettempdir()) / f"cc-ray-{os.getuid()}" / "jobs"


def _folders(folder: Path) -> list[Path]:
    """Oldest first."""
    return sorted(each for each in folder.iterdir() if each.is_dir()) if folder.exists() else []


def _launch(folder: Path, command: list[str], address: str) -> None:
    home = Path(cc_ray.__file__).parent.parent
    paths = [str(home), *filter(None, [os.environ.get("PYTHONPATH")])]
    settings = {name: value for name, value in os.environ.items() if not name.startswith("RAY_") or _is_ours(name)}
    settings |= {"PYTHONPATH": os.pathsep.join(paths), "RAY_ADDRESS": address}
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        launch = [sys.executable, "-P", keeper.__file__, str(folder), str(lock.fileno()), *command]
        subprocess.run(launch, env=settings, pass_fds=(lock.fileno(),), check=True, stdin=subprocess.DEVNULL)


def _is_ours(name: str) -> bool:
    return name.startswith(_OURS)


def _runs(folder: Path) -> bool:
    """Whether the lock of a job is held."""
    try:
        with (folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _terminate(folder: Path) -> None:
    # While the lock is held, the process is there: its number is not another's yet.
    if _runs(folder) and (pid := _number(folder / "pid")):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def _job(folder: Path) -> Job:
    about = _about(folder)
    running, code = _runs(folder), _number(folder / "exit")
    lost = None if running or code is not None else "its process was killed, or the machine was started anew"
    ended = "stopped" if code in _STOPPED else "failed" if code != 0 else "finished"
    return Job(
        job_id=folder.name,
        state="running" if running else ended,
        study=about.get("study"),
        store=None,
        package=None,
        entrypoint=" ".join(about.get("verb", ())),
        started_at=datetime.fromisoformat(about["started_at"]) if "started_at" in about else None,
        ended_at=None,
        exit_code=code,
        reason=lost,
    )


def _about(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / "about").read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (FileNotFoundError, ValueError):
        return None


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
