"""The saved weights of several models beside those of a base, block by block: the base is read once for all of them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import numpy as np

from cc_ray.compare.asking import AMONG, rows
from cc_ray.compare.layers.counterparts import Counterpart, Indices, tensor_name
from cc_ray.stopping import carried
from cc_ray.store.blocks import BLOCK, THREADS, BlockFile, Bytes, Floats, StoredTensor, open_blocks, verify_all
from cc_ray.store.layout import Layout
from cc_ray.views import Views

Answer = TypeVar("Answer")

PIECE: Final = 16 * BLOCK
"""Values that one thread works through before it takes other ones."""


class Values(Protocol):
    """Values in a row that can be read block by block."""

    @property
    def size(self) -> int:
        """Number of values."""

    def fill(self, out: Floats, start: int) -> None:
        """Write real values into `out`, from this position on; it is a multiple of 8."""

    def mask(self, start: int, stop: int) -> Bytes:
        """Which values are not zero, a bit each, the highest bit of a byte first; unused bits are 0."""


@dataclass(frozen=True)
class Picked:
    """Some values of a tensor that is held in memory."""

    held: Floats

    @property
    def size(self) -> int:
        """Number of values."""
        return self.held.size

    def fill(self, out: Floats, start: int) -> None:
        """As `Values.fill`."""
        out[:] = self.held[start : start + len(out)]

    def mask(self, start: int, stop: int) -> Bytes:
        """As `Values.mask`."""
        return np.packbits(self.held[start:stop] != 0)


@dataclass(frozen=True, eq=False)
class Beside:
    """Values of the base and those of models that belong to them, place by place."""

    base: Values
    own: Mapping[str, Values]
    """By model_id; the base's own are the same object as `base`."""


@dataclass(frozen=True)
class Wanted:
    """One tensor that is to be compared."""

    name: str
    counterparts: Mapping[str, Counterpart | bool]
    """By model_id: as `Counterparts.of` says; models whose values have none are left out."""


def artifacts(views: Views, models: Sequence[str]) -> dict[str, str]:
    """Digest of the saved weights by model, of those that are there."""
    found = rows(views, f"SELECT model_id, artifact FROM models WHERE model_id {AMONG}", [list(models)])
    digests = {row["model_id"]: row["artifact"] for row in found}
    return {model_id: digest for model_id, digest in digests.items() if views.layout.artifact_bytes(digest) is not None}


def compared(
    layout: Layout,
    digests: Mapping[str, str],
    base: str,
    tensors: Sequence[Wanted],
    work: Callable[[str, Beside, int, int], Answer],
) -> Iterator[tuple[str, tuple[str, ...], Answer]]:
    """Work through tensors in pieces, on several threads.

    Args:
        layout: Paths of the store.
        digests: Digest of the saved weights by model, the base's too.
        base: The base.
        tensors: What is compared.
        work: Takes the tensor's name, values beside each other, and the first and last position of the piece.

    Yields:
        Name of the tensor, the models, and what `work` gave; in the order of the tensors and pieces.

    Raises:
        StoreError: If saved weights are damaged.
    """
    verify_all(layout, digests.values())
    with ExitStack() as opened, ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        files = {model_id: opened.enter_context(open_blocks(layout, digest)) for model_id, digest in digests.items()}
        waiting: list[tuple[str, tuple[str, ...], Future[Answer]]] = []
        for wanted in tensors:
            for beside in _beside(files, base, wanted):
                for start in range(0, beside.base.size, PIECE):
                    stop = min(start + PIECE, beside.base.size)
                    future = pool.submit(carried(work), wanted.name, beside, start, stop)
                    waiting.append((wanted.name, tuple(beside.own), future))
                # What was picked out of a reshaped tensor lies in memory: no more than a few of these at once.
                while len(waiting) > 4 * THREADS:
                    name, models, future = waiting.pop(0)
                    yield name, models, future.result()
        for name, models, future in waiting:
            yield name, models, future.result()


def _beside(files: Mapping[str, BlockFile], base: str, wanted: Wanted) -> Iterator[Beside]:
    whole: dict[str, StoredTensor] = {}
    theirs = files[base].tensor(wanted.name)
    for model_id, counterpart in wanted.counterparts.items():
        tensor = theirs if model_id == base else files[model_id].tensor(wanted.name)
        if isinstance(counterpart, Counterpart):
            picked = (_picked(theirs, counterpart.base), _picked(tensor, counterpart.own))
            yield Beside(picked[0], {model_id: picked[1]})
        elif counterpart:
            whole[model_id] = tensor
    if whole:
        yield Beside(theirs, dict(whole))


def _picked(tensor: StoredTensor, places: Sequence[Indices]) -> Picked:
    return Picked(np.ascontiguousarray(tensor.whole()[np.ix_(*places)]).ravel())


def shapes(views: Views, models: Sequence[str]) -> dict[str, dict[str, tuple[int, ...]]]:
    """Shapes of the tensors in the table `layers`, by model and name."""
    text = f"SELECT model_id, layer, tensor, shape FROM layers WHERE model_id {AMONG}"
    found: dict[str, dict[str, tuple[int, ...]]] = defaultdict(dict)
    for row in rows(views, text, [list(models)]):
        found[row["model_id"]][tensor_name(row)] = tuple(row["shape"])
    return found
