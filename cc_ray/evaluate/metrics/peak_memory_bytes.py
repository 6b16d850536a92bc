"""Peak memory: weights and everything that one forward pass holds at once.

Counted where tensors are made, not asked of the system: the same on every machine, whatever its allocator keeps. What a
kernel needs for itself while it runs is not seen.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor, UntypedStorage
from torch.utils._python_dispatch import TorchDispatchMode, is_traceable_wrapper_subclass
from torch.utils._pytree import tree_leaves

from cc_ray.evaluate.metrics.base import Measurement, MetricDefinition, Value, metric
from cc_ray.store.exported import Program


@metric(
    "peak_memory_bytes",
    Measurement,
    MetricDefinition(
        label="Peak memory",
        meaning=(
            "Bytes of the weights as they are held in memory, and of the tensors that a forward pass of one instance "
            "holds at once at most; without what kernels need for themselves."
        ),
        direction="lower",
        format="bytes",
        unit="bytes",
    ),
)
def peak_memory_bytes(measurement: Measurement) -> Iterable[Value]:
    """Weights, input and live results, at their largest; torch does not see those of an exported program."""
    if isinstance(measurement.model, Program):
        return
    # A copy: the instance may be a view of all of them.
    model, inputs = measurement.model, measurement.inputs.clone()
    watch = Watch()
    with torch.no_grad(), watch:
        watch.hold(chain(model.parameters(), model.buffers(), [inputs]))
        measurement.task.logits(model, inputs)
    yield Value(float(watch.peak))


class Watch(TorchDispatchMode):
    """Counts the bytes of all tensors that live at the same time, those made inside of the `with` and those held."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        """Bytes at most."""
        self._live = 0
        self._known: dict[int, weakref.ref[UntypedStorage]] = {}

    def hold(self, tensors: Iterable[Tensor]) -> None:
        """Count tensors that are there already; those that share their memory once."""
        for storage in chain.from_iterable(map(_storages, tensors)):
            self._count(storage)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if any(is_traceable_wrapper_subclass(each) for each in tree_leaves((args, kwargs))):
            # A quantized tensor says itself what is done of it: that is seen, with what it makes on the way.
            return NotImplemented
        made = func(*args, **(kwargs or {}))
        self.hold(each for each in tree_leaves(made) if isinstance(each, Tensor))
        return made

    def _count(self, storage: UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return

        def gone(_: object) -> None:
            del self._known[key]
            self._live -= size

        self._known[key] = weakref.ref(storage, gone)
        self._live += size
        self.peak = max(self.peak, self._live)


def _storages(tensor: Tensor) -> Iterator[UntypedStorage]:
    """The memory of a tensor, or of those that it is made of."""
    if is_traceable_wrapper_subclass(tensor):
        names, _ = tensor.__tensor_flatten__()
        for name in names:
            yield from _storages(getattr(tensor, name))
    else:
        yield tensor.untyped_storage()
