"""Which zeros models share with a base: counted on masks, a bit per value, as sparse tensors are saved."""

from __future__ import annotations

from typing import Final

import numpy as np

from cc_ray.compare.layers.saved_weights import Beside

PIECE: Final = 2**20
"""Values whose masks are counted at once."""


def zeros(beside: Beside, start: int, stop: int) -> list[tuple[int, int, int]]:
    """Count a piece's zeros.

    Returns:
        For each model: zeros in both, in the base (of the values compared), in the model.
    """
    found = np.zeros((len(beside.own), 3), np.int64)
    for low in range(start, stop, PIECE):
        high = min(low + PIECE, stop)
        base = beside.base.mask(low, high)
        for place, own in enumerate(beside.own.values()):
            mine = own.mask(low, high)
            ones = [np.bitwise_count(mask).sum(dtype=np.int64) for mask in (mine | base, base, mine)]
            found[place] += high - low - np.array(ones)
    return [(both, base, own) for both, base, own in found.tolist()]
