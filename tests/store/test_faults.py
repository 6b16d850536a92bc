"""What disks and the kernel do to a store: it holds whole batches and nothing else, and is right again afterwards."""

import errno
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from cc_ray.errors import StoreUnavailableError
from cc_ray.store import Store, patience
from cc_ray.store.artifacts import load_model, save_model

ROWS = 500
# Publishes one batch after the other, in children that are killed at any moment of it.
KILLED_WRITERS = """
import os, random, signal, sys, time
from cc_ray.store import Store
from tests.store.test_faults import rows

store, count, lot = Store(sys.argv[1]), int(sys.argv[2]), random.Random(0)
for number in range(2):  # What is first takes longer: much is loaded for it.
    begin = time.perf_counter()
    store.publish("step", str(number), {"predictions": rows(str(number))})
    usual_s = time.perf_counter() - begin
for number in range(2, count):
    child = os.fork()
    if not child:
        store.publish("step", str(number), {"predictions": rows(str(number))})
        os._exit(0)
    time.sleep(lot.uniform(0, 1.2 * usual_s))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


def rows(model_id: str, count: int = ROWS) -> list[dict[str, Any]]:
    return [{"model_id": model_id, "instance": number, "text": f"{number:x}" * 20} for number in range(count)]


def publish(store: Store, key: str, count: int = ROWS) -> bool:
    return store.publish("step", key, {"predictions": rows(key, count)})


@contextmanager
def away(root: Path, *, mount_point: bool) -> Iterator[None]:
    """A store whose file system is lost, and comes back; an empty folder may be left where it was."""
    elsewhere = root.rename(root.with_name("elsewhere"))
    if mount_point:
        root.mkdir()
    try:
        yield
    finally:
        if mount_point:
            # Fails where anything was written into it.
            root.rmdir()
        elsewhere.rename(root)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"may not mount: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_writers_killed_at_any_moment_leave_whole_batches_or_none(tmp_path: Path) -> None:
    store, count = Store(tmp_path / "store", create=True), 30

    subprocess.run([sys.executable, "-c", KILLED_WRITERS, store.root, str(count)], check=True)

    there, leftovers = set(store.keys("step")), list(store.layout.partial.iterdir())
    assert 0 < len(there) < count and leftovers
    found = store.read("predictions").group_by("model_id").aggregate([([], "count_all")]).to_pylist()
    assert {row["model_id"]: row["count_all"] for row in found} == dict.fromkeys(there, ROWS)
    assert all((store.layout.batch("step", key) / "models.parquet").is_file() for key in there)

    assert {key for key in map(str, range(count)) if not publish(store, key)} == there
    assert store.read("predictions").num_rows == count * ROWS
    assert store.sweep(older_than_s=0.0) == len(leftovers) and not any(store.layout.partial.iterdir())


def test_a_full_disk_refuses_a_batch_whole_and_takes_it_once_there_is_room(small_disk: Path) -> None:
    store = Store(small_disk / "store", create=True)
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"0" * (3 * 2**20))

    with pytest.raises(StoreUnavailableError, match=rf"{store.root}.*No space left on device.*Nothing was published"):
        publish(store, "large", 200_000)
    with pytest.raises(StoreUnavailableError, match=rf"{store.root}.*No space left on device.*Nothing was saved"):
        save_model(store.layout, nn.Linear(1000, 1000))

    assert store.keys("step") == [] and not any(store.layout.partial.iterdir())
    assert publish(store, "small", 10), "what fits is taken"
    ballast.unlink()
    assert publish(store, "large", 20_000)
    assert save_model(store.layout, nn.Linear(10, 10)).size_bytes


def test_a_file_that_may_grow_no_further_is_refused_alike(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 2**10, limits[1]))
    try:
        with pytest.raises(StoreUnavailableError, match="File too large"):
            publish(store, "large", 200_000)
        with pytest.raises(StoreUnavailableError, match="File too large"):
            save_model(store.layout, nn.Linear(1000, 1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert store.keys("step") == [] and not any(store.layout.partial.iterdir())
    assert publish(store, "large", 200_000)


def test_a_store_that_comes_back_while_it_is_looked_for_lacks_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    missing = [FileNotFoundError(errno.ENOENT, "away")]

    def action() -> str:
        if missing:
            raise missing.pop()
        return "found"

    assert patience.patiently(store.layout, action) == "found"
    missing = [FileNotFoundError(errno.ENOENT, "gone") for _ in range(2)]
    with pytest.raises(FileNotFoundError, match="gone"):
        patience.patiently(store.layout, action)


@pytest.mark.parametrize("mount_point", [False, True])
def test_a_store_that_is_away_for_a_while_is_waited_for(tmp_path: Path, mount_point: bool) -> None:
    store = Store(tmp_path / "store", create=True)
    publish(store, "a")
    digest = save_model(store.layout, nn.Linear(3, 3)).digest
    version, arrangement = store.version(), store.arrangement()
    asked: list[tuple[Callable[[], Any], Any]] = [
        (lambda: store.has("step", "a"), True),
        (lambda: store.has("step", "b"), False),
        (lambda: store.keys("step"), ["a"]),
        (lambda: store.keys("run"), []),
        (lambda: store.read("predictions").num_rows, ROWS),
        (lambda: store.read("predictions", keys={"step": "a"}).num_rows, ROWS),
        (store.version, version),
        (store.arrangement, arrangement),
        (lambda: len(store.snapshot()["predictions"]), 1),
        (lambda: publish(store, "a"), False),
        (lambda: load_model(store.layout, digest, nn.Linear(3, 3)).in_features, 3),
    ]

    with ThreadPoolExecutor(len(asked)) as pool:
        with away(store.layout.root, mount_point=mount_point):
            answers = [pool.submit(ask) for ask, _ in asked]
            time.sleep(0.5)
            assert not any(answer.done() for answer in answers)
        assert [answer.result() for answer in answers] == [expected for _, expected in asked]


@pytest.mark.parametrize("mount_point", [False, True])
def test_what_is_written_while_the_store_is_away_is_there_when_it_is_back(tmp_path: Path, mount_point: bool) -> None:
    store = Store(tmp_path / "store", create=True)

    with ThreadPoolExecutor() as pool:
        with away(store.layout.root, mount_point=mount_point):
            batch, model = pool.submit(publish, store, "b"), pool.submit(save_model, store.layout, nn.Linear(3, 3))
            time.sleep(0.5)
            assert not batch.done() and not model.done()
        assert batch.result() and model.result()

    assert store.read("predictions").num_rows == ROWS and not any(store.layout.partial.iterdir())


def test_a_store_that_goes_again_and_again_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_PAUSE_S", 0.05)
    store, stop = Store(tmp_path / "store", create=True), threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            with away(store.layout.root, mount_point=False):
                time.sleep(0.02)
            time.sleep(0.2)

    with ThreadPoolExecutor() as pool:
        coming = pool.submit(come_and_go)
        try:
            for number in range(10):
                assert publish(store, str(number))
                assert store.has("step", str(number)) and len(store.keys("step")) == number + 1
        finally:
            stop.set()
        coming.result()
    assert store.read("predictions").num_rows == 10 * ROWS


def test_a_store_that_stays_away_is_given_up_and_never_taken_for_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE_S", 0.2)
    store = Store(tmp_path / "store", create=True)
    publish(store, "a")

    def asks() -> Iterator[Callable[[], Any]]:
        yield from (lambda: store.has("step", "a"), lambda: store.keys("step"), lambda: store.read("predictions"))
        yield from (lambda: publish(store, "b"), lambda: save_model(store.layout, nn.Linear(3, 3)), store.version)

    for mount_point in (False, True):
        with away(store.layout.root, mount_point=mount_point):
            for ask in asks():
                with pytest.raises(StoreUnavailableError, match="has not answered for"):
                    ask()
    assert store.keys("step") == ["a"]


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOTCONN])
def test_what_a_lost_server_says_is_waited_out_and_other_errors_are_not(tmp_path: Path, number: int) -> None:
    store = Store(tmp_path / "store", create=True)
    said = [OSError(number, os.strerror(number)), OSError(number, os.strerror(number))]

    def read() -> str:
        if said:
            raise said.pop()
        return "read"

    assert patience.patiently(store.layout, read) == "read"
    said.append(PermissionError(errno.EACCES, "no"))
    with pytest.raises(PermissionError):
        patience.patiently(store.layout, read)


def test_who_is_told_that_others_waited_in_vain_does_not_wait_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    with away(store.layout.root, mount_point=False):
        patience.waited_already(store.layout)
        with pytest.raises(StoreUnavailableError, match="has not answered"):
            store.has("step", "a")

    assert not store.has("step", "a")
