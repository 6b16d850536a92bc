"""Latency: how long one forward pass of one instance takes, on one thread or a GPU; and of a batch, for throughput.

A model is timed beside its base model, in rounds that alternate between the two, so that whatever else the machine
does meets both alike. On a GPU a pass is over when the GPU is idle again, and torch has its usual settings. Intervals
come from drawing rounds with replacement: passes of one round are not independent.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cc_ray.tasks import Task, device_name, moved

DEVICE: Final = "cpu, 1 thread"
BUDGET_S: Final = 0.6
"""Time for the passes of both models together, without warm-up."""
WARM_UP: Final = 5
"""Passes of each model that are not counted; the last of them says how many the budget holds."""
ROUNDS: Final = 30
MIN_PASSES: Final = 10
MAX_PASSES: Final = 390
"""Of each model: enough to support 99 %. More would keep a machine from other work for a slightly narrower interval."""
BASE_SHARE: Final = 0.25
"""Passes of the base model, where the model itself has one: of the base only the median is asked for."""
BATCH: Final = 64
"""Instances of a batch, where there are as many and the task's models are asked about as many at once."""
BATCHES_SHARE: Final = 0.2
"""Part of the budget of latency that batches are given."""
DRAWS: Final = 1000
CONFIDENCE: Final = 0.95

Times = NDArray[np.float64]
"""Milliseconds, (rounds, passes)."""
Pass = Callable[[], object]


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval and the number of passes behind it."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Timing:
    """Times of a model and of its base model from the same rounds."""

    model_ms: Times
    base_ms: Times
    device: str = DEVICE

    def percentile_ms(self, share: float) -> Interval | None:
        """The time that a share of the passes stays below; None if there are too few passes to tell."""
        if not supports(self.model_ms.size, share):
            return None
        drawn = np.percentile(_draw(self.model_ms), 100 * share, axis=1)
        return _interval(float(np.percentile(self.model_ms, 100 * share)), drawn, self.model_ms.size)

    def speedup(self) -> Interval:
        """The base model's median over this model's; both are drawn from the same rounds."""
        value = float(np.median(self.base_ms) / np.median(self.model_ms))
        drawn = np.median(_draw(self.base_ms), axis=1) / np.median(_draw(self.model_ms), axis=1)
        return _interval(value, drawn, self.model_ms.size)


@dataclass(frozen=True)
class BatchTiming:
    """Times of a model for batches of instances."""

    size: int
    """Instances of a batch."""
    model_ms: Times
    device: str = DEVICE

    def throughput_per_s(self) -> Interval:
        """Instances a second, at the median time."""
        value = 1000 * self.size / float(np.median(self.model_ms))
        return _interval(value, 1000 * self.size / np.median(_draw(self.model_ms), axis=1), self.model_ms.size)


def supports(passes: int, share: float) -> bool:
    """Whether so many passes bound a percentile on both sides with 95 % confidence.

    They do if it is unlikely enough (2.5 %) that all of them fall on one side of it: 6 for the median, 36 for 90 %.
    """
    return max(share, 1 - share) ** passes <= (1 - CONFIDENCE) / 2


def time_beside(task: Task, model: nn.Module, base_model: nn.Module, *, budget_s: float = BUDGET_S) -> Timing:
    """Time a model and its base model in alternating rounds, a batch of one instance on one thread or the step's GPU.

    Args:
        task: Gives the instance and knows how the models are called.
        model: In evaluation mode, on the CPU.
        base_model: What it is compared with; may be the same.
        budget_s: About how long to go on; slow models get fewer passes, never fewer than `MIN_PASSES`.
    """
    times: tuple[list[list[float]], list[list[float]]] = ([], [])
    with moved(model, base_model) as device, _undisturbed():
        inputs = task.data("evaluation").inputs[:1].to(device)
        passes = [_pass(task, one, inputs) for one in (model, base_model)]
        rounds, repeats = _plan(budget_s, _warm_up(passes[0]) + BASE_SHARE * _warm_up(passes[1]))
        counts = repeats, math.ceil(BASE_SHARE * repeats)
        for index in range(rounds):
            for which in (0, 1) if index % 2 else (1, 0):
                times[which].append([_time_ms(passes[which]) for _ in range(counts[which])])
    return Timing(np.array(times[0]), np.array(times[1]), timed_on(device))


