"""What a cluster does to a study that runs on it, with real processes: it must end as if nothing had happened."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

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
FAULTS = '''"""Operations that go wrong.

Source: the ways in which steps have failed.
"""

import os
import threading
import time

from cc_ray.compress import Operation, operation


@operation("hangs")
class Hangs(Operation):
    """Never ends."""

    def apply(self, model, context):
        time.sleep(1e6)


@operation("dies")
class Dies(Operation):
    """Takes its process along, as the kernel does when memory runs out."""

    def apply(self, model, context):
        os.kill(os.getpid(), 9)


@operation("not_a_number")
class NotANumber(Operation):
    """Spoils the weights."""

    def apply(self, model, context):
        for parameter in model.parameters():
            parameter.data.fill_(float("nan"))
        return model


class Odd(Exception):
    def __init__(self, lock):
        super().__init__("odd", lock)


@operation("odd_error")
class OddError(Operation):
    """Raises what cannot be sent to another process."""

    def apply(self, model, context):
        raise Odd(threading.Lock())
'''
WRONG = ("hangs", "dies", "not_a_number", "odd_error")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of a driver that knows the operations that go wrong."""
    info = tmp_path / "plugin" / "faults-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faults\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[cc_ray.operations]\nfaults = faults\n")
    (info.parent / "faults.py").write_text(FAULTS)
    ours = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {
        **ours,
        "PYTHONPATH": str(info.parent),
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def space_file(folder: Path, *wrong: str, limit: float | None = None) -> Path:
    file = folder / "space.py"
    more = "".join(f", recipe('resnet', [step('{name}'), step('calibrate')])" for name in wrong)
    file.write_text(SPACE.replace("{more}", more).replace("{limit}", repr(limit)))
    return file


@contextmanager
def driver(space: Path, store: Store, environment: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """`cc-ray run` in a session of its own, ended with all that it started."""
    command = [
        sys.executable,
        "-c",
        "from cc_ray.cli import main; main()",
        "run",
        str(space),
        "--store",
        str(store.root),
    ]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as running:
        try:
            yield running
        finally:
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGKILL)


def finish(space: Path, store: Store, environment: dict[str, str]) -> str:
    with driver(space, store, environment) as running:
        said, _ = running.communicate(timeout=240)
    assert running.returncode == 0, said
    return str(said)


def states(store: Store) -> Counter[str]:
    rows = store.read("trials").sort_by("at").to_pylist()
    return Counter({row["trial_id"]: row["state"] for row in rows}.values())


def published(store: Store) -> Counter[str]:
    """Executions that published a model, by model."""
    rows = store.read("step_runs").to_pylist()
    return Counter(row["model_id"] for row in rows if row["kind"] == "step" and row["outcome"] == "published")


def workers(running: "subprocess.Popen[str]", doing: str) -> list[int]:
    """Processes below a driver whose title says that they are at some work."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                title = (folder / "cmdline").read_bytes().decode(errors="replace")
                session = os.getsid(int(folder.name))
            except (OSError, ProcessLookupError):
                continue
            if title.startswith(f"ray::{doing}") and session == running.pid:
                found.append(int(folder.name))
    return found


def wait_for_worker(running: "subprocess.Popen[str]", doing: str) -> int:
    for _ in range(2400):
        if found := workers(running, doing):
            return found[0]
        assert running.poll() is None, running.stdout and running.stdout.read()
        time.sleep(0.05)
    raise AssertionError(f"no worker was ever at '{doing}'")


def as_without_fault(store: Store) -> None:
    assert states(store) == {"finished": 6}
    assert store.read("models").num_rows == 1 + 6
    assert set(published(store).values()) == {1}


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_steps_that_go_wrong_fail_their_trials_with_a_reason_and_no_others(
    digits_store: Store, tmp_path: Path, environment: dict[str, str]
) -> None:
    said = finish(space_file(tmp_path, *WRONG, limit=20), digits_store, environment)

    rows = {row["recipe_text"]: row for row in digits_store.read("trials").sort_by("at").to_pylist()}
    reasons = {name: row["reason"] for name in WRONG for text, row in rows.items() if name in text and row["reason"]}
    assert "longer than its limit of 20 s" in reasons["hangs"]
    assert "WorkerCrashed" in reasons["dies"] or "died" in reasons["dies"]
    assert "Odd: " in reasons["odd_error"]
    assert states(digits_store)["finished"] >= 6
    for name, reason in reasons.items():
        assert reason[:60] in said.replace("\n", " "), name


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_worker_killed_in_mid_step_costs_a_retry(
    digits_store: Store, tmp_path: Path, environment: dict[str, str]
) -> None:
    with driver(space_file(tmp_path), digits_store, environment) as running:
        os.kill(wait_for_worker(running, "step: fine_tune"), signal.SIGKILL)
        said, _ = running.communicate(timeout=240)

    assert running.returncode == 0, said
    as_without_fault(digits_store)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_killed_driver_is_started_again_and_goes_on(
    digits_store: Store, tmp_path: Path, environment: dict[str, str]
) -> None:
    space = space_file(tmp_path)
    with driver(space, digits_store, environment) as running:
        wait_for_worker(running, "step: fine_tune")
        os.kill(running.pid, signal.SIGKILL)
        running.wait()

    finish(space, digits_store, environment)

    as_without_fault(digits_store)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_everything_killed_at_once_leaves_nothing_half_and_the_next_run_goes_on(
    digits_store: Store, tmp_path: Path, environment: dict[str, str]
) -> None:
    space = space_file(tmp_path)
    for _ in range(2):
        with driver(space, digits_store, environment) as running:
            wait_for_worker(running, "step: fine_tune")
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
        models = digits_store.read("models")["model_id"].to_pylist()
        assert set(models) == set(digits_store.keys("step"))

    finish(space, digits_store, environment)

    as_without_fault(digits_store)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_two_drivers_on_one_store_end_with_the_same_models(
    digits_store: Store, tmp_path: Path, environment: dict[str, str]
) -> None:
    space = space_file(tmp_path)
    with driver(space, digits_store, environment) as first, driver(space, digits_store, environment) as second:
        for running in (first, second):
            said, _ = running.communicate(timeout=300)
            assert running.returncode == 0, said

    as_without_fault(digits_store)
