"""Jobs on a Ray cluster: a search space is sent to the job server of the cluster's head, and runs there.

The job server answers on the port of Ray's dashboard. What is sent is code: this package, the search spaces and the
file asked for; nodes need the libraries, and the store is a folder or a bucket that they all see. A study has one job
at a time in a store: the job's identity is counted, and the server accepts each identity once.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import importlib.metadata
import io
import json
import logging
import os
import shlex
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

import aiohttp
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobSubmissionClient

from cc_ray.errors import CcRayError
from cc_ray.store.address import url_of
from cc_ray.wording import format_value

PACKAGE_LIMIT: Final = 16_000_000
"""Bytes that may be sent with a job: code is a small part of it."""
_PACKAGES: Final = ("cc_ray", "search_spaces")
_CODE: Final = (".py", ".sql")
_SUBMITTED: Final = "submitted"
"""Folder of the user's file within what is sent: beside the packages it could hide a library of its name."""
TOKEN: Final = "CC_RAY_JOBS_TOKEN"
ADDRESSES: Final = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Where Ray finds the address of a job server, in this order."""
_SET_TOKEN: Final = (
    "set RAY_AUTH_MODE=token, and give the cluster's token in RAY_AUTH_TOKEN, in the file that RAY_AUTH_TOKEN_PATH "
    "names, or in ~/.ray/auth_token; the first that is there counts"
)
_STUDY: Final = "cc_ray_study"
_STORE: Final = "cc_ray_store"
_PACKAGE: Final = "cc_ray_package"
_STATES: Final = {
    "PENDING": "pending",
    "RUNNING": "running",
    "SUCCEEDED": "finished",
    "FAILED": "failed",
    "STOPPED": "stopped",
}
"""The words that trials and studies have for Ray's states."""
_STOPPED_CODE: Final = 130
"""Exit code of `cc-ray run` when it was stopped; Ray keeps none of a stopped job."""
_TIMEOUT_S: Final = (2.0, 30.0)
"""How long the server may take to accept a connection, and to answer."""
_SILENCE_S: Final = 30.0
"""A connection over which no log came for so long may be dead; it is made anew."""
_PATIENCE_S: Final = 120.0
"""How long a server that was there may be away while a log is followed."""
_RETRY_S: Final = 1.0
_STOP_S: Final = 60
"""How long a job may take to end by itself before Ray kills it; three seconds are Ray's default."""


class JobError(CcRayError):
    """A job that cannot be submitted, followed or stopped."""


class JobServerError(JobError):
    """The job server cannot be reached, or refuses what was asked of it."""


class JobNotFoundError(JobError, LookupError):
    """The cluster knows no job of that name."""


class _TakenError(JobServerError):
    """Another job has the identity already."""


@dataclass(frozen=True)
class Job:
    """What the job server knows of a job."""

    job_id: str
    state: str
    """pending, running, finished, failed or stopped."""
    study: str | None
    """None for jobs that CC-Ray did not submit; as the next two."""
    store: str | None
    package: str | None
    """Digest of the code that was sent."""
    entrypoint: str
    started_at: datetime | None
    ended_at: datetime | None
    exit_code: int | None
    """As a shell would tell it; None until the job ended."""
    reason: str | None
    """Why it failed without running to an exit code of its own."""

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.state not in ("pending", "running")

    @property
    def duration_s(self) -> float | None:
        """From its submission to its end, or to now; None where unknown."""
        if self.started_at is None:
            return None
        return max(0.0, ((self.ended_at or datetime.now(UTC)) - self.started_at).total_seconds())


@dataclass(frozen=True)
class Submission:
    """What became of a search space that was submitted."""

    job: Job
    joined: bool
    """The study had a job already; nothing new was started."""
    same: bool
    """The job runs this very code, search space and options."""


