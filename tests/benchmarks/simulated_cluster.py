"""A cluster on paper: the decisions that `search/` and Ray take, replayed without the work.

`python -m tests.benchmarks.simulated_cluster` prints how busy clusters of several sizes are. Times of the driver,
of the steps' actor and of a task's start are what `test_steps.py` measures; steps take random times.

What is replayed: the driver starts and ends trials one after the other and keeps a number of them at work; the actor
hands out the tasks of each trial one after the other; tasks wait for the task before them and then for a free CPU;
trials whose models are made wait for each other before these are timed; whoever times a model waits until its node has
nothing else to do, and no step begins there as long as a timing waits.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cc_ray.search.turns import PATIENCE_S, TOGETHER

DRIVER_S: Final = 0.015
"""Time of the driver for one trial."""
ACTOR_S: Final = 0.003
"""Time of the steps' actor for one task."""
START_S: Final = 0.01
"""From a free CPU to a running task."""
TIMING_S: Final = 0.8
"""Timing of one model."""
SPREAD: Final = 0.5
"""Standard deviation of the logarithm of a step's time."""
MEAN: Final = math.exp(SPREAD**2 / 2)
"""Mean time of a step, in medians."""


@dataclass(frozen=True)
class Cluster:
    """What there is, and what is to be done on it."""

    nodes: int
    cpus: int
    """Of each node."""
    width: int
    """Trials at work at once."""
    trials: int
    steps: int
    """Steps of a trial, all of them its own."""
    step_s: float
    """Median time of a step; see `SPREAD`."""
    timed: bool = True
    """Every model is timed, alone on its node."""
    timers: int = 0
    """Nodes that only time models; none: whichever has a free CPU times them."""


@dataclass(frozen=True, eq=False)
class _Task:
    """Has a CPU and waits at the gate, or runs."""

    timing: bool
    took_s: float
    then: Callable[[], None]


@dataclass
class _Node:
    free: int
    working: int = 0
    """Tasks that make models now."""
    timing: bool = False
    waiting: list[_Task] = field(default_factory=list)
    """Tasks that have a CPU and wait at the gate, in order."""


