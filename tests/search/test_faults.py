"""What a cluster does to a study that runs on it, with real processes: it must end as if nothing had happened."""

import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cc_ray.search.load import load_space
from cc_ray.search.records import TrialState, write_trials
from cc_ray.search.sampling import listed
from cc_ray.store import Store
from tests.search.driving import (
    as_without_fault,
    driver,
    driver_environment,
    finish,
    space_file,
    states,
    wait_for_worker,
)

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


@operation("hungry")
class Hungry(Operation):
    """Takes seven gigabytes of memory."""

    def apply(self, model, context):
        kept = [b"x" * 2**26 for _ in range(112)]
        time.sleep(60)
        return model if kept else None


@operation("limited")
class Limited(Operation):
    """Asks for more memory than its process may have."""

    def apply(self, model, context):
        return bytearray(2**50)
'''
WRONG = ("hangs", "dies", "not_a_number", "odd_error", "limited")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of a driver that knows the operations that go wrong."""
    return driver_environment(tmp_path / "plugin", FAULTS)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_steps_that_go_wrong_fail_their_trials_with_a_reason_and_no_others(
    digits_store: Store, tmp_path: Path, environment: dict[str, str]
) -> None:
    said = finish(space_file(tmp_path, *WRONG, limit=20), digits_store, environment)

    rows = {row["recipe_text"]: row for row in digits_store.read("trials").sort_by("at").to_pylist()}
    reasons = {name: row["reason"] for name in WRONG for text, row in rows.items() if name in text and row["reason"]}
    assert "longer than its limit of 20 s" in reasons["hangs"]
    assert "WorkerCrashed" in reasons["dies"] or "died" in reasons["dies"]
    assert "Odd: " in reasons["odd_error"]
    assert "MemoryError" in reasons["limited"]
    assert states(digits_store)["finished"] >= 6
    for name, reason in reasons.items():
        assert reason[:60] in said.replace("\n", " "), name


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_worker_killed_in_mid_step_costs_a_retry(
    digits_store: Store, tmp_path: Path, environment: dict[str, str]
) -> None:
    with driver(space_file(tmp_path), digits_store, environment) as running:
        os.kill(wait_for_worker(running, "step: fine_tune"), signal.SIGKILL)
        said, _ = running.communicate(timeout=500)

    assert running.returncode == 0, said
    as_without_fault(digits_store)


@pytest.mark.slow
@pytest.mark.timeout(1200)
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
@pytest.mark.timeout(1200)
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
@pytest.mark.timeout(1200)
def test_two_drivers_on_one_store_end_with_the_same_models(
    digits_store: Store, tmp_path: Path, environment: dict[str, str]
) -> None:
    space = space_file(tmp_path)
    with driver(space, digits_store, environment) as first, driver(space, digits_store, environment) as second:
        for running in (first, second):
            said, _ = running.communicate(timeout=500)
            assert running.returncode == 0, said

    as_without_fault(digits_store)


def memory_bytes(name: str) -> int:
    """What the kernel says of the machine's memory."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_step_for_which_memory_runs_out_fails_and_no_other(
    digits_store: Store, tmp_path: Path, environment: dict[str, str]
) -> None:
    total, free = memory_bytes("MemTotal"), memory_bytes("MemAvailable")
    if free < 11 * 2**30:
        pytest.skip(f"only {free / 2**30:.1f} GiB of memory are free")
    allowed = (total - free + 5 * 2**30) / total
    limits = {"RAY_memory_usage_threshold": f"{allowed:.3f}", "RAY_memory_monitor_refresh_ms": "100"}

    said = finish(space_file(tmp_path, "hungry"), digits_store, {**environment, **limits})

    assert states(digits_store) == {"finished": 6, "failed": 1}
    (reason,) = {row["reason"] for row in digits_store.read("trials").to_pylist() if row["state"] == "failed"}
    assert "memory" in reason and "`memory_bytes`" in reason and reason[:60] in said.replace("\n", " ")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_states_end_right_where_another_machine_wrote_them_an_hour_ahead(
    digits_store: Store, tmp_path: Path, environment: dict[str, str]
) -> None:
    space, ahead = space_file(tmp_path), datetime.now(UTC) + timedelta(hours=1)
    for state in ("pending", "running", "stopped"):
        known = [(TrialState("faults", recipe, state), ahead) for recipe in listed(load_space(str(space)))]
        write_trials(digits_store, known)

    finish(space, digits_store, environment)

    as_without_fault(digits_store)
