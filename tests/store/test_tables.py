import datetime as dt
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cc_ray.errors import SchemaMismatchError, StoreError
from cc_ray.schema import BATCHES, SCHEMA_VERSION
from cc_ray.store import Store


def run(run_id: str = "r1", **changes: Any) -> dict[str, Any]:
    row = {
        "run_id": run_id,
        "model_id": "m",
        "kind": "step",
        "study_id": "",
        "outcome": "published",
        "node": "here",
        "process": 1,
        "started_at": dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
        "duration_s": 0.5,
    }
    return row | changes


def test_published_rows_are_read_back(root: Path | str) -> None:
    store = Store(root, create=True)

    assert store.publish("run", "r1", {"step_runs": [run()]})

    assert store.read("step_runs").to_pylist() == [
        run() | dict.fromkeys(("reason", "cpus", "gpus", "printed", "traceback"))
    ]
    assert store.has("run", "r1")
    assert store.keys("run") == ["r1"]


def test_the_first_of_two_writers_wins(root: Path | str) -> None:
    store = Store(root, create=True)

    assert store.publish("run", "r1", {"step_runs": [run(process=1)]})
    assert not store.publish("run", "r1", {"step_runs": [run(process=2)]})

    assert store.read("step_runs")["process"].to_pylist() == [1]


def test_of_many_writers_at_once_exactly_one_wins(root: Path | str) -> None:
    store = Store(root, create=True)
    won: list[bool] = []

    def write(process: int) -> None:
        won.append(store.publish("run", "r1", {"step_runs": [run(process=process)]}))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(won) == [False] * 11 + [True]
    assert store.read("step_runs").num_rows == 1
    assert list(store.layout.partial.iterdir()) == []


def test_a_batch_holds_all_tables_of_its_kind(root: Path | str) -> None:
    store = Store(root, create=True)

    store.publish("step", "m1", {"lineage": [{"child": "m1", "parent": "m0", "role": "parent"}]})

    assert store.read("models").num_rows == 0
    assert store.read("lineage").num_rows == 1
    assert store.read("lineage", keys={"step": "m1"}).num_rows == 1
    assert store.read("lineage", keys={"step": "other"}).num_rows == 0


def test_files_carry_their_contract(root: Path | str) -> None:
    store = Store(root, create=True)
    store.publish("run", "r1", {"step_runs": [run()]})

    (file,) = store.files("step_runs")

    metadata = pq.read_schema(file).metadata
    assert metadata[b"schema_version"] == str(SCHEMA_VERSION).encode()
    assert pq.read_schema(file).field("duration_s").metadata[b"unit"] == b"s"


@pytest.mark.parametrize(
    ("row", "column", "found"),
    [
        (run(process="many"), "process", "many"),
        (run(colour="red"), "colour", "unknown column"),
        (run(model_id=None), "model_id", "1 nulls"),
        ({"run_id": "r1"}, "model_id", "1 nulls"),
    ],
)
def test_rows_that_do_not_fit_are_refused_whole(root: Path | str, row: dict[str, Any], column: str, found: str) -> None:
    store = Store(root, create=True)

    with pytest.raises(SchemaMismatchError, match=found) as caught:
        store.publish("run", "r1", {"step_runs": [row]})

    assert (caught.value.table, caught.value.column) == ("step_runs", column)
    assert store.keys("run") == []


def test_a_table_of_another_kind_is_refused(root: Path | str) -> None:
    with pytest.raises(SchemaMismatchError, match="models"):
        Store(root, create=True).publish("run", "r1", {"models": []})


@pytest.mark.parametrize("key", ["", "../up", "a/b", ".hidden", "x" * 129, "a\n"])
def test_a_key_cannot_lead_outside(root: Path | str, key: str) -> None:
    with pytest.raises(StoreError, match="cannot name a batch"):
        Store(root, create=True).publish("run", key, {"step_runs": [run()]})


def test_a_killed_writer_leaves_nothing_half_visible(root: Path | str) -> None:
    Store(root, create=True)
    script = textwrap.dedent(
        """
        import os, signal, sys
        import cc_ray.store.tables as tables
        write, written = tables.write, []

        def write_then_die(table, path):
            write(table, path)
            written.append(path)
            if len(written) == int(sys.argv[2]):
                os.kill(os.getpid(), signal.SIGKILL)

        tables.write = write_then_die
        rows = {"lineage": [{"child": "m1", "parent": "m0", "role": "parent"}]}
        tables.Store(sys.argv[1]).publish("step", "m1", rows)
        """
    )
    for survived in (1, 4, 7):
        killed = subprocess.run([sys.executable, "-c", script, str(root), str(survived)], check=False)

        assert killed.returncode == -signal.SIGKILL
        assert Store(root).keys("step") == []
        assert Store(root).read("lineage").num_rows == 0

    assert Store(root).publish("step", "m1", {})
    assert Store(root).sweep(older_than_s=-1) == 3
    assert Store(root).keys("step") == ["m1"]


def test_sweeping_minds_nothing_that_others_publish_meanwhile(tmp_path: Path) -> None:
    store = Store(tmp_path, create=True)
    # Listed, but not there any more when it is looked at.
    (store.layout.partial / "gone").symlink_to("nowhere")

    assert store.sweep(older_than_s=-1) == 0


def test_readers_never_see_part_of_a_batch(root: Path | str) -> None:
    store = Store(root, create=True)
    stop = threading.Event()
    torn: list[object] = []

    def read() -> None:
        while not stop.is_set():
            for key in store.keys("step"):
                rows = [store.read(table.name, keys={"step": key}).num_rows for table in BATCHES["step"]]
                if sum(rows) != 1:
                    torn.append((key, rows))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(40):
        rows = [{"child": f"m{number}", "parent": "m0", "role": "parent"}]
        store.publish("step", f"m{number}", {"lineage": rows})
    stop.set()
    reader.join()

    assert torn == []


def test_the_version_changes_with_each_batch(root: Path | str) -> None:
    store = Store(root, create=True)
    seen = {store.version()}
    for number in range(3):
        store.publish("run", f"r{number}", {"step_runs": [run(f"r{number}")]})
        seen.add(store.version())

    assert len(seen) == 4


def test_a_store_pickles_as_its_path(root: Path | str) -> None:
    store = Store(root, create=True)

    assert pickle.loads(pickle.dumps(store)).root == store.root


def test_a_folder_that_is_no_store_says_what_to_do(root: Path | str) -> None:
    with pytest.raises(StoreError, match="cc-ray demo"):
        Store(root)


def test_a_store_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text(json.dumps({"schema_version": SCHEMA_VERSION + 1}))

    with pytest.raises(StoreError, match="Upgrade cc-ray"):
        Store(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with pytest.raises(StoreError, match="cannot create a store"):
        Store(tmp_path / "store", create=True)


def test_what_a_file_manager_leaves_is_no_batch(tmp_path: Path) -> None:
    store = Store(tmp_path, create=True)
    store.publish("run", "r1", {"step_runs": [run()]})
    (store.layout.batches("run") / ".DS_Store").touch()

    assert store.keys("run") == ["r1"]
    assert store.read("step_runs").num_rows == 1
