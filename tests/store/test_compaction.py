"""What compaction promises: every row found exactly once, before, during and after, and whatever is killed."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cc_ray.errors import StoreError
from cc_ray.schema import BATCHES, HALVES, SCHEMA_VERSION, TABLES
from cc_ray.store import Store
from cc_ray.store.bucket import Bucket
from cc_ray.store.compaction import Compacted, Progress, compact, compact_if_worthwhile
from cc_ray.store.parquet import GROUP_BYTES, models
from cc_ray.store.segments import read_manifest
from tests.benchmarks.make_store import make_store
from tests.compare.small import add_model, answers, new_store

ROWS = 3


def add(store: Store, *names: str) -> None:
    for name in names:
        add_model(store, name, labels=[0, 1, 2], probabilities=answers([0, 1, 1]), metrics={"accuracy": 0.5})


def everything(store: Store) -> dict[str, list[str]]:
    return {name: sorted(map(repr, store.read(name).to_pylist())) for name in TABLES}


def each_batch(store: Store) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    return {
        (table.name, kind, key): store.read(table.name, keys={kind: key}).to_pylist()
        for kind, tables in BATCHES.items()
        for table in tables
        for key in store.keys(kind)
    }


def stored(store: Store) -> list[str]:
    """Names of all files or objects of a store."""
    if isinstance(store.place, Bucket):
        return [found.name for folder in ("batches", "segments") for found in store.place.objects.listing(folder)]
    return [file.relative_to(store.layout.root).as_posix() for file in store.layout.root.rglob("*.*")]


def test_every_answer_of_a_store_stays_as_it_was(root: Path | str) -> None:
    store = make_store(root, models=8, instances=40)
    sizes = {(kind, key): store.size_bytes(kind, key) for kind in BATCHES for key in store.keys(kind)}
    before = everything(store), each_batch(store), store.version(), sizes

    found = [compact(store, keep_s=1000), compact(store, keep_s=0), compact(store, keep_s=0)]

    assert found[0].batches == len(sizes) and found[0].removed == 0
    assert found[1].batches == 0 and found[1].removed == len(sizes)
    assert found[2].batches == found[2].removed == 0
    sizes = {(kind, key): store.size_bytes(kind, key) for kind in BATCHES for key in store.keys(kind)}
    assert (everything(store), each_batch(store), store.version(), sizes) == before
    assert len(store.files("models")) == 1


def test_a_compacted_batch_is_not_published_again(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add(store, "aaaa")
    compact(store, keep_s=-1)

    assert [file.name for file in store.layout.batch("step", "aaaa").iterdir()] == ["compacted"]
    assert store.has("step", "aaaa")
    assert not store.publish("step", "aaaa", {})
    assert store.read("predictions").num_rows == ROWS


def test_files_stay_for_readers_that_began_before(root: Path | str) -> None:
    store = new_store(root)
    add(store, "aaaa")
    old = store.snapshot()
    compact(store, keep_s=1000)
    add(store, "bbbb")
    newer = store.snapshot()
    compact(store, keep_s=1000)

    for files in (old, newer):
        assert all(file.exists() for found in files.values() for file in found)
    compact(store, keep_s=-1)
    assert not any(file.exists() for files in (old, newer) for file in files["models"])
    assert store.read("models")["model_id"].to_pylist() == ["aaaa", "bbbb"]


def test_few_batches_do_not_rewrite_a_large_segment(root: Path | str) -> None:
    store = make_store(root, models=20, instances=30)
    compact(store)
    (large,) = read_manifest(store.place).of("step")

    add(store, "aaaa")
    compact(store)
    assert large in read_manifest(store.place).of("step")
    assert len(read_manifest(store.place).of("step")) == 2
    for number in range(6):
        add(store, f"b{number}")
        compact(store, keep_s=-1)

    assert len(read_manifest(store.place).of("step")) <= 5
    assert store.read("models").num_rows == 27


def test_rows_of_a_model_lie_together_in_order_and_small_models_share_a_row_group(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    for names in (("dddd", "bbbb"), ("cccc", "aaaa")):
        add(store, *names)
        compact(store)

    (file,) = store.files("predictions")
    found = pq.ParquetFile(file)
    assert found.metadata.num_row_groups == 1
    rows = pq.read_table(file)
    assert rows["model_id"].to_pylist() == [name for name in ("aaaa", "bbbb", "cccc", "dddd") for _ in range(ROWS)]
    assert rows["instance"].to_pylist() == [0, 1, 2] * 4
    assert found.schema_arrow.metadata[b"schema_version"] == str(SCHEMA_VERSION).encode()


def prediction_rows(model_id: str, count: int, classes: int, kind: type[np.floating[Any]]) -> pa.Table:
    values = np.random.default_rng(0).random((count, classes)).astype(kind)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), classes)
    numbers = {name: np.zeros(count, np.float32) for name in ("confidence", "true_probability", "loss", "margin")}
    return pa.table(
        {
            "model_id": [model_id] * count,
            "instance": np.arange(count),
            "label": np.zeros(count, np.int32),
            "prediction": np.zeros(count, np.int32),
            "correct": [True] * count,
            **numbers,
            "entropy": np.zeros(count, np.float32),
            "probabilities": lists.cast(pa.list_(lists.type.value_type)),
        }
    )


def test_a_large_model_has_row_groups_of_its_own_of_a_sensible_size(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    sizes = {"a": 10, "b": 12_000, "c": 10}
    for name, count in sizes.items():
        store.publish("step", name, {"predictions": prediction_rows(name, count, 1000, np.float16)})
    whole = store.read("predictions", keys={"step": "b"})
    batch = pq.ParquetFile(store.layout.batch("step", "b") / "predictions.parquet")

    compact(store, keep_s=-1)

    (file,) = store.files("predictions")
    segment = pq.ParquetFile(file)
    assert segment.schema_arrow.field("probabilities").type == HALVES
    for found in (batch, segment):
        assert all(found.read_row_group(n).nbytes <= 1.6 * GROUP_BYTES for n in range(found.num_row_groups))
    first, *own, last = models(segment.metadata)
    assert (first, set(own), last) == (("a", "a"), {("b", "b")}, ("c", "c"))
    assert store.read("predictions", keys={"step": "b"}).equals(whole)


def test_narrow_and_wide_columns_stay_what_they_are(root: Path | str) -> None:
    store = new_store(root)
    for name, kind in (("a", np.float16), ("b", np.float32), ("c", np.float16)):
        store.publish("step", name, {"predictions": prediction_rows(name, 5, 4, kind)})
    before = everything(store)

    compact(store, keep_s=-1)

    schemas = [pq.read_schema(file) for file in store.files("predictions")]
    types = {schema.field("probabilities").type.value_type for schema in schemas}
    assert types == {pa.float32(), pa.float16()}
    assert everything(store) == before


def test_a_batch_of_several_models_is_sorted_by_model(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    both = pa.concat_tables([prediction_rows("b", 3, 2, np.float32), prediction_rows("a", 3, 2, np.float32)])
    store.publish("step", "import", {"predictions": both})
    file = store.layout.batch("step", "import") / "predictions.parquet"
    # As a program wrote it that sorted by instance only.
    rows = pq.read_table(file).sort_by("instance").replace_schema_metadata({})
    pq.write_table(rows, file)

    compact(store, keep_s=-1)

    assert store.read("predictions")["model_id"].to_pylist() == ["a"] * 3 + ["b"] * 3


def test_progress_is_told(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add(store, "aaaa", "bbbb")
    told: list[Progress] = []

    compact(store, on_progress=told.append)

    assert Progress("step", "predictions", 2, 2) in told
    assert {progress.kind for progress in told} == {"task", "step"}


def test_only_many_batches_or_files_that_are_due_are_worth_it(root: Path | str) -> None:
    store = new_store(root)
    add(store, "aaaa", "bbbb")

    assert compact_if_worthwhile(store, more_than=3) is None
    done = compact_if_worthwhile(store, more_than=2)
    assert isinstance(done, Compacted) and (done.batches, done.removed) == (3, 0)
    assert compact_if_worthwhile(store, more_than=2) is None
    later = compact_if_worthwhile(store, more_than=2, keep_s=-1)
    assert isinstance(later, Compacted) and (later.batches, later.removed) == (0, 3)


def test_of_two_that_compact_at_once_one_returns(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store.layout.segments.mkdir(exist_ok=True)
    with store.layout.lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert compact(store).busy

    assert compact(store).batches == 1


STEPS = (
    "Writer.add",
    "_write_keys",
    "_write_segment",
    "_replace_retired",
    "replace_manifest",
    "_publish",
    "Place.add_segment",
    "Place.empty",
    "_remove_segments",
)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_killed_compaction_loses_nothing_and_its_leftovers_go(root: Path | str, step: str, moment: str) -> None:
    store = new_store(root)
    add(store, "aaaa", "bbbb")
    compact(store, keep_s=1000)
    add(store, "cccc", "dddd", "eeee")
    before = everything(store)
    script = textwrap.dedent(
        """
        import os, signal, sys
        import cc_ray.store.bucket as bucket, cc_ray.store.compaction as compaction
        root, step, moment = sys.argv[1:]
        # Those that come after it do not wait.
        bucket.LEASE_S = 0.0
        store = compaction.Store(root)
        owner = {"Writer": compaction.Writer, "Place": type(store.place)}.get(step.partition(".")[0], compaction)
        name = step.rpartition(".")[2]
        inner = getattr(owner, name)

        def killed(*args):
            if moment == "after":
                inner(*args)
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(owner, name, killed)
        compaction.compact(store, keep_s=-1)
        """
    )

    killed = subprocess.run([sys.executable, "-c", script, str(root), step, moment], check=False)

    assert killed.returncode == -signal.SIGKILL
    assert everything(store) == before
    compact(store, keep_s=-1)
    compact(store, keep_s=-1)
    assert everything(store) == before
    store.sweep(older_than_s=-1)
    assert not list(store.layout.partial.iterdir())
    live = {segment.id for segment in read_manifest(store.place).segments}
    assert {piece.id for piece in store.place.pieces()} == live
    assert not [name for name in stored(store) if name.startswith("batches/") and name.endswith(".parquet")]
    assert store.place.read(store.layout.retired)[0] == []


def test_what_never_came_to_count_is_not_taken_for_retired(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add(store, "aaaa")
    store.layout.segments.mkdir(exist_ok=True)
    # As a compaction leaves it that was killed before its manifest.
    noted = {"at": time.time() - 5000, "kind": "step", "by": "never", "segments": [], "batches": ["aaaa"]}
    store.layout.retired.write_text(json.dumps([noted]))

    compact(store)

    assert (store.layout.batch("step", "aaaa") / "models.parquet").exists()


def test_a_damaged_batch_is_named_and_nothing_is_lost(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add(store, "aaaa", "bbbb")
    file = store.layout.batch("step", "bbbb") / "models.parquet"
    file.write_bytes(file.read_bytes()[:30])

    with pytest.raises(StoreError, match=f"{file} cannot be read"):
        compact(store, keep_s=-1)

    assert store.read("predictions").num_rows == 2 * ROWS


def first_version(root: Path) -> Store:
    """A store as version 1 left it: without the columns that came later."""
    store = new_store(root)
    add(store, "aaaa", "bbbb")
    for file in root.rglob("*.parquet"):
        rows = pq.read_table(file)
        later = [name for name in rows.column_names if name.startswith(("kl_", "mse_")) or name == "kept"]
        rows = rows.drop_columns(later)
        pq.write_table(rows.replace_schema_metadata({"table": file.stem, "schema_version": "1"}), file)
    store.layout.marker.write_text(json.dumps({"format": "cc-ray store", "schema_version": 1}))
    return Store(root)


def marked(store: Store) -> int:
    return int(json.loads(store.layout.marker.read_text())["schema_version"])


def test_an_older_store_is_read_and_left_alone(tmp_path: Path) -> None:
    store = first_version(tmp_path)

    assert store.read("predictions")["kl_from_base"].null_count == 2 * ROWS
    assert store.read("layers").schema.equals(TABLES["layers"].schema)
    assert marked(store) == 1


@pytest.mark.parametrize("how", ["publish", "compact"])
def test_the_first_that_is_written_lifts_an_older_store(tmp_path: Path, how: str) -> None:
    store = first_version(tmp_path)
    before = everything(store)

    if how == "publish":
        add(store, "cccc")
    else:
        compact(store, keep_s=-1)
        assert everything(store) == before

    assert marked(store) == SCHEMA_VERSION
    assert store.read("predictions").num_rows == (3 if how == "publish" else 2) * ROWS


def test_what_a_newer_program_lifted_meanwhile_is_not_lowered(tmp_path: Path) -> None:
    store = first_version(tmp_path)
    store.layout.marker.write_text(json.dumps({"schema_version": SCHEMA_VERSION + 1}))

    with pytest.raises(StoreError, match="Upgrade cc-ray"):
        add(store, "cccc")
    assert marked(store) == SCHEMA_VERSION + 1


WRITE = """
import sys
from cc_ray.store import Store
from tests.store.test_compaction import add
store = Store(sys.argv[1])
for number in range(int(sys.argv[3])):
    add(store, f"{sys.argv[2]}{number:03}")
