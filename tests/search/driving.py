"""Studies run by real processes, that tests stop, starve and kill; and what is left of them."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from cc_ray.store import Store

SPACE = """
from cc_ray.search import SearchSpace, choice, optional, recipe, step

def search_space():
    return SearchSpace(
        "faults",
        "digits",
        [recipe("resnet", [step("fine_tune", epochs=choice(2, 3, 4)), optional(step("calibrate"))]){more}],
        baselines=False,
        step_time_limit_s={limit},
    )
"""


def space_file(folder: Path, *more: str, limit: float | None = None) -> Path:
    """A search space of six recipes, and one for each operation named."""
    file = folder / "space.py"
    others = "".join(f", recipe('resnet', [step('{name}'), step('calibrate')])" for name in more)
    file.write_text(SPACE.replace("{more}", others).replace("{limit}", repr(limit)))
    return file


def driver_environment(plugin: Path, operations: str) -> dict[str, str]:
    """Of a driver that knows further operations; they become a package in a folder."""
    info = plugin / "faults-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faults\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[cc_ray.operations]\nfaults = faults\n")
    (plugin / "faults.py").write_text(operations)
    ours = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {
        **ours,
        "PYTHONPATH": os.pathsep.join([str(plugin), *filter(None, [ours.get("PYTHONPATH")])]),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        # `ray start` would send an empty report nevertheless.
        "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/",
    }


@contextmanager
def driver(
    space: Path, store: Store, environment: Mapping[str, str], *options: str
) -> Iterator["subprocess.Popen[str]"]:
    """`cc-ray run` in a session of its own, ended with all that it started."""
    code = "from cc_ray.cli import main; main()"
    command = [sys.executable, "-c", code, "run", str(space), "--store", str(store.root), *options]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as running:
        try:
            yield running
        finally:
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGKILL)


def finish(space: Path, store: Store, environment: Mapping[str, str], *options: str, timeout_s: float = 500) -> str:
    """Run a study to its end; returns what it said."""
    with driver(space, store, environment, *options) as running:
        said, _ = running.communicate(timeout=timeout_s)
    assert running.returncode == 0, said
    return str(said)


@contextmanager
def node(environment: Mapping[str, str], log: Path, *options: str) -> Iterator[int]:
    """`ray start`, ended with all that it started; gives its process."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *options]
    with log.open("ab") as out:
        started = subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: "Ray runtime started" in log.read_text(), "the node started")
        yield started.pid
    finally:
        kill_all(started.pid)
        started.wait()


def kill_all(pid: int) -> None:
    """SIGKILL a process and all that it started, at once."""
    for each in (pid, *below(pid)):
        with suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


def below(pid: int) -> list[int]:
    """The processes that a process started, and those that they started."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # After the name, which may hold anything: the state and the parent.
            children.setdefault(int(status.read_text().rpartition(")")[2].split()[1]), []).append(int(status.parts[2]))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found[1:]


def at_work(pid: int, doing: str) -> list[int]:
    """Processes below another whose titles say that they are at some work."""
    return [each for each in below(pid) if title(each).startswith(f"ray::{doing}")]


def title(pid: int) -> str:
    """What a process calls itself; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def states(store: Store) -> Counter[str]:
    """Trials by their last state."""
    rows = store.read("trials").sort_by("at").to_pylist()
    return Counter({row["trial_id"]: row["state"] for row in rows}.values())


def runs(store: Store, *outcomes: str) -> Counter[str]:
    """Executions of steps that ended in one of some ways, by model."""
    rows = store.read("step_runs").to_pylist()
    return Counter(row["model_id"] for row in rows if row["kind"] == "step" and row["outcome"] in outcomes)


def wait_for_worker(running: "subprocess.Popen[str]", doing: str, node: int | None = None) -> int:
    """Wait until a worker is at some work, below a driver or a node; returns its process."""
    above = running.pid if node is None else node
    wait_until(lambda: bool(at_work(above, doing)), f"'{doing}'", running)
    return at_work(above, doing)[0]


def wait_until(
    found: Callable[[], bool], what: str, running: "subprocess.Popen[str] | None" = None, timeout_s: float = 300
) -> None:
    """Wait for something, as long as the process that is to bring it lives."""
    deadline = time.monotonic() + timeout_s
    while not found():
        assert running is None or running.poll() is None, running.stdout and running.stdout.read()
        assert time.monotonic() < deadline, f"never seen in {timeout_s:g} s: {what}"
        time.sleep(0.05)


def as_without_fault(store: Store) -> None:
    """The six recipes have their models, each made once, and nothing else is there."""
    assert states(store) == {"finished": 6}
    assert store.read("models").num_rows == 1 + 6
    assert set(store.read("models")["model_id"].to_pylist()) == set(store.keys("step")) == set(store.keys("latency"))
    assert set(runs(store, "published").values()) == {1}