class Simulation:
    """One run of a cluster; times are seconds from its beginning."""

    def __init__(self, cluster: Cluster, seed: int = 0) -> None:
        self.cluster = cluster
        self.now = 0.0
        self._random = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._nodes = [_Node(cluster.cpus) for _ in range(cluster.nodes - cluster.timers)]
        self._timers = [_Node(1) for _ in range(cluster.timers)]
        self._queue: deque[tuple[bool, Callable[[], None]]] = deque()
        """Tasks without a CPU."""
        self._untimed: deque[tuple[bool, Callable[[], None]]] = deque()
        """Timings without a node, where some nodes do nothing else."""
        self._driver_s = self._actor_s = 0.0
        """When the driver and the actor have done what they were asked for so far."""
        self._left = cluster.trials
        self._steps = 0
        """Steps that run or could."""
        self._turn: list[float] = []
        """When trials came that wait for their turn to time models."""

    def run(self) -> float:
        """Run all trials; returns how long it takes."""
        for _ in range(min(self.cluster.width, self.cluster.trials)):
            self._next_trial()
        while self._events:
            self.now, _, event = heapq.heappop(self._events)
            event()
        return self.now

    def _at(self, time_s: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time_s, next(self._order), event))

    def _next_trial(self) -> None:
        if self._left:
            self._left -= 1
            self._driver_s = max(self._driver_s, self.now) + DRIVER_S
            self._at(self._driver_s, self._request)

    def _request(self) -> None:
        tasks = self.cluster.steps * (2 if self.cluster.timed else 1)
        self._actor_s = max(self._actor_s, self.now) + ACTOR_S * tasks
        self._at(self._actor_s, lambda: self._chain(0))

    def _chain(self, index: int) -> None:
        def ended() -> None:
            if index + 1 < self.cluster.steps:
                self._chain(index + 1)
            elif self.cluster.timed:
                self._wait_for_turn()
            else:
                self._next_trial()
            self._look()

        self._steps += 1
        self._submit(False, ended)

    def _wait_for_turn(self) -> None:
        self._turn.append(self.now)
        self._at(self.now + PATIENCE_S, self._look)

    def _look(self) -> None:
        """Let all trials that wait time their models, if they are enough or one has waited for long."""
        enough = len(self._turn) >= min(TOGETHER, self._steps)
        if self._turn and (enough or self.now >= self._turn[0] + PATIENCE_S):
            trials, self._turn = len(self._turn), []
            for _ in range(trials):
                self._time_models([self.cluster.steps])

    def _time_models(self, left: list[int]) -> None:
        def ended() -> None:
            left[0] -= 1
            if not left[0]:
                self._next_trial()

        for _ in range(left[0]):
            self._submit(True, ended)

    def _submit(self, timing: bool, then: Callable[[], None]) -> None:
        (self._untimed if timing and self._timers else self._queue).append((timing, then))
        self._place()

    def _place(self) -> None:
        self._give(self._queue, self._nodes)
        self._give(self._untimed, self._timers)

    def _give(self, queue: deque[tuple[bool, Callable[[], None]]], nodes: list[_Node]) -> None:
        """Give waiting tasks to the nodes with most free CPUs."""
        while queue:
            node = max(nodes, key=lambda one: one.free)
            if not node.free:
                return
            timing, then = queue.popleft()
            node.free -= 1
            took_s = TIMING_S if timing else self.cluster.step_s * self._random.lognormvariate(0, SPREAD)
            node.waiting.append(_Task(timing, took_s, then))
            self._at(self.now + START_S, lambda node=node: self._gate(node))  # type: ignore[misc]

    def _gate(self, node: _Node) -> None:
        """Let in who may: timings first and one at a time, else makers beside each other."""
        timings = [task for task in node.waiting if task.timing]
        if node.timing or (timings and node.working):
            return
        for task in timings[:1] or list(node.waiting):
            node.waiting.remove(task)
            node.timing, node.working = task.timing, node.working + (not task.timing)
            self._at(self.now + task.took_s, lambda task=task: self._done(node, task))  # type: ignore[misc]

    def _done(self, node: _Node, task: _Task) -> None:
        node.free += 1
        node.timing, node.working = False, node.working - (not task.timing)
        self._steps -= not task.timing
        self._gate(node)
        task.then()
        self._place()


def _say(name: str, cluster: Cluster) -> None:
    took_s = Simulation(cluster).run()
    work_s = cluster.trials * cluster.steps * cluster.step_s * MEAN
    share = work_s / (took_s * cluster.nodes * cluster.cpus)
    sys.stdout.write(
        f"{cluster.nodes:4} nodes x {cluster.cpus} CPUs, steps of {cluster.step_s:g} s, {name}, {cluster.width} trials "
        f"at work: {took_s:.0f} s, {share:.0%} of the CPUs' time makes models\n"
    )
    sys.stdout.flush()


def _main() -> None:
    for step_s in (1.0, 10.0, 100.0):
        for nodes in (1, 10, 100):
            trials = 100 * nodes
            for width in (64, 320, 2 * 8 * nodes + 2):
                _say("not timed", Cluster(nodes, 8, width, trials, 3, step_s, timed=False))
            _say("timed anywhere", Cluster(nodes, 8, 2 * 8 * nodes + 2, trials, 3, step_s))
            # So many that timing keeps up with making.
            own = round(nodes * TIMING_S / (TIMING_S + step_s * MEAN / 8)) or 1
            if own < nodes:
                _say(f"{own} nodes for timing", Cluster(nodes, 8, 2 * 8 * nodes + 2, trials, 3, step_s, timers=own))


if __name__ == "__main__":
    _main()
