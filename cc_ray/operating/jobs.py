"""The jobs that studies run in: of a cluster's job server, where there is one, else processes of this machine."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Protocol

from cc_ray.jobs import Job, JobNotFoundError, JobServer, pack


class Jobs(Protocol):
    """Runs verbs of `cc-ray`, one job of a study at a time."""

    def start(self, study: str, verb: Sequence[str]) -> Job:
        """Run a verb, or find the job that the study has under way.

        Raises:
            CcRayError: If it cannot be started.
        """

    def find(self, study: str) -> Job | None:
        """The job of a study that is under way, else its last one.

        Raises:
            CcRayError: If nobody answers.
        """

    def log(self, job: Job) -> str:
        """What it has written so far."""

    def stop(self, job: Job) -> None:
        """Ask it to end as by Ctrl-C."""


def arguments(verb: Sequence[str], store: str) -> list[str]:
    """Of Python, for a verb of `cc-ray` over a store."""
    name, *rest = verb
    return ["-m", "cc_ray.cli", name, "--store", store, *rest]


class ServedJobs:
    """Jobs of a cluster's job server, for one store.

    Args:
        address: Of the job server; empty takes what Ray's environment variables name.
        store: The store's folder or URL, as every node has it.
    """

    def __init__(self, address: str, store: str) -> None:
        self._address = address
        self._store = store
        self._server: JobServer | None = None

    @property
    def server(self) -> JobServer:
        """The server; asked for anew until it answers."""
        if self._server is None:
            self._server = JobServer(self._address or None)
        return self._server

    def start(self, study: str, verb: Sequence[str]) -> Job:
        """See `Jobs`. The code that runs is that of this process."""
        command = shlex.join(["python3", *arguments(verb, self._store)])
        return self.server.start(study, self._store, command, pack()).job

    def find(self, study: str) -> Job | None:
        """See `Jobs`."""
        mine = [job for job in self.server.jobs() if (job.study, job.store) == (study, self._store)]
        return next((job for job in mine if not job.ended), mine[0] if mine else None)

    def log(self, job: Job) -> str:
        """See `Jobs`."""
        try:
            return self.server.log(job.job_id)
        except JobNotFoundError:
            return ""

    def stop(self, job: Job) -> None:
        """See `Jobs`."""
        self.server.ask_to_stop(job.job_id)