class JobServer:
    """The job server of a cluster.

    Tokens are Ray's: `RAY_AUTH_MODE=token` with `RAY_AUTH_TOKEN`, `RAY_AUTH_TOKEN_PATH` or `~/.ray/auth_token`. Whoever
    belongs to another Ray, of which these are, gives that of the server in `CC_RAY_JOBS_TOKEN`.

    Args:
        address: Such as `http://HEAD:8265`; None takes what Ray's environment variables name.

    Raises:
        JobServerError: If no address is given, nobody answers there, or it asks for another token.
    """

    def __init__(self, address: str | None = None) -> None:
        url = _http_address(address)
        self.address = _without_password(url)
        """As it may be shown."""
        self._client = _Client(url, self.address)

    def submit(self, space: str, store: str, *, retry_failed: bool = False) -> Submission:
        """Run a search space on the cluster, or join the job that does so already.

        Args:
            space: A search space's name, or the path of its file here. It is checked before anything is sent.
            store: The store's folder on the cluster, as every node sees it.
            retry_failed: Run failed trials again.

        Raises:
            InvalidRecipeError: If the space cannot run.
            JobError: If the store's path is not absolute, the code is too large, or the server does not take the job.
        """
        # Imported here: only this needs torch and its friends.
        from cc_ray.search.load import load_space
        from cc_ray.search.plan import plan

        store = _cluster_path(store)
        asked = load_space(space)
        if not any(form.models for form in asked.recipes):  # Else only the cluster's store can tell.
            plan(asked, None)
        study = asked.name
        package = pack(space)
        command = entrypoint(space, store, retry_failed=retry_failed)
        return self.start(study, store, command, package)

    def start(self, study: str, store: str, command: str, package: bytes) -> Submission:
        """Run a command as the job of a study, or join the one that is under way.

        Args:
            study: The study.
            store: Where its models go, as every node has it.
            command: One command of a shell.
            package: What `pack` gives.

        Raises:
            JobError: If the server does not take the job.
        """
        digest = hashlib.sha256(package).hexdigest()[:16]
        job, joined = self._started(study, store, command, package, digest)
        return Submission(job, joined, (job.package, job.entrypoint) == (digest, command))

    def jobs(self, *, every: bool = False) -> list[Job]:
        """The jobs of CC-Ray, newest first.

        Args:
            every: Those that others submitted too.
        """
        found = [_job(details) for details in self._client.list_jobs() if details.submission_id]
        found.sort(key=lambda job: job.started_at or datetime.min.replace(tzinfo=UTC), reverse=True)
        return [job for job in found if every or job.study]

    def job(self, job_id: str) -> Job:
        """A job as it is now."""
        return _job(self._client.get_job_info(job_id))

    def find(self, name: str) -> Job:
        """The job of that identity, else of that study: the one under way, else the last.

        Raises:
            JobNotFoundError: If there is none.
            JobError: If the study has jobs under way in several stores.
        """
        known = self.jobs(every=True)
        of_study = [job for job in known if job.study == name]
        under_way = [job for job in of_study if not job.ended]
        found = [job for job in known if job.job_id == name] or under_way or of_study[:1]
        if not found:
            raise JobNotFoundError(f"no job or study '{name}' on {self.address}; `cc-ray jobs` lists them.")
        if len(found) > 1:
            ids = ", ".join(job.job_id for job in found)
            raise JobError(f"study '{name}' has several jobs under way: name one of {ids}.")
        return found[0]

    def log(self, job_id: str) -> str:
        """What a job has written so far."""
        return str(self._client.get_job_logs(job_id))

    def follow(self, job_id: str, write: Callable[[str], object]) -> Job:
        """Pass on what a job writes, from its beginning, until it has ended.

        A connection that breaks is made anew. Interrupted, the job goes on.

        Args:
            job_id: The job.
            write: Takes the text, piece by piece.

        Returns:
            The job as it ended.

        Raises:
            JobServerError: If the server stays away.
        """
        log = _Log(write)
        seen_at = time.monotonic()
        while True:
            try:
                asyncio.run(self._tail(job_id, log))
                job = self.job(job_id)
                # Also the way on where something between here and the server lets no websocket pass.
                log.take(0, self.log(job_id))
            except JobServerError:
                if time.monotonic() > seen_at + _PATIENCE_S:
                    raise
            else:
                if job.ended:
                    return job
                seen_at = time.monotonic()
            time.sleep(_RETRY_S)

    def stop(self, job_id: str) -> Job:
        """End a job as Ctrl-C ends `cc-ray run`: what is published stays. Returns it as it is then."""
        deadline = time.monotonic() + 1.5 * _STOP_S
        asked = False
        while not (job := self.job(job_id)).ended and time.monotonic() < deadline:
            # A job that is only just being started does not hear it.
            asked = asked or bool(self._client.stop_job(job_id))
            time.sleep(_RETRY_S)
        return job

    def ask_to_stop(self, job_id: str) -> None:
        """As `stop`, without waiting for the end."""
        self._client.stop_job(job_id)

    def _started(self, study: str, store: str, command: str, package: bytes, digest: str) -> tuple[Job, bool]:
        """The job of a study that is under way, else a new one; and whether it was there."""
        name = _identity(study, store)
        past = {number: job for job in self.jobs() if (number := _number(job.job_id, name))}
        under_way = [job for job in past.values() if not job.ended]
        if under_way:
            return under_way[0], True
        job_id = f"{name}-{1 + max(past, default=0)}"
        try:
            with _as_file(package) as file:
                self._client.submit_job(
                    entrypoint=command,
                    submission_id=job_id,
                    metadata={_STUDY: study, _STORE: store, _PACKAGE: digest},
                    # No resources are asked for the entrypoint: the driver stays on the head and takes none from steps.
                    runtime_env={"working_dir": file, "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(_STOP_S)}},
                )
        except _TakenError:
            # Somebody else submitted the study at the same moment.
            return self.job(job_id), True
        return self.job(job_id), False

    async def _tail(self, job_id: str, log: _Log) -> None:
        """Pass on what comes over one connection, until it ends, breaks or falls silent."""
        pieces = self._client.tail_job_logs(job_id)
        position = 0
        while True:
            try:
                text = await asyncio.wait_for(anext(pieces), _SILENCE_S)
            except (StopAsyncIteration, aiohttp.ClientError, OSError, RuntimeError):
                return
            position = log.take(position, text)


def pack(space: str = "") -> bytes:
    """Zip the code that a job needs; the same code gives the same bytes.

    Args:
        space: A search space's name, or the path of its file; empty for one that the command itself makes.

    Raises:
        JobError: If it is larger than `PACKAGE_LIMIT`.
    """
    files = {name: file.read_bytes() for name, file in _code_files(space).items()}
    with suppress(importlib.metadata.PackageNotFoundError):
        # The version that rows are marked with is that of the code that was sent, whatever a node has installed.
        version = importlib.metadata.version("cc-ray")
        metadata = f"Metadata-Version: 2.1\nName: cc-ray\nVersion: {version}\n"
        files[f"cc_ray-{version}.dist-info/METADATA"] = metadata.encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    if packed.tell() > PACKAGE_LIMIT:
        largest = max(files, key=lambda name: len(files[name]))
        raise JobError(
            f"the code to send is {format_value(packed.tell(), 'bytes')} zipped, and "
            f"{format_value(PACKAGE_LIMIT, 'bytes')} is the limit; the largest file is {largest}. "
            "Data does not travel with a job: put it where the cluster's nodes see it."
        )
    return packed.getvalue()


def entrypoint(space: str, store: str, *, retry_failed: bool = False) -> str:
    """The command that runs a search space on the cluster, within what `pack` sends.

    Args:
        space: A search space's name, or the path of its file here.
        store: The store's folder on the cluster.
        retry_failed: Run failed trials again.
    """
    name = f"{_SUBMITTED}/{Path(space).name}" if _is_file(space) else space
    command = ["python3", "-m", "cc_ray.cli", "run", name, "--store", store]
    return shlex.join([*command, "--retry-failed"] if retry_failed else command)


class _Client(JobSubmissionClient):  # type: ignore[misc]
    """Ray's client, with limits of time and with errors that say what to do."""

    def __init__(self, url: str, shown: str) -> None:
        self._shown = shown
        _silence()
        try:
            with _only_address(url):
                super().__init__(url, headers=_own_token())
        except AuthenticationError as error:
            raise JobServerError(f"no token for the job server at {shown}: {_SET_TOKEN}.") from error
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            raise JobServerError(f"what answers at {shown} is no Ray job server: {_last_line(error)}.") from error

    def _do_request(self, method: str, endpoint: str, **arguments: Any) -> Any:
        try:
            return super()._do_request(method, endpoint, timeout=_TIMEOUT_S, **arguments)
        except AuthenticationError as error:
            refused = "refuses the token" if "failed" in str(error).partition(":")[0] else "asks for a token"
            raise JobServerError(f"the job server at {self._shown} {refused}: {_SET_TOKEN}.") from error
        except OSError as error:
            raise JobServerError(
                f"no Ray job server at {self._shown}: {_cause(error)}. Give --address, such as http://HEAD:8265."
            ) from error

    def _raise_error(self, response: Any) -> NoReturn:
        kind = _TakenError if "already exists" in response.text else JobServerError
        raise kind(f"the job server at {self._shown} answered {response.status_code}: {_last_line(response.text)}")


class _Log:
    """Passes on a text of which pieces come several times, each part of it once."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._written = 0

    def take(self, position: int, text: str) -> int:
        """Take a piece that begins at a position; returns where it ends."""
        end = position + len(text)
        if end > self._written:
            self._write(text[max(0, self._written - position) :])
            self._written = end
        return end


def _own_token() -> dict[str, str] | None:
    """A header with the job server's token where it is not that of the Ray which this process belongs to."""
    token = os.environ.get(TOKEN)
    return {"Authorization": f"Bearer {token}"} if token else None


def _http_address(address: str | None) -> str:
    found = next(filter(None, [address, *map(os.environ.get, ADDRESSES)]), "")
    if urlsplit(found).scheme not in ("http", "https") or not urlsplit(found).hostname:
        what = f"'{found}' is no address of a job server" if found else "no job server is named"
        raise JobServerError(f"{what}: give --address http://HEAD:8265, or set {ADDRESSES[0]} to that.")
    return found.rstrip("/")


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


@contextmanager
def _only_address(url: str) -> Iterator[None]:
    """Let Ray take this address: its environment variables would win over the one that is given."""
    name = ADDRESSES[0]
    before = os.environ.get(name)
    os.environ[name] = url
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _silence() -> None:
    """Ray tells of each upload and closed connection on standard error."""
    for module in ("job.sdk", "dashboard_sdk"):
        logging.getLogger(f"ray.dashboard.modules.{module}").setLevel(logging.WARNING)


def _cluster_path(store: str) -> str:
    if url := url_of(store):
        return url
    path = PurePosixPath(store)
    if not path.is_absolute() or ".." in path.parts:
        raise JobError(
            f"the store '{store}' is a folder on the cluster, where the folder you are in does not count: "
            "give its whole path, such as --store /shared/store, or a URL such as s3://bucket/store."
        )
    return str(path)


def _identity(study: str, store: str) -> str:
    digest = hashlib.sha256(json.dumps([study, store]).encode()).hexdigest()
    return f"cc-ray-{study}-{digest[:8]}"


def _number(job_id: str, identity: str) -> int:
    """Which of a study's jobs it is, from 1; 0 if it is not one of them."""
    name, _, number = job_id.rpartition("-")
    return int(number) if name == identity and number.isdecimal() else 0


def _is_file(space: str) -> bool:
    return space.endswith(".py")


def _code_files(space: str) -> dict[str, Path]:
    """Files by their names within what is sent."""
    found = {}
    for package in _PACKAGES:
        root = Path(next(iter(importlib.import_module(package).__path__)))
        names = [(file, file.relative_to(root)) for file in root.rglob("*") if file.suffix in _CODE]
        found.update({f"{package}/{name.as_posix()}": file for file, name in names if not _is_hidden(name)})
    if _is_file(space):
        file = Path(space).expanduser()
        found[f"{_SUBMITTED}/{file.name}"] = file
    return found


def _is_hidden(name: Path) -> bool:
    return any(part.startswith(".") for part in name.parts)


@contextmanager
def _as_file(package: bytes) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="cc-ray-job-") as folder:
        file = Path(folder) / "package.zip"
        file.write_bytes(package)
        yield str(file)


