"""What a model answers is written while it answers more."""

import resource
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor, nn

from cc_ray import trial
from cc_ray.errors import StoreUnavailableError, TrialFailedError
from cc_ray.evaluate.answers import BATCH_SIZE
from cc_ray.evaluate.answers.classes import Classes
from cc_ray.evaluate.predictions import predict
from cc_ray.evaluate.recorder import AHEAD, Alongside, Recorder
from cc_ray.recipe import Recipe
from cc_ray.schema import INSTANCES
from cc_ray.store import Store, parquet, patience
from cc_ray.store.compaction import compact
from cc_ray.tasks import Data, Split, Task
from tests.store.test_faults import away

PATIENT_S = 60.0
"""How long a test waits for what must happen."""


class Wide(Task):
    """Instances of four drawn numbers; the scores are a linear function of them."""

    name: ClassVar[str] = "wide"
    bases: ClassVar[tuple[str, ...]] = ("linear",)
    class_names: ClassVar[tuple[str, ...]] = ()
    asked: ClassVar[Callable[[], object]] = staticmethod(lambda: None)
    """Called before a model answers a batch."""

    batches: int = 4
    classes: int = 10
    every: int = 1
    """Instances are whole multiples of it."""
    in_order: bool = True

    def build(self, base: str) -> nn.Module:
        return nn.Linear(4, self.classes).eval()

    def train(self, base: str, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return self.build(base)

    def logits(self, model: nn.Module, inputs: Tensor) -> Tensor:
        if len(inputs) == BATCH_SIZE:
            type(self).asked()
        return super().logits(model, inputs)

    def data(self, split: Split) -> Data:
        count = self.batches * BATCH_SIZE - 3
        lot = torch.Generator().manual_seed(self.every)
        instances = torch.arange(count) * self.every
        order = torch.arange(count) if self.in_order else torch.randperm(count, generator=lot)
        return Data(
            torch.randn(count, 4, generator=lot), torch.randint(self.classes, (count,), generator=lot), instances[order]
        )

    def instances(self) -> pa.Table:
        rows = {"instance": self.data("evaluation").instances.tolist(), "slices": [[]] * len(self.data("evaluation"))}
        return pa.table({name: pa.array(values, INSTANCES.schema.field(name).type) for name, values in rows.items()})

    def data_fingerprint(self) -> str:
        return "drawn"


@pytest.fixture(autouse=True)
def small_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "GROUP_BYTES", 2**14)


def publish_at_once(store: Store, key: str, found: Classes, base: str | None = None, parent: str = "") -> None:
    """All rows made and written after the model has answered everything."""
    rows = found.table(key)
    if base is not None:
        others = (store.read("predictions", keys={"step": name}).sort_by("instance") for name in (base, parent))
        rows = Classes.compared(rows, **dict(zip(("base", "parent"), others, strict=True)))
    assert store.publish("step", key, {"predictions": rows})


def publish_meanwhile(
    store: Store, key: str, task: Task, model: nn.Module, base: str | None = None, parent: str = ""
) -> Classes:
    others = (None, None) if base is None else (Alongside(store, base), Alongside(store, parent))
    with store.grow() as growing:
        with Recorder(growing, key, *others) as recorder:
            found: Classes = recorder.record(task, model)
        assert growing.tables == {"predictions"}
        assert store.publish("step", key, {}, growing)
    return found


def as_bits(rows: pa.Table) -> list[object]:
    """Every value, numbers bit by bit; nothing of what lies where there is null."""

    def bits(values: pa.ChunkedArray) -> object:
        if pa.types.is_list(values.type):
            return bits(pc.list_flatten(values)), pc.list_value_length(values).to_pylist()
        if pa.types.is_floating(values.type):
            return values.is_null().to_pylist(), values.fill_null(0.0).to_numpy().tobytes()
        return values.to_pylist()

    return [bits(column) for column in rows.columns]


def file_of(store: Store, key: str) -> Path:
    return store.layout.batch("step", key) / "predictions.parquet"