"""
COMPACT = """
import sys
from pathlib import Path
from cc_ray.store import Store
from cc_ray.store.compaction import compact
stop = Path(sys.argv[2])
while not stop.exists():
    compact(Store(sys.argv[1]), keep_s=0.01)
"""
READ = """
import sys
from pathlib import Path
from cc_ray.store import Store
from cc_ray.views import open_views
stop, views, store, seen, looks = Path(sys.argv[2]), open_views(sys.argv[1]), Store(sys.argv[1]), 0, 0
while not stop.exists() or not looks:
    views, looks = views.refreshed(), looks + 1
    models = views.sql("SELECT count(*) AS n, count(DISTINCT model_id) AS ids FROM models").to_pylist()[0]
    whole = views.sql("SELECT count(*) AS n FROM metrics JOIN models USING (model_id)").to_pylist()[0]["n"]
    rows = store.read("predictions")
    each = rows.group_by("model_id").aggregate([("instance", "count")])
    key = store.keys("step")[-1] if store.keys("step") else None
    one = store.read("predictions", keys={"step": key}).num_rows if key else 3
    assert models["n"] == models["ids"] == whole, (models, whole)
    assert models["n"] >= seen, (models, seen)
    assert each.num_rows >= models["n"] and set(each["instance_count"].to_pylist()) <= {3}, each
    assert one == 3, (key, one)
    seen = each.num_rows
