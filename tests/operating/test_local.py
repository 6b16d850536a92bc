"""Jobs as real processes of this machine."""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cc_ray.jobs import Job
from cc_ray.operating import local
from cc_ray.operating.local import LocalJobs, end_with
from cc_ray.recipe import identity

STUB = """
import signal, sys, time
def end(*_):
    print("ended by a signal", flush=True)
    sys.exit(130)
signal.signal(signal.SIGTERM, end)
print("arguments", *sys.argv[1:], flush=True)
if "wait" in sys.argv:
    time.sleep(60)
sys.exit(3 if "fail" in sys.argv else 0)
"""
"""In place of the command line, which takes seconds to start."""


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalJobs:
    stub = tmp_path / "stub.py"
    stub.write_text(STUB)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    launch = local._launch

    def stubbed(folder: Path, command: list[str], address: str) -> None:
        launch(folder, [sys.executable, str(stub), *command[3:]], address)

    monkeypatch.setattr(local, "_launch", stubbed)
    return LocalJobs("/store", "head:1")


def until(said: Callable[[], bool]) -> None:
    limit = time.monotonic() + 30
    while not said():
        assert time.monotonic() < limit
        time.sleep(0.05)


def ended(jobs: LocalJobs, study: str) -> Job:
    until(lambda: (found := jobs.find(study)) is not None and found.ended)
    found = jobs.find(study)
    assert found
    return found


def test_a_job_runs_apart_and_tells_how_it_ended(jobs: LocalJobs) -> None:
    jobs.start("good", ["resume", "good one"])
    jobs.start("bad", ["fail"])

    good, bad = ended(jobs, "good"), ended(jobs, "bad")

    assert (good.state, good.exit_code, bad.state, bad.exit_code) == ("finished", 0, "failed", 3)
    assert jobs.log(good) == "arguments resume --store /store good one\n"
    assert jobs.find("nothing") is None
    assert LocalJobs("/other").find("good") is None


def test_a_study_has_one_job_at_a_time_which_is_stopped_as_by_ctrl_c(jobs: LocalJobs) -> None:
    first = jobs.start("s", ["wait"])
    until(lambda: "arguments" in jobs.log(first))

    assert jobs.start("s", ["wait"]).job_id == first.job_id
    jobs.stop(first)

    assert ended(jobs, "s").state == "stopped"
    assert "ended by a signal" in jobs.log(first)
    assert jobs.start("s", ["again"]).job_id != first.job_id
    ended(jobs, "s")


def test_jobs_end_with_the_ray_that_they_run_on_and_no_other(jobs: LocalJobs) -> None:
    mine = jobs.start("s", ["wait"])
    others = LocalJobs("/store", "head:2")
    other = others.start("t", ["wait"])
    until(lambda: "arguments" in jobs.log(mine) and "arguments" in others.log(other))

    end_with("head:1")

    assert ended(jobs, "s").state == "stopped"
    still = others.find("t")
    assert still and still.state == "running"
    end_with("head:2")


def test_a_job_that_is_killed_has_failed(jobs: LocalJobs) -> None:
    found = jobs.start("s", ["wait"])
    until(lambda: "arguments" in jobs.log(found))
    folder = local._all_jobs() / identity("/store") / found.job_id

    os.killpg(int((folder / "pid").read_text()), signal.SIGKILL)

    lost = ended(jobs, "s")
    assert lost.state == "failed" and "was killed" in (lost.reason or "")
