"""How far the probabilities of two models lie apart, instance by instance: KL divergence and mean squared error.

KL(B||C) = sum p_B ln(p_B / p_C) in nats, of a model C from a base B (Kullback, Leibler, 1951, "On Information and
Sufficiency"); the MSE is the mean over classes of (p_C - p_B)^2. A probability counts as `FLOOR` at least within the
logarithm: what rounds to zero in half precision need not be impossible. Rounded lists do not sum to 1, so what their
sums differ by is taken off: sum p_C - sum p_B is added (Csiszar's I-divergence, 1991, which is never negative).

The arithmetic is done in single precision, in pieces that fit a processor's cache, by a compiled loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cc_ray.compiled import compiled

Floats = NDArray[np.float32]
Probabilities = NDArray[Any]
"""(n, classes) of float16, float32 or float64, in [0, 1]; a zero has no sign."""

FLOOR: Final = 2.0**-25
"""Half of the smallest positive number of half precision, about 3e-8."""
PIECE: Final = 32_768
"""Values that are worked on at once."""
_HALVES: Final = np.arange(0x3C00 + 1, dtype=np.uint16).view(np.float16).astype(np.float32)
"""Every number of half precision in [0, 1], in order of its bits."""
_LOGARITHMS: Final = np.log(np.maximum(_HALVES, np.float32(FLOOR)))
_LARGEST: Final = len(_HALVES) - 1


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
        for rows in pieces(count, classes):
            _prepare(probabilities[rows], self.probabilities[rows], self.logarithms[rows])

    def compared(self, probabilities: Probabilities) -> tuple[Floats, Floats]:
        """KL divergence of a model from the base in nats, (n,), and its MSE, (n,).

        Args:
            probabilities: The model's, (n, classes), of the same instances and classes in the same order.

        Raises:
            ValueError: If they are of another shape: compiled loops would read beyond them.
        """
        if probabilities.shape != self.probabilities.shape:
            raise ValueError(
                f"probabilities of shape {self.probabilities.shape} are expected, not {probabilities.shape}."
            )
        count, classes = probabilities.shape
        kl, mse = np.empty(count, np.float32), np.empty(count, np.float32)
        if probabilities.dtype == np.float16:
            _compare_halves(probabilities.view(np.uint16), self.probabilities, self.logarithms, kl, mse)
            return kl, mse
        scratch = np.empty((2, _step(classes), classes), np.float32)
        for rows in pieces(count, classes):
            own, logarithms = scratch[:, : rows.stop - rows.start]
            _prepare(probabilities[rows], own, logarithms)
            _compare(own, logarithms, self.probabilities[rows], self.logarithms[rows], kl[rows], mse[rows])
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


def _prepare(values: Probabilities, probabilities: Floats, logarithms: Floats) -> None:
    """Write probabilities in single precision, and their logarithms."""
    if values.dtype == np.float16:
        _look_up(values.view(np.uint16), probabilities, logarithms)
        return
    np.copyto(probabilities, values, casting="same_kind")
    np.maximum(probabilities, np.float32(FLOOR), out=logarithms)
    np.log(logarithms, out=logarithms)


@compiled
def _look_up(bits: NDArray[np.uint16], probabilities: Floats, logarithms: Floats) -> None:
    """As `_prepare`: half precision has so few numbers that looking them up is faster than computing."""
    for row in range(bits.shape[0]):
        for place in range(bits.shape[1]):
            at = min(bits[row, place], np.uint16(_LARGEST))
            probabilities[row, place] = _HALVES[at]
            logarithms[row, place] = _LOGARITHMS[at]


@compiled
def _compare(own: Floats, own_log: Floats, base: Floats, base_log: Floats, kl: Floats, mse: Floats) -> None:
    """Write the divergences of rows of a model from those of a base, (n, classes) each, to `kl` and `mse`, (n,)."""
    classes = own.shape[1]
    for row in range(own.shape[0]):
        divergence = excess = square = np.float32(0)
        for place in range(classes):
            change = own[row, place] - base[row, place]
            square += change * change
            # The sum of the differences is what the lists' sums differ by.
            excess += change
            divergence += base[row, place] * (base_log[row, place] - own_log[row, place])
        # Rounding alone could make it negative.
        kl[row] = max(divergence + excess, np.float32(0))
        mse[row] = square / np.float32(classes)


@compiled
def _compare_halves(own: NDArray[np.uint16], base: Floats, base_log: Floats, kl: Floats, mse: Floats) -> None:
    """As `_compare`, of a model whose probabilities are given as bits of half precision."""
    classes = own.shape[1]
    for row in range(own.shape[0]):
        divergence = excess = square = np.float32(0)
        for place in range(classes):
            at = min(own[row, place], np.uint16(_LARGEST))
            change = _HALVES[at] - base[row, place]
            square += change * change
            # The sum of the differences is what the lists' sums differ by.
            excess += change
            divergence += base[row, place] * (base_log[row, place] - _LOGARITHMS[at])
        # Rounding alone could make it negative.
        kl[row] = max(divergence + excess, np.float32(0))
        mse[row] = square / np.float32(classes)
