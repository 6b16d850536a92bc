"""Jobs on a real head with a job server and a token, started by these tests and ended with them."""

import io
import json
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ray._raylet import Config  # type: ignore[attr-defined]
from ray.job_submission import JobSubmissionClient

from cc_ray import cli, jobs
from cc_ray.errors import InvalidRecipeError
from cc_ray.jobs import JobError, JobServer, JobServerError, entrypoint, pack
from cc_ray.store import Store

# Ray calls aiohttp as older versions of it wanted.
pytestmark = pytest.mark.filterwarnings("ignore:ssl=None is deprecated:DeprecationWarning")

ROOT = Path(__file__).parent.parent
BINARIES = Path(sys.executable).parent

SPACE = """
from cc_ray.search import SearchSpace, recipe, step

def search_space():
    return SearchSpace("{study}", "digits", [recipe("resnet", [step("quantize_weights")])], baselines=False)
"""

WAITING = """
import os
import time
from pathlib import Path

import cc_ray

if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
    print("code in", cc_ray.__file__)
    print("waiting", flush=True)
    while not Path("{gate}").exists():
        time.sleep(0.1)
    raise SystemExit("the gate is open")
"""
"""A space that, on the cluster, waits for a file and then fails."""


@dataclass(frozen=True)
class Head:
    """A Ray head of one machine; this process has its token."""

    port: int
    token: str

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *arguments: object, **settings: str) -> subprocess.Popen[str]:
        """Start `cc-ray` as a user of this head does, with the token unless told otherwise."""
        given = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token, "RAY_ADDRESS": self.address} | settings
        return subprocess.Popen(
            [sys.executable, "-m", "cc_ray.cli", *map(str, arguments)],
            env=clean_environment() | given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @contextmanager
    def following(self, *arguments: object, **settings: str) -> Iterator[subprocess.Popen[str]]:
        """As `start`; the process ends with the block, also where the test fails while it would go on for ever."""
        with self.start(*arguments, **settings) as process:
            try:
                yield process
            finally:
                process.kill()


class Terminal:
    """Runs `cc-ray` in this process, towards one head."""

    def __init__(self, head: Head, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._address = head.address
        self._monkeypatch = monkeypatch
        self._capfd = capfd

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        """Run it; returns exit code, output and notices."""
        self._monkeypatch.setattr(sys, "argv", ["cc-ray", *map(str, arguments), "--address", self._address])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return int(caught.value.code or 0), *self._capfd.readouterr()

    def jobs(self, study: str) -> list[dict[str, Any]]:
        return [row for row in json.loads(self("jobs", "--format", "json")[1]) if row["study"] == study]


@pytest.fixture
def cc_ray(head: Head, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Terminal:
    # What Ray would rather believe than the address it is given.
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:1")
    return Terminal(head, monkeypatch, capfd)


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "CC_RAY_"))}


def ended(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    said, complained = process.communicate(timeout=200)
    return subprocess.CompletedProcess(process.args, process.returncode, said, complained)


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """What a process says up to a line that has a text."""
    said = ""
    assert process.stdout and process.stderr
    for line in process.stdout:
        said += line
        if text in line:
            return said
    return pytest.fail(f"no '{text}' in: {said}\n{process.stderr.read()}")


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in taken:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in taken]


@pytest.fixture(scope="module")
def token() -> str:
    """The token of this process, as the fixture `ray_cluster` sets it too; Ray reads its settings when imported."""
    os.environ["RAY_AUTH_MODE"] = "token"
    Config.initialize("")
    return os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