def growing_bytes(store: Store) -> int:
    """Length of the predictions that no batch holds yet."""
    return sum(file.stat().st_size for file in store.layout.partial.glob("*/predictions.parquet"))


@pytest.mark.parametrize(
    ("own", "others"),
    [
        (Wide(), None),
        (Wide(), Wide()),
        (Wide(in_order=False), Wide()),
        (Wide(classes=200), Wide(classes=200)),
        (Wide(), Wide(classes=3)),
        (Wide(), Wide(every=2)),
        (Wide(every=2), Wide()),
        (Wide(), Wide(batches=1)),
        (Wide(classes=200), Wide(classes=200, every=3)),
    ],
    ids=[
        "a base model", "the same instances", "not in order", "half precision", "other classes", "a half is missing",
        "a half is too much", "the end is missing", "half precision, most are missing",
    ],
)  # fmt: skip
@pytest.mark.parametrize("compacted", [False, True])
def test_the_rows_are_those_that_would_be_written_at_the_end(
    tmp_path: Path, own: Wide, others: Wide | None, compacted: bool
) -> None:
    at_once, meanwhile = (Store(tmp_path / name, create=True) for name in ("at once", "meanwhile"))
    names = () if others is None else ("base", "parent")
    for number, name in enumerate(names):
        for store in (at_once, meanwhile):
            assert others is not None
            publish_at_once(store, name, predict(others, others.train("linear", number), others.data("evaluation")))
    if compacted:
        compact(meanwhile, keep_s=0.0)

    model = own.train("linear", 7)
    found = publish_meanwhile(meanwhile, "own", own, model, *names)
    publish_at_once(at_once, "own", predict(own, model, own.data("evaluation")), *names)

    expected, rows = (store.read("predictions", keys={"step": "own"}) for store in (at_once, meanwhile))
    assert as_bits(rows) == as_bits(expected) and rows.num_rows == len(own.data("evaluation"))
    assert pq.read_schema(file_of(meanwhile, "own")).equals(
        pq.read_schema(file_of(at_once, "own")), check_metadata=True
    )
    assert found.instances.tolist() == own.data("evaluation").instances.tolist()


def test_a_step_with_one_parent_compares_with_it_once_for_both(tmp_path: Path) -> None:
    store, task = Store(tmp_path, create=True), Wide()
    publish_at_once(store, "base", predict(task, task.train("linear", 0), task.data("evaluation")))

    with store.grow() as growing:
        base = Alongside(store, "base")
        with Recorder(growing, "child", base, base) as recorder:
            recorder.record(task, task.train("linear", 1))
        store.publish("step", "child", {}, growing)

    rows = store.read("predictions", keys={"step": "child"})
    assert rows["kl_from_base"].null_count == 0 and rows["kl_from_base"].equals(rows["kl_from_parent"])


def test_earlier_answers_are_on_the_disk_while_the_model_answers_later_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, lengths = Store(tmp_path, create=True), [0]

    def wait_for_more() -> None:
        """The model takes as long for its third batch, and each after it, as the one before takes to be written."""
        deadline = time.monotonic() + PATIENT_S
        while len(lengths) > 2 and growing_bytes(store) <= lengths[-1]:
            assert time.monotonic() < deadline, f"nothing was written beyond {lengths}"
            time.sleep(0.01)
        lengths.append(growing_bytes(store))

    monkeypatch.setattr(Wide, "asked", staticmethod(wait_for_more))
    task = Wide(batches=8)

    result = trial.run_step(store, task, Recipe("linear"), 0)

    assert len(lengths) == 8 and lengths[3:] == sorted(set(lengths[3:])) and lengths[3] > 0
    assert store.read("predictions", keys={"step": result.model_id}).num_rows == len(task.data("evaluation"))
    assert not any(store.layout.partial.iterdir())


