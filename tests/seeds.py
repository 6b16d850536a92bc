"""Weights that tests make at random are the same in each run, in whatever order files are collected."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """Let torch draw from this seed, and then go on as if it had drawn nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
