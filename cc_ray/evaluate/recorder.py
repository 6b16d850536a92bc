"""Writes down what a model answers while it answers more: rows are made and written in a thread of their own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

import numpy as np
import pyarrow as pa
from torch import nn

from cc_ray.evaluate.answers import Answers, kind_of
from cc_ray.evaluate.predictions import predict
from cc_ray.schema import PREDICTIONS
from cc_ray.store import Store
from cc_ray.store.growing import Growing
from cc_ray.store.tables import conform
from cc_ray.tasks import Task

AHEAD: Final = 2
"""Batches of answers that may wait to be written: a slow disk holds up the model and does not fill the memory."""


class Recorder:
    """Writes a model's answers as rows of `schema.PREDICTIONS`, with their divergences from its base model and parent.

    The context's end waits until all is written.

    Args:
        growing: The batch that takes the rows.
        model_id: Identity of the model.
        base: The answers of its base model; None for a base model.
        parent: Those of its parent, which may be the same; None for a base model.
        others: Loads the base model and the parent, for answers that are compared while they are given.
    """

    def __init__(
        self,
        growing: Growing,
        model_id: str,
        base: Alongside | None = None,
        parent: Alongside | None = None,
        others: Callable[[], Mapping[str, nn.Module]] = dict,
    ) -> None:
        self._growing = growing
        self._model_id = model_id
        self._base, self._parent, self._others = base, parent, others
        self._thread = ThreadPoolExecutor(1, "recorder")
        self._begun: deque[Future[None]] = deque()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            while kind is None and self._begun:
                self._begun.popleft().result()
        finally:
            self._thread.shutdown(cancel_futures=True)

    def record(self, task: Task, model: nn.Module, known: Answers | None = None) -> Any:
        """Ask a model about every evaluation instance, unless its answers are known, and write them down.

        Raises:
            StoreUnavailableError: If the store stays away, or the disk refuses.
        """
        data, kind = task.data("evaluation"), kind_of(task)
        others = self._others() if kind.asks_others else {}
        # Files hold their rows in order of instance.
        if (others or known is None) and bool((data.instances.diff() > 0).all()):
            return predict(task, model, data, self.add, others)
        # What is compared while it is given is given again.
        predictions = predict(task, model, data, others=others) if others or known is None else known
        for part in predictions.parts():
            self.add(part)
        return predictions

    def add(self, answers: Answers) -> None:
        """Write answers down, soon; they follow in order of instance on those that were added before.

        Raises:
            StoreUnavailableError: If those that were added before could not be written.
        """
        while self._begun and (self._begun[0].done() or len(self._begun) >= AHEAD):
            self._begun.popleft().result()
        self._begun.append(self._thread.submit(self._write, answers))

    def _write(self, answers: Answers) -> None:
        rows = answers.table(self._model_id)
        if answers.compared_by and self._base is not None and self._parent is not None:
            base = self._base.up_to(answers.instances[-1])
            parent = base if self._parent is self._base else self._parent.up_to(answers.instances[-1])
            rows = answers.compared(rows, base=base, parent=parent)
        self._growing.add(conform(PREDICTIONS, rows))


class Alongside:
    """The answers of a model in the store, read in step with those of another.

    Args:
        store: Holds them.
        model_id: Identity of the model.
        columns: What is read of them besides the instance: `Answers.compared_by`.
    """

    def __init__(self, store: Store, model_id: str, columns: Sequence[str] = ("probabilities",)) -> None:
        wanted = ("instance", *columns)
        self._unread: Iterator[pa.Table] = store.pieces("predictions", "step", model_id, wanted)
        self._rows = PREDICTIONS.schema.empty_table().select(wanted)
        """Read and not yet given."""

    def up_to(self, instance: int) -> pa.Table:
        """Rows of further instances up to one; without those that earlier calls gave."""
        while not self._rows.num_rows or self._rows["instance"][-1].as_py() < instance:
            piece = next(self._unread, None)
            if piece is None:
                break
            self._rows = pa.concat_tables([self._rows, piece])
        end = np.searchsorted(self._rows["instance"].to_numpy(), instance, side="right")
        given, self._rows = self._rows.slice(0, end), self._rows.slice(end)
        return given