def test_a_write_that_is_refused_ends_the_step_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, task, asked = Store(tmp_path, create=True), Wide(batches=40, classes=200), []
    monkeypatch.setattr(Wide, "asked", staticmethod(lambda: asked.append(1)))

    with no_file_larger_than(2**18), pytest.raises(StoreUnavailableError, match="File too large"):
        trial.run_step(store, task, Recipe("linear"), 0)

    assert 1 < len(asked) < 20, "the model stops as well"
    assert store.keys("step") == [] and not any(store.layout.partial.iterdir())
    assert trial.run_step(store, task, Recipe("linear"), 0).model_id in store.keys("step")


def test_a_model_that_breaks_off_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path, create=True)

    def break_off_once_something_is_written() -> None:
        if growing_bytes(store):
            raise ZeroDivisionError("nothing left")

    monkeypatch.setattr(Wide, "asked", staticmethod(break_off_once_something_is_written))

    with pytest.raises(TrialFailedError, match="nothing left"):
        trial.run_step(store, Wide(batches=400), Recipe("linear"), 0)

    assert store.keys("step") == [] and not any(store.layout.partial.iterdir())


@pytest.mark.parametrize("mount_point", [False, True])
def test_a_store_that_is_away_holds_up_the_model_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mount_point: bool
) -> None:
    store, task, asked = Store(tmp_path / "store", create=True), Wide(batches=30), list[int]()
    model = task.train("linear", 0)
    goes, gone = threading.Event(), threading.Event()

    def go_away_after_the_tenth() -> None:
        asked.append(1)
        if len(asked) == 10:
            goes.set()
            assert gone.wait(PATIENT_S)

    monkeypatch.setattr(Wide, "asked", staticmethod(go_away_after_the_tenth))
    with ThreadPoolExecutor() as pool:
        recorded = pool.submit(publish_meanwhile, store, "m", task, model)
        assert goes.wait(PATIENT_S)
        with away(store.layout.root, mount_point=mount_point):
            gone.set()
            time.sleep(0.5)
            assert not recorded.done() and len(asked) <= 10 + AHEAD + 1
        found = recorded.result()

    monkeypatch.setattr(Wide, "asked", staticmethod(lambda: None))
    other = Store(tmp_path / "other", create=True)
    publish_at_once(other, "m", found)
    assert as_bits(store.read("predictions")) == as_bits(other.read("predictions"))
    assert not any(store.layout.partial.iterdir())


def test_a_store_that_stays_away_ends_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE_S", 0.2)
    store, task = Store(tmp_path / "store", create=True), Wide(batches=30)

    with away(store.layout.root, mount_point=True), pytest.raises(StoreUnavailableError, match="has not answered"):
        publish_meanwhile(store, "m", task, task.train("linear", 0))

    assert store.keys("step") == [] and not any(store.layout.partial.iterdir())


def test_the_rows_of_all_instances_are_never_in_memory_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "GROUP_BYTES", 2**20)
    store, lot, classes = Store(tmp_path, create=True), np.random.default_rng(0), 200
    publish_at_once(store, "warm-up", answers(lot, 0, classes))

    tracemalloc.start()
    arrow_bytes = []
    try:
        with store.grow() as growing:
            with Recorder(growing, "m") as recorder:
                for number in range(200):
                    recorder.add(answers(lot, number, classes))
                    arrow_bytes.append(pa.total_allocated_bytes())
            store.publish("step", "m", {}, growing)
        peak = tracemalloc.get_traced_memory()[1] + max(arrow_bytes) - arrow_bytes[0]
    finally:
        tracemalloc.stop()

    rows_bytes = pq.read_table(file_of(store, "m")).nbytes
    assert rows_bytes > 20 * 2**20 and peak < rows_bytes / 2


def answers(lot: np.random.Generator, number: int, classes: int) -> Classes:
    instances = np.arange(number * BATCH_SIZE, (number + 1) * BATCH_SIZE)
    probabilities = lot.dirichlet(np.ones(classes), BATCH_SIZE)
    return Classes(instances, lot.integers(classes, size=BATCH_SIZE), np.log(probabilities))


@contextmanager
def no_file_larger_than(size_bytes: int) -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