def _job(details: JobDetails) -> Job:
    metadata = details.metadata or {}
    state = _STATES[details.status.value]
    if state == "failed" and details.driver_exit_code == _STOPPED_CODE:
        state = "stopped"  # Somebody asked the study itself.
    return Job(
        job_id=details.submission_id,
        state=state,
        study=metadata.get(_STUDY),
        store=metadata.get(_STORE),
        package=metadata.get(_PACKAGE),
        entrypoint=details.entrypoint,
        started_at=_moment(details.start_time),
        ended_at=_moment(details.end_time),
        exit_code=_exit_code(state, details.driver_exit_code),
        reason=details.message if state == "failed" and details.driver_exit_code is None else None,
    )


def _moment(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)


def _exit_code(state: str, code: int | None) -> int | None:
    if state == "failed":
        # Below zero: the number of the signal that ended it.
        return 1 if code is None else code if code >= 0 else 128 - code
    return {"finished": 0, "stopped": _STOPPED_CODE}.get(state)


def _cause(error: BaseException) -> str:
    """What lies below the errors that libraries wrap around it."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    said = getattr(error, "strerror", None) or str(error)
    # Where something else than HTTP is spoken, this quotes it.
    return "".join(filter(str.isprintable, said))


def _last_line(said: object) -> str:
    """The line of a traceback that says what happened."""
    return (str(said).strip().splitlines() or ["nothing"])[-1].rstrip(".")
