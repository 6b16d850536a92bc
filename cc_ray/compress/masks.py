"""Which weights go: the lowest scores of all together, row by row, or in every block of m neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def share_between(share: float, start: int, stop: int) -> int:
    """How many of the entries from `start` to `stop` go, so that the counts of all parts add up to that of the whole.

    Args:
        share: In [0, 1].
        start: Number of entries before these.
        stop: Number of entries before and among these.
    """
    return round(share * stop) - round(share * start)


def lowest(scores: Sequence[Tensor], share: float) -> list[Tensor]:
    """Choose exactly a share of all entries: the lowest, of equal ones the first.

    Args:
        scores: Tensors of any shapes.
        share: In [0, 1]; the count is rounded to the nearest whole number.

    Returns:
        A mask for each tensor, in its shape.
    """
    flat = torch.cat([score.flatten().float() for score in scores])
    mask = lowest_entries(flat, round(share * len(flat)))
    parts = torch.split(mask, [score.numel() for score in scores])
    return [part.view(score.shape) for part, score in zip(parts, scores, strict=True)]


def lowest_entries(flat: Tensor, count: int) -> Tensor:
    """The mask of the `count` lowest of scores, (n,); of equal ones the first."""
    if not count:
        return torch.zeros_like(flat, dtype=torch.bool)
    threshold = flat.kthvalue(count).values
    mask = flat < threshold
    ties = (flat == threshold).nonzero().flatten()
    mask[ties[: count - int(mask.sum())]] = True
    return mask


def lowest_of_rows(scores: Tensor, share: float) -> Tensor:
    """Choose the same share of each row, (rows, columns).

    What a share of a row lacks to a whole number is made up by later rows, so that the count over all rows is exact.
    """
    rows, columns = scores.shape
    counts = (torch.arange(rows + 1, dtype=torch.float64, device=scores.device) * columns * share).round().diff()
    chosen = torch.arange(columns, device=scores.device) < counts[:, None]
    return torch.zeros_like(chosen).scatter_(1, scores.argsort(dim=1, stable=True), chosen)


def lowest_of_blocks(scores: Tensor, kept: int, of: int) -> Tensor:
    """Choose the lowest `of - kept` in every block of `of` neighbours along the last axis, whose length they divide."""
    blocks = scores.view(*scores.shape[:-1], -1, of)
    gone = blocks.argsort(dim=-1, stable=True)[..., : of - kept]
    return torch.zeros_like(blocks, dtype=torch.bool).scatter_(-1, gone, True).flatten(-2)