def time_batches(task: Task, model: nn.Module, *, budget_s: float = BUDGET_S * BATCHES_SHARE) -> BatchTiming:
    """Time a model on one batch again and again, on one thread or the step's GPU.

    Args:
        task: Gives the instances and knows how the model is called.
        model: In evaluation mode, on the CPU.
        budget_s: About how long to go on; slow models get fewer passes, never fewer than `MIN_PASSES`.
    """
    with moved(model) as device, _undisturbed():
        inputs = task.data("evaluation").inputs[: min(BATCH, task.at_once)].to(device)
        one = _pass(task, model, inputs)
        rounds, repeats = _plan(budget_s, _warm_up(one))
        times = [[_time_ms(one) for _ in range(repeats)] for _ in range(rounds)]
    return BatchTiming(len(inputs), np.array(times), timed_on(device))


def medians_ms(passes: Sequence[Pass], *, budget_s: float = BUDGET_S) -> list[float]:
    """Median times of several things, on one thread or a GPU, in rounds through all of them, now forth and now back.

    Args:
        passes: What is timed.
        budget_s: About how long to go on with all together; each is done `MIN_PASSES` times at least.
    """
    times: list[list[float]] = [[] for _ in passes]
    with _undisturbed():
        rounds, repeats = _plan(budget_s, sum(map(_warm_up, passes)))
        for index in range(rounds):
            for which in range(len(passes)) if index % 2 else reversed(range(len(passes))):
                times[which] += [_time_ms(passes[which]) for _ in range(repeats)]
    return [float(np.median(each)) for each in times]


def over_on(device: torch.device, one: Pass) -> Pass:
    """The same thing to time, over only when the device is idle again."""
    if device.type == "cpu":
        return one

    def whole() -> None:
        one()
        torch.cuda.synchronize(device)

    return whole


def timed_on(device: torch.device) -> str:
    """What something was timed on, as the tables say it."""
    return DEVICE if device.type == "cpu" else device_name(device)


def _pass(task: Task, model: nn.Module, inputs: Tensor) -> Pass:
    """One forward pass."""
    return over_on(inputs.device, lambda: task.logits(model, inputs))


def _plan(budget_s: float, pass_ms: float) -> tuple[int, int]:
    """Rounds, and passes of a model in a round, if a pass with all that goes with it takes so long."""
    passes = int(np.clip(1000 * budget_s / pass_ms, MIN_PASSES, MAX_PASSES))
    rounds = min(passes, ROUNDS)
    return rounds, passes // rounds


def _draw(times: Times) -> Times:
    """Passes of rounds drawn with replacement, (draws, passes)."""
    rounds = len(times)
    chosen = np.random.default_rng(0).integers(rounds, size=(DRAWS, rounds))
    return times[chosen].reshape(DRAWS, -1)


def _warm_up(one: Pass) -> float:
    return float(np.median([_time_ms(one) for _ in range(WARM_UP)][-3:]))


def _time_ms(one: Pass) -> float:
    start = time.perf_counter_ns()
    one()
    return (time.perf_counter_ns() - start) / 1e6


def _interval(value: float, drawn: Times, n: int) -> Interval:
    low, high = np.percentile(drawn, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
    # Drawing rounds is skewed for the extremes: the estimate itself is always inside.
    return Interval(value, min(float(low), value), max(float(high), value), n)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """One thread, no gradients, no garbage collection; all as before afterwards."""
    threads, collecting = torch.get_num_threads(), gc.isenabled()
    torch.set_num_threads(1)
    gc.disable()
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_num_threads(threads)
        if collecting:
            gc.enable()