@pytest.fixture(scope="module")
def head(token: str) -> Iterator[Head]:
    gcs, dashboard, agent, client = free_ports(4)
    found = Head(dashboard, token)
    options = {
        "port": gcs,
        "dashboard-host": "127.0.0.1",
        "dashboard-port": dashboard,
        "dashboard-agent-listen-port": agent,
        "ray-client-server-port": client,
        "num-cpus": 2,
        "object-store-memory": 128 * 2**20,
    }
    settings = {
        "PATH": f"{BINARIES}{os.pathsep}{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": found.token,
        "RAY_USAGE_STATS_ENABLED": "0",
        # Disabled too it sends one empty report, which goes nowhere now.
        "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9",
        # Ray would end jobs for the memory that other programs of this machine take.
        "RAY_memory_monitor_refresh_ms": "0",
    }
    # Not pytest's folder: the paths of Ray's sockets may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="cc-ray-", ignore_cleanup_errors=True) as folder:
        arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        log = Path(folder) / "head.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [BINARIES / "ray", "start", "--head", "--block", "--temp-dir", folder, *arguments],
                env=clean_environment() | settings,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            wait_until_it_answers(found, process, log)
            yield found
        finally:
            process.terminate()
            process.wait(timeout=60)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def wait_until_it_answers(head: Head, process: subprocess.Popen[bytes], log: Path) -> None:
    request = urllib.request.Request(f"{head.address}/api/jobs/", headers={"Authorization": f"Bearer {head.token}"})
    while process.poll() is None:
        with suppress(OSError):
            urllib.request.urlopen(request, timeout=5).close()
            return
        time.sleep(0.2)
    pytest.fail(log.read_text())


def written(folder: Path, study: str, before: str = "") -> Path:
    file = folder / f"{study}.py"
    file.write_text(before + SPACE.format(study=study))
    return file


@pytest.mark.slow
def test_a_space_runs_on_the_cluster_and_submitting_it_again_goes_on(
    cc_ray: Terminal, digits_store: Store, tmp_path: Path
) -> None:
    space = written(tmp_path, "tiny")

    code, log, notices = cc_ray("submit", space, "--store", digits_store.root)

    assert code == 0, log + notices
    assert "tiny finished" in log and "1 models made, 1 reused" in log
    assert len(digits_store.keys("step")) == 2
    (job,) = cc_ray.jobs("tiny")
    assert (job["state"], job["exit_code"], job["store"]) == ("finished", 0, str(digits_store.root))

    code, log_again, notices = cc_ray("submit", space, "--store", digits_store.root)

    assert code == 0, log_again + notices
    assert "2 in the store, 0 to make" in log_again
    newest, oldest = (row["job_id"] for row in cc_ray.jobs("tiny"))
    assert (newest, oldest) == (f"{newest[:-1]}2", f"{newest[:-1]}1")
    assert cc_ray("logs", oldest)[1] == log
    assert cc_ray("logs", "tiny")[1] == log_again


def test_two_submits_at_once_start_one_job(cc_ray: Terminal, head: Head, tmp_path: Path) -> None:
    space = str(written(tmp_path, "raced", WAITING.format(gate=tmp_path / "never")))
    server = JobServer(head.address)

    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda store: server.submit(space, store), [f"{tmp_path}/store", f"{tmp_path}/store/"]))

    (job,) = cc_ray.jobs("raced")
    assert {each.job.job_id for each in both} == {job["job_id"]}
    assert sorted(each.joined for each in both) == [False, True] and all(each.same for each in both)
    assert cc_ray("stop", "raced") == (0, "", f"{job['job_id']} is stopped.\n")
    assert cc_ray("stop", job["job_id"]) == (0, "", f"{job['job_id']} has ended already: stopped.\n")
    assert cc_ray("logs", "raced", "--follow")[0] == 130


def test_an_identity_that_another_has_taken_is_joined(cc_ray: Terminal, head: Head, tmp_path: Path) -> None:
    space = str(written(tmp_path, "taken", WAITING.format(gate=tmp_path)))
    server = JobServer(head.address)
    first = server.submit(space, "/shared").job.job_id
    assert server.follow(first, str).exit_code == 1
    os.environ["RAY_ADDRESS"] = head.address
    JobSubmissionClient().submit_job(submission_id=f"{first[:-1]}2", entrypoint="true")

    second = server.submit(space, "/shared")

    assert second.joined and not second.same and second.job.job_id == f"{first[:-1]}2"
    assert second.job.job_id in cc_ray("jobs", "--all")[1]
    assert [row["job_id"] for row in cc_ray.jobs("taken")] == [first]


