"""How far the probabilities of two models lie apart, instance by instance: KL divergence and mean squared error.

KL(B||C) = sum p_B ln(p_B / p_C) in nats, of a model C from a base B (Kullback, Leibler, 1951, "On Information and
Sufficiency"); the MSE is the mean over classes of (p_C - p_B)^2. A probability counts as `FLOOR` at least within the
logarithm: what rounds to zero in half precision need not be impossible. Rounded lists do not sum to 1, so what their
sums differ by is taken off: sum p_C - sum p_B is added (Csiszar's I-divergence, 1991, which is never negative).

The arithmetic is done in pieces that fit a processor's cache, in single precision: memory holds a piece, not a store.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Probabilities = NDArray[Any]
"""(n, classes) of float16, float32 or float64, in [0, 1]; a zero has no sign."""

FLOOR: Final = 2.0**-25
"""Half of the smallest positive number of half precision, about 3e-8."""
PIECE: Final = 131_072
"""Values that are worked on at once."""
_FLOORS: Final = np.full(PIECE, FLOOR, np.float32)
_HALVES: Final = np.arange(0x3C00 + 1, dtype=np.uint16).view(np.float16)
"""Every number of half precision in [0, 1], in order of its bits."""
_LOGARITHMS: Final = np.log(np.maximum(_HALVES.astype(np.float32), np.float32(FLOOR)))


class Reference:
    """The probabilities of a base, ready for comparing any number of models with them.

    Args:
        probabilities: (n, classes).
        instead_of: A reference that is needed no more, whose memory is used again.
    """

    def __init__(self, probabilities: Probabilities, instead_of: Reference | None = None) -> None:
        count, classes = probabilities.shape
        fits = instead_of is not None and instead_of._room.shape[1] >= count * classes
        self._room: Floats = instead_of._room if instead_of and fits else np.empty((2, count * classes), np.float32)
        self.probabilities, self.logarithms = (room[: count * classes].reshape(count, classes) for room in self._room)
        places = np.empty(min(count, _step(classes)) * classes, np.intp)
        for rows in pieces(count, classes):
            _widen(probabilities[rows], self.probabilities[rows])
            _logarithms(probabilities[rows], self.probabilities[rows], self.logarithms[rows], places)

    def compared(self, probabilities: Probabilities) -> tuple[Floats, Floats]:
        """KL divergence of a model from the base in nats, (n,), and its MSE, (n,).

        Args:
            probabilities: The model's, (n, classes), of the same instances and classes in the same order.
        """
        count, classes = probabilities.shape
        kl, mse = np.empty(count, np.float32), np.empty(count, np.float32)
        ones = np.ones(classes, np.float32)
        scratch = np.empty((2, _step(classes), classes), np.float32)
        places = np.empty(_step(classes) * classes, np.intp)
        for rows in pieces(count, classes):
            own, other = scratch[:, : rows.stop - rows.start]
            base = self.probabilities[rows]
            _widen(probabilities[rows], own)
            np.subtract(own, base, out=other)
            np.divide(np.vecdot(other, other), classes, out=mse[rows])
            # The sum of the differences is what the lists' sums differ by.
            excess = np.vecdot(other, ones)
            _logarithms(probabilities[rows], own, own, places)
            np.subtract(self.logarithms[rows], own, out=own)
            # Rounding alone could make it negative.
            np.maximum(np.vecdot(base, own) + excess, 0, out=kl[rows])
        return kl, mse


def probability_matrix(lists: pa.ChunkedArray) -> Probabilities | None:
    """Lists of one length as a matrix, (n, classes); None where they are not of one length or one is missing."""
    if lists.null_count or not len(lists):
        return None
    values = pa.concat_arrays([chunk.flatten() for chunk in lists.chunks]) if lists.num_chunks > 1 else None
    values = lists.chunk(0).flatten() if values is None else values
    classes = len(values) // len(lists)
    lengths = pc.list_value_length(lists)
    if not classes or pc.min_max(lengths).as_py() != {"min": classes, "max": classes} or values.null_count:
        return None
    matrix: Probabilities = values.to_numpy().reshape(len(lists), classes)
    return matrix


def pieces(count: int, classes: int) -> Iterator[slice]:
    """Rows that are worked on together, in order."""
    step = _step(classes)
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def _step(classes: int) -> int:
    return max(1, PIECE // max(classes, 1))


def _widen(values: Probabilities, out: Floats) -> None:
    """Write probabilities in single precision."""
    if values.dtype != np.float16:
        np.copyto(out, values, casting="same_kind")
        return
    # A positive half-precision number is a single-precision one whose exponent starts elsewhere: shifting its bits and
    # multiplying is exact, and eight times as fast as numpy's own conversion.
    bits = out.view(np.uint32)
    np.left_shift(values.view(np.uint16), np.uint32(13), out=bits, dtype=np.uint32)
    np.multiply(out, np.float32(2.0**112), out=out)


def _logarithms(values: Probabilities, widened: Floats, out: Floats, places: NDArray[np.intp]) -> None:
    """Write logarithms of probabilities.

    Args:
        values: The probabilities.
        widened: The same in single precision; may be `out`.
        out: Takes the logarithms.
        places: Room for as many integers.
    """
    if values.dtype == np.float16:
        # Half precision has so few numbers that looking them up is faster than computing.
        own = places[: values.size].reshape(values.shape)
        np.copyto(own, values.view(np.uint16))
        np.take(_LOGARITHMS, own, out=out, mode="clip")
        return
    # Beside an array numpy compares three times as fast as beside a number.
    floors = _FLOORS[: values.size] if values.size <= len(_FLOORS) else np.full(values.size, FLOOR, np.float32)
    np.maximum(widened, floors.reshape(values.shape), out=out)
    np.log(out, out=out)