print(looks)
"""


def started(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def busy(tmp_path: Path, root: Path | str) -> Iterator[tuple[Store, list[subprocess.Popen[str]]]]:
    """A store that two processes write to, two compact and one reads, until they are told to stop."""
    store = new_store(root)
    others = [started(COMPACT, store.root, tmp_path / "stop") for _ in range(2)]
    others.append(started(READ, store.root, tmp_path / "stop"))
    yield store, others
    for process in others:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.communicate()


def test_writers_compactors_and_readers_at_once_agree(
    tmp_path: Path, busy: tuple[Store, list[subprocess.Popen[str]]]
) -> None:
    store, others = busy
    count = 12
    writers = [started(WRITE, store.root, name, count) for name in ("a", "b")]

    for writer in writers:
        _, said = writer.communicate()
        assert writer.returncode == 0, said
    (tmp_path / "stop").touch()
    for process in others:
        _, said = process.communicate()
        assert process.returncode == 0, said

    compact(store, keep_s=-1)
    expected = sorted(f"{name}{number:03}" for name in ("a", "b") for number in range(count))
    assert sorted(store.read("models")["model_id"].to_pylist()) == expected
    assert sorted(store.read("predictions")["model_id"].to_pylist()) == sorted(expected * ROWS)
    assert len([name for name in stored(store) if "models.parquet" in name]) == len(
        read_manifest(store.place).of("step")
    )
