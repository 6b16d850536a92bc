"""A study whose store is full or away: it ends as if nothing had happened, at the latest when it is run again."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cc_ray.store import Store
from tests.search.driving import (
    as_without_fault,
    driver,
    driver_environment,
    finish,
    runs,
    space_file,
    states,
    wait_for_worker,
)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return driver_environment(tmp_path / "plugin", "")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"may not mount: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_full_disk_ends_the_session_and_once_there_is_room_the_next_goes_on(
    digits_store: Store, small_disk: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    store, space = Store(shutil.copytree(digits_store.root, small_disk / "store")), space_file(tmp_path)
    ballast = small_disk / "ballast"
    # Room for a model or two.
    ballast.write_bytes(b"0" * (shutil.disk_usage(small_disk).free - 1_200_000))

    with driver(space, store, environment) as running:
        said, _ = running.communicate(timeout=500)

    assert running.returncode == 2, said
    assert "No space left on device" in said and str(store.root) in said and "Traceback" not in said
    assert "failed" not in states(store) and not runs(store, "failed")
    assert set(store.read("models")["model_id"].to_pylist()) == set(store.keys("step"))

    ballast.unlink()
    finish(space, store, environment)

    as_without_fault(store)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_study_waits_for_a_store_that_is_away_for_a_while(
    digits_store: Store, tmp_path: Path, environment: dict[str, str]
) -> None:
    with driver(space_file(tmp_path), digits_store, environment) as running:
        wait_for_worker(running, "step: fine_tune")
        elsewhere = digits_store.layout.root.rename(tmp_path / "elsewhere")
        time.sleep(15)
        elsewhere.rename(digits_store.layout.root)
        said, _ = running.communicate(timeout=500)

    assert running.returncode == 0, said
    assert not runs(digits_store, "failed", "discarded")
    as_without_fault(digits_store)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_store_that_stays_away_ends_the_session_and_the_next_goes_on(
    digits_store: Store, tmp_path: Path, environment: dict[str, str]
) -> None:
    space = space_file(tmp_path)
    with driver(space, digits_store, environment) as running:
        wait_for_worker(running, "step: fine_tune")
        elsewhere = digits_store.layout.root.rename(tmp_path / "elsewhere")
        said, _ = running.communicate(timeout=500)
    elsewhere.rename(digits_store.layout.root)

    assert running.returncode == 2 and "has not answered for 60 s" in said and "Traceback" not in said, said

    finish(space, digits_store, environment)

    assert not runs(digits_store, "failed")
    as_without_fault(digits_store)