def test_a_job_is_joined_and_outlives_those_who_follow_it(cc_ray: Terminal, head: Head, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    space = written(tmp_path, "joined", WAITING.format(gate=gate))
    job_id = cc_ray("submit", space, "--store", "/shared", "--no-wait")[1].strip()
    space.write_text(space.read_text() + "\n# another version\n")

    follow = ("logs", "joined", "--follow")
    with Tunnel(head.port) as tunnel, head.following(*follow, RAY_ADDRESS=tunnel.address) as patient:
        assert "working_dir_files" in read_until(patient, "waiting")
        with head.following("logs", job_id, "--follow") as impatient:
            read_until(impatient, "waiting")
            impatient.send_signal(signal.SIGINT)
            left = ended(impatient)
        code, said, notices = cc_ray("submit", space, "--store", "/shared", "--no-wait")
        tunnel.cut()
        gate.touch()
        followed = ended(patient)

    assert left.returncode == 130 and f"cc-ray stop {job_id} --address {head.address}" in left.stderr
    assert (code, said) == (0, f"{job_id}\n") and "joined" in notices and "another version" in notices
    assert followed.returncode == 1 and followed.stderr == f"{job_id} failed with exit code 1.\n"
    assert "waiting" not in followed.stdout and followed.stdout.count("the gate is open") == 1
    assert [(row["job_id"], row["exit_code"]) for row in cc_ray.jobs("joined")] == [(job_id, 1)]


@pytest.mark.slow
def test_the_same_command_runs_as_a_plain_job_of_ray(head: Head, digits_store: Store, tmp_path: Path) -> None:
    space = written(tmp_path, "plain")
    command: list[Path | str] = ["cc-ray", "run", space, "--store", digits_store.root]

    ran = subprocess.run(
        [BINARIES / "ray", "job", "submit", "--address", head.address, "--", *command],
        env=clean_environment() | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": head.token},
        capture_output=True,
        text=True,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "plain finished" in ran.stdout
    assert len(digits_store.keys("step")) == 2


def test_a_missing_or_wrong_token_says_what_to_set(head: Head, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(head.token)
    settings = [
        {"RAY_AUTH_MODE": "disabled"},
        {"RAY_AUTH_TOKEN": "", "HOME": str(tmp_path)},
        {"RAY_AUTH_TOKEN": "wrong" * 8},
        {"RAY_AUTH_TOKEN": "", "RAY_AUTH_TOKEN_PATH": str(file)},
        {"RAY_AUTH_TOKEN": "wrong" * 8, "CC_RAY_JOBS_TOKEN": head.token},
    ]

    none, lost, wrong, right, own = [ended(each) for each in [head.start("jobs", **each) for each in settings]]

    assert [each.returncode for each in (none, lost, wrong, right, own)] == [2, 2, 2, 0, 0], right.stderr + own.stderr
    for each, said in ((none, "asks for a token"), (lost, "no token"), (wrong, "refuses the token")):
        assert said in each.stderr and "set RAY_AUTH_MODE=token, and give the cluster's token in" in each.stderr
        assert each.stderr.splitlines()[-1].startswith("error: ") and "wrongwrong" not in each.stderr


def test_what_operators_start_runs_as_a_job_of_its_study(head: Head, tmp_path: Path) -> None:
    from cc_ray.operating.jobs import ServedJobs

    served, others = (ServedJobs(head.address, str(tmp_path / name)) for name in ("nothing", "other"))

    started = served.start("operated", ["resume", "--by=Ann", "--", "operated"])
    ended = served.server.follow(started.job_id, str)

    assert (ended.state, ended.exit_code) == ("failed", 2)
    found = served.find("operated")
    assert found and found.job_id == started.job_id and "is not a CC-Ray store" in served.log(found)
    assert others.find("operated") is None and served.find("another") is None


def test_an_unknown_job_is_one_line(cc_ray: Terminal) -> None:
    for verb in ("logs", "stop"):
        code, said, error = cc_ray(verb, "nothing")
        assert (code, said) == (2, "")
        assert "no job or study 'nothing'" in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (None, "no job server is named: give --address http://HEAD:8265"),
        ("auto", "'auto' is no address of a job server"),
        ("127.0.0.1:8265", "'127.0.0.1:8265' is no address of a job server"),
    ],
)
def test_an_address_that_is_none_says_what_one_is(
    address: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(JobServerError, match=said):
        JobServer(address)


def test_where_nobody_listens_it_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (port,) = free_ports(1)
    address = f"http://user:secret@127.0.0.1:{port}"
    monkeypatch.setattr(sys, "argv", ["cc-ray", "submit", "digits", "--store", "/shared", "--address", address])

    with pytest.raises(SystemExit, match="2"):
        cli.main()

    error = capsys.readouterr().err
    assert f"no Ray job server at http://127.0.0.1:{port}: Connection refused" in error
    assert error.splitlines()[-1].startswith("error: ") and "secret" not in error


def test_a_server_of_something_else_is_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=greet, args=(server,)).start()

        with pytest.raises(JobServerError, match="no Ray job server"):
            JobServer(f"http://127.0.0.1:{server.getsockname()[1]}")


def greet(server: socket.socket) -> None:
    with server.accept()[0] as client:
        client.recv(65536)
        client.sendall(b"\x00\x01 hello\r\n")


def test_only_code_is_sent(tmp_path: Path) -> None:
    space = written(tmp_path, "mine")
    tracked = subprocess.run(["git", "ls-files", "cc_ray", "search_spaces"], capture_output=True, text=True, cwd=ROOT)

    sent = pack(str(space))

    names = names_in(sent)
    # Pages are served, and no job serves any.
    assert {name for name in tracked.stdout.split() if not name.endswith((".md", ".html", ".css"))} <= names
    assert (
        "submitted/mine.py" in names
        and "submitted/mine.py" not in zipfile.ZipFile(io.BytesIO(pack("digits"))).namelist()
    )
    assert {Path(name).suffix for name in names} <= {".py", ".sql", ""}
    assert sent == pack(str(space))


def names_in(package: bytes) -> set[str]:
    return set(zipfile.ZipFile(io.BytesIO(package)).namelist())


def test_what_is_too_large_is_not_sent(tmp_path: Path) -> None:
    space = written(tmp_path, "large", before=f"# {secrets.token_hex(jobs.PACKAGE_LIMIT)}\n")

    with pytest.raises(JobError, match=r"16.0 MB is the limit; the largest file is submitted/large.py. Data does not"):
        pack(str(space))


def test_the_entrypoint_is_one_command_of_a_shell() -> None:
    command = shlex.split(entrypoint("some where/my space.py", "/shared/my store", retry_failed=True))

    assert command[:4] == ["python3", "-m", "cc_ray.cli", "run"]
    assert command[4:] == ["submitted/my space.py", "--store", "/shared/my store", "--retry-failed"]
    assert shlex.split(entrypoint("digits", "/shared"))[4:] == ["digits", "--store", "/shared"]


def test_nothing_is_submitted_that_cannot_run(head: Head, tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("def search_space(): return 3")
    server = JobServer(head.address)

    with pytest.raises(InvalidRecipeError, match="returned int, not a SearchSpace"):
        server.submit(str(broken), "/shared")
    for store in ("my-store", "/shared/../mine", "~/mine"):
        with pytest.raises(JobError, match=f"the store '{store}' is a folder on the cluster"):
            server.submit("digits", store)


class Tunnel:
    """Passes connections on to a port, until they are cut; new ones are passed on again."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.getsockname()[1]}"

    def cut(self) -> None:
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> "Tunnel":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                ends = (self._server.accept()[0], socket.create_connection(("127.0.0.1", self._port)))
                self._open.extend(ends)
                for source, target in (ends, ends[::-1]):
                    threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    @staticmethod
    def _pass_on(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
