import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

import pytest

from cc_ray.errors import BusyError, LimitError, QueryError, StoppedError, StoreError, TooLargeError
from cc_ray.store import Store
from cc_ray.views.isolated import Limits, Request, Workers, ask
from tests.compare.small import add_model, answers, new_store

ENDLESS = "SELECT count(*) FROM range(1000000000000) a WHERE hash(a.range) = 0"
EXAMPLES = sorted(Path(str(files("cc_ray.views"))).joinpath("examples").glob("*.sql"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = new_store(tmp_path_factory.mktemp("isolated") / "store")
    add_model(made, "aaaa", labels=[0, 1], probabilities=answers([0, 2]), metrics={"accuracy": 0.5})
    return made


def children() -> set[int]:
    """Processes that this one has started and that are still there."""
    found: set[int] = set()
    for task in Path(f"/proc/{os.getpid()}/task").iterdir():
        # A thread may end meanwhile.
        with suppress(FileNotFoundError, ProcessLookupError):
            found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


def test_a_query_is_answered_in_a_process_of_its_own(store: Store) -> None:
    before = children()

    found = ask(store.root, "SELECT model_id, ? AS x FROM models", [1.5])

    assert found.table.to_pylist() == [{"model_id": "aaaa", "x": 1.5}]
    assert not found.truncated
    assert children() == before


def test_a_plan_is_told_instead_of_an_answer(store: Store) -> None:
    assert "explain_value" in ask(store.root, ENDLESS, explain=True).table.column_names


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not a CC-Ray store"):
        ask(tmp_path, "SELECT 1")


def test_too_long_a_query_is_stopped_and_told_what_to_do(store: Store) -> None:
    before = children()

    with pytest.raises(LimitError, match=r"stopped after 0\.5 s: narrow it"):
        ask(store.root, ENDLESS, limits=Limits(seconds=0.5))
    assert children() == before


def test_too_large_an_answer_is_refused(store: Store) -> None:
    with pytest.raises(TooLargeError, match="larger than 1 MiB"):
        ask(store.root, "SELECT repeat('x', 5000000)", limits=Limits(result_bytes=2**20))


def test_too_much_memory_is_told(store: Store) -> None:
    with pytest.raises(LimitError, match="needs more than 200 MiB"):
        ask(store.root, "SELECT list(i) FROM range(1000000000) t(i)", limits=Limits(memory_bytes=200 * 2**20))


def test_a_spare_worker_sees_what_was_published_meanwhile(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    with Workers(store.root) as workers:
        assert workers.ask(Request("FROM models")).rows == 0
        add_model(store, "aaaa")
        assert workers.ask(Request("FROM models")).rows == 1


def test_a_query_is_cancelled_while_it_runs_and_while_it_waits(store: Store) -> None:
    with Workers(store.root, at_once=1) as workers, ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(workers.ask, Request(ENDLESS), query_id=name, user="me") for name in ("one", "two")]
        for name in ("two", "one"):
            assert not workers.cancel(name, user="another")
            while not workers.cancel(name, user="me"):
                time.sleep(0.02)
        for future in asked:
            with pytest.raises(StoppedError, match="cancelled"):
                future.result()

        assert workers.ask(Request("SELECT 1")).rows == 1


def test_more_queries_than_can_wait_are_refused(store: Store) -> None:
    with Workers(store.root, at_once=1, waiting=2, per_user=2) as workers, ThreadPoolExecutor(3) as pool:
        names = [("a", "one"), ("a", "two"), ("b", "three")]
        asked = [pool.submit(workers.ask, Request(ENDLESS), query_id=name, user=user) for user, name in names]
        until_all_wait = threading.Event()
        while len(workers._queries) < 3:
            until_all_wait.wait(0.02)

        with pytest.raises(BusyError, match="3 queries are at work") as caught:
            workers.ask(Request("SELECT 1"), user="c")
        assert caught.value.retry_after_s > 0

        assert workers.cancel("three", user="b")
        with pytest.raises(StoppedError):
            asked[2].result()
        with pytest.raises(BusyError, match="2 queries of yours"):
            workers.ask(Request("SELECT 1"), user="a")
        for user, name in names[:2]:
            workers.cancel(name, user=user)


def test_one_users_queries_leave_room_for_anothers(store: Store) -> None:
    with Workers(store.root, at_once=2) as workers, ThreadPoolExecutor(3) as pool:
        names = ("one", "two", "three")
        asked = [pool.submit(workers.ask, Request(ENDLESS), query_id=name, user="greedy") for name in names]
        while len(workers._queries) < 3:
            time.sleep(0.02)

        assert workers.ask(Request("SELECT 1"), user="other").rows == 1

        assert workers._running == ["greedy"]
        for name in names:
            assert workers.cancel(name, user="greedy")
        for future in asked:
            with pytest.raises(StoppedError):
                future.result()


def test_duckdb_itself_is_bounded_and_puts_nothing_on_the_disk(store: Store) -> None:
    settings = {"t": "threads", "m": "memory_limit", "d": "temp_directory"}
    query = "SELECT " + ", ".join(f"current_setting('{name}') AS {short}" for short, name in settings.items())

    (found,) = ask(store.root, query, limits=Limits(memory_bytes=100 * 2**20)).table.to_pylist()

    assert (found["d"], found["t"] <= 4) == ("", True)
    assert 79 < float(found["m"].removesuffix(" MiB")) < 100


def test_a_parameter_that_cannot_be_sent_is_refused(store: Store) -> None:
    with pytest.raises(QueryError, match="cannot be sent"):
        ask(store.root, "SELECT ?", [object()])


def test_a_worker_ends_with_its_parent(store: Store) -> None:
    code = (
        "import os, threading, time; from cc_ray.views.isolated import *;"
        f"w = Workers({str(store.root)!r});"
        f"request = Request({ENDLESS!r}, limits=Limits(seconds=300));"
        "threading.Thread(target=lambda: w.ask(request), daemon=True).start();"
        "found = []\n"
        "while not found: found = [q._process.pid for q in list(w._queries.values()) if q._process]; time.sleep(0.01)\n"
        "time.sleep(1); print(found[0], flush=True); os._exit(0)"
    )
    pid = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)

    for _ in range(200):
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] in "ZX":
            return
        time.sleep(0.1)
    raise AssertionError(f"worker {pid} lives on")


def test_a_worker_imports_no_more_than_it_needs() -> None:
    start = Path(str(files("cc_ray.views"))) / "isolated" / "start.py"
    code = (
        f"import runpy, sys; sys.meta_path.insert(0, runpy.run_path({str(start)!r})['_Refusal']);"
        "import cc_ray.views.isolated.worker; print({'pandas', 'torch', 'ray'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "set()"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: str(path.stem))
def test_example_queries_run(store: Store, example: Path) -> None:
    text = example.read_text()

    assert text.startswith("-- ")
    ask(store.root, text)
