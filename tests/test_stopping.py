"""Work that is stopped: between its pieces, in other threads, and where it waits for the database."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cc_ray.errors import StoppedError
from cc_ray.stopping import Stop, carried, go_on, interruptible
from cc_ray.store import Store
from cc_ray.views import open_views

SLOW = "SELECT sum(a.range * b.range) FROM range(10_000_000) a, range(10_000_000) b"
"""Days of work."""


def test_work_goes_on_unless_it_is_stopped() -> None:
    stop = Stop()

    assert stop.run(lambda: "done") == "done"
    stop.ask()
    with pytest.raises(StoppedError):
        stop.run(lambda: pytest.fail("must not begin"))
    go_on()


def test_what_is_waited_for_is_interrupted_once_and_only_while_it_is_waited_for() -> None:
    stop, told = Stop(), list[str]()

    def work() -> None:
        with interruptible(lambda: told.append("before")):
            pass
        with interruptible(lambda: told.append("now")):
            stop.ask()
        with interruptible(lambda: told.append("after")):
            pytest.fail("must not begin")

    with pytest.raises(StoppedError):
        stop.run(work)
    assert told == ["now"]


def test_threads_of_the_work_are_stopped_with_it() -> None:
    stop = Stop()

    def work() -> list[None]:
        part = carried(go_on)
        stop.ask()
        with ThreadPoolExecutor(2) as threads:
            return list(threads.map(lambda _: part(), range(4)))

    with pytest.raises(StoppedError):
        stop.run(work)


def test_a_question_that_is_stopped_frees_its_thread_and_the_database(tmp_path: Path) -> None:
    views = open_views(Store(tmp_path / "store", create=True).root)
    stop, begun = Stop(), threading.Event()

    def ask() -> None:
        begun.set()
        views.sql(SLOW)

    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(stop.run, ask)
        begun.wait()
        timer = threading.Timer(0.3, stop.ask)
        timer.start()
        with pytest.raises(StoppedError, match="cancelled"):
            asked.result()
        assert thread.submit(views.sql, "SELECT 1 AS one").result()["one"].to_pylist() == [1]
