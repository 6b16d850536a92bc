"""Batches whose rows come piece by piece: written at once, seen when they are published."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cc_ray.errors import SchemaMismatchError, StoreUnavailableError
from cc_ray.schema import PREDICTIONS
from cc_ray.store import Store, parquet
from cc_ray.store.compaction import compact
from cc_ray.store.growing import Growing
from cc_ray.store.tables import conform
from tests.store.test_faults import rows

PIECE = 500
LINEAGE = {"lineage": [{"child": "m", "parent": "m0", "role": "parent"}]}


def piece(number: int) -> pa.Table:
    """Rows of the model `m` that follow on those of the piece before."""
    found = conform(PREDICTIONS, rows("m", PIECE))
    return found.set_column(1, PREDICTIONS.schema.field("instance"), pa.array(np.arange(PIECE) + number * PIECE))


@pytest.fixture(autouse=True)
def small_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "GROUP_BYTES", 2**14)


def add_all(growing: Growing, pieces: int = 4) -> None:
    for number in range(pieces):
        growing.add(piece(number))


def files(store: Store) -> list[Path]:
    return sorted(store.layout.partial.glob("*/*"))


def test_rows_are_written_as_they_come_and_seen_when_all_are_there(root: Path | str) -> None:
    store, written = Store(root, create=True), []

    with store.grow() as growing:
        for number in range(4):
            growing.add(piece(number))
            written.append(files(store)[0].stat().st_size)
            assert store.keys("step") == [] and store.read("predictions").num_rows == 0
        assert store.publish("step", "m", LINEAGE, growing)

    assert written == sorted(set(written))
    found = Store(root).read("predictions")
    assert found["instance"].to_pylist() == list(range(4 * PIECE))
    assert found.select(["text"]).equals(pa.concat_tables([piece(0)] * 4).select(["text"]))
    assert store.read("lineage").num_rows == 1 and store.read("models").num_rows == 0
    assert not any(store.layout.partial.iterdir())


def test_a_file_that_grew_carries_its_contract(root: Path | str) -> None:
    store = Store(root, create=True)
    store.publish("step", "whole", {"predictions": rows("whole")})

    with store.grow() as growing:
        add_all(growing)
        store.publish("step", "m", {}, growing)

    whole, grown = (pq.ParquetFile(store.layout.batch("step", key) / "predictions.parquet") for key in ("whole", "m"))
    assert grown.schema_arrow.equals(whole.schema_arrow, check_metadata=True)
    assert parquet.models(grown.metadata) == [("m", "m")] * grown.num_row_groups and grown.num_row_groups > 1


def test_who_comes_second_is_told_so_and_leaves_nothing(root: Path | str) -> None:
    store = Store(root, create=True)

    for first, instances in ((True, 4), (False, 2)):
        with store.grow() as growing:
            add_all(growing, instances)
            assert store.publish("step", "m", {}, growing) is first

    assert store.read("predictions").num_rows == 4 * PIECE
    assert not any(store.layout.partial.iterdir())


def test_what_is_broken_off_leaves_nothing(root: Path | str) -> None:
    store = Store(root, create=True)

    with pytest.raises(ZeroDivisionError), store.grow() as growing:
        add_all(growing)
        assert files(store)
        raise ZeroDivisionError

    assert not any(store.layout.partial.iterdir()) and store.keys("step") == []


def test_a_table_comes_in_one_way_and_belongs_to_its_batch(tmp_path: Path) -> None:
    store = Store(tmp_path, create=True)
    with store.grow() as growing:
        add_all(growing)
        with pytest.raises(SchemaMismatchError, match="predictions"):
            store.publish("step", "m", {"predictions": rows("m")}, growing)
        with pytest.raises(SchemaMismatchError, match="predictions"):
            store.publish("run", "m", {}, growing)


def test_a_disk_that_refuses_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path, create=True)
    with store.grow() as growing:
        growing.add(piece(0))
        files(store)[0].unlink()
        with pytest.raises(StoreUnavailableError, match=rf"to the store {tmp_path}.*Nothing was published"):
            add_all(growing)


def test_a_killed_writer_leaves_what_is_swept_once_it_grows_no_more(tmp_path: Path) -> None:
    store = Store(tmp_path, create=True)
    script = """
import os, signal, sys
from cc_ray.store import Store, parquet
from tests.store.test_growing import add_all
parquet.GROUP_BYTES = 2**14
with Store(sys.argv[1]).grow() as growing:
    add_all(growing)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    (folder,) = store.layout.partial.iterdir()

    # A day ago it began; its file has grown just now.
    os.utime(folder, (time.time() - 86_401,) * 2)
    assert store.sweep() == 0
    os.utime(folder / "predictions.parquet", (time.time() - 86_401,) * 2)
    assert store.sweep() == 1 and not any(store.layout.partial.iterdir())
    assert store.keys("step") == []


@pytest.mark.parametrize("compacted", [False, True])
def test_a_batch_is_read_piece_by_piece_in_order(root: Path | str, compacted: bool) -> None:
    store = Store(root, create=True)
    for key in ("a", "z"):
        store.publish("step", key, {"predictions": rows(key)})
    with store.grow() as growing:
        add_all(growing)
        store.publish("step", "m", {}, growing)
    if compacted:
        compact(store, keep_s=0.0)

    pieces = list(Store(root).pieces("predictions", "step", "m", ("instance", "text")))

    assert len(pieces) > 2 and {tuple(piece.column_names) for piece in pieces} == {("instance", "text")}
    assert pa.concat_tables(pieces)["instance"].to_pylist() == list(range(4 * PIECE))
    assert list(store.pieces("predictions", "step", "nobody", ("instance",))) == []
    assert list(store.pieces("predictions", "run", "m", ("instance",))) == []


def test_rows_that_move_while_they_are_read_are_read_once(tmp_path: Path) -> None:
    store = Store(tmp_path, create=True)
    with store.grow() as growing:
        add_all(growing)
        store.publish("step", "m", {}, growing)

    pieces = store.pieces("predictions", "step", "m", ("instance",))
    found = [next(pieces)]
    compact(store, keep_s=0.0)
    assert not list(store.layout.batch("step", "m").glob("*.parquet"))

    assert pa.concat_tables([*found, *pieces])["instance"].to_pylist() == list(range(4 * PIECE))
