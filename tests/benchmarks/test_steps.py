"""What handing out a step costs where the step does nothing: `pytest -m benchmark -s tests/benchmarks/test_steps.py`.

The work of steps is replaced on the workers by the publishing of a model row and two metrics, so that thousands of
them take minutes; everything else is as always: Tune, coordinators, the steps' actor, tasks, the store.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import ray

from cc_ray.recipe import Recipe, canonical_json, identity
from cc_ray.resources import Resources
from cc_ray.search import SearchSpace, choice, recipe, step
from cc_ray.search.study import Study
from cc_ray.search.tuner import explore
from cc_ray.store import Store
from cc_ray.tasks import Task

STEPS: Final = (100, 1_000, 10_000)
AT_MOST_S: Final = {"cc-ray models": 1.0, "cc-ray show": 1.0, "run again": 10.0}


@pytest.mark.benchmark
@pytest.mark.timeout(7200)
def test_steps_that_do_nothing(tmp_path: Path) -> None:
    found = {count: _measured(tmp_path / str(count), count) for count in STEPS}

    for count, one in found.items():
        _say(f"{count} steps: driver {one['driver_ms']:.1f} ms of CPU a step, {one['wall_ms']:.0f} ms on the clock")
    marginal = {count: one["last_ms"] for count, one in found.items()}
    _say(f"a step near the end, driver: {json.dumps({k: round(v, 1) for k, v in marginal.items()})} ms")
    _say(f"slope {STEPS[0]} to {STEPS[-1]}: {marginal[STEPS[-1]] / marginal[STEPS[0]]:.2f}x")
    last = found[STEPS[-1]]
    for name, limit in AT_MOST_S.items():
        _say(f"{name}, {STEPS[-1]} models: {last[name]:.2f} s (at most {limit:g})")


def space_of(count: int) -> SearchSpace:
    """So many recipes of one step."""
    shares = [number / (count + 1) for number in range(count)]
    return SearchSpace(
        "nothing",
        "digits",
        [recipe("resnet", [step("magnitude_pruning", sparsity=choice(*shares))])],
        baselines=False,
    )


def do_nothing() -> None:
    """Runs on every worker before its first step."""
    from cc_ray import trial

    trial.run_step, trial.run_latency = _publish, _publish_latency  # type: ignore[assignment]


def _publish(
    store: Store,
    task: Task,
    recipe: Recipe,
    index: int,
    *,
    study_id: str,
    held: Resources,
    listener: object,
    turn: object,
) -> None:
    made = recipe.prefix(index)
    ids = made.model_ids(task.task_id)
    row: dict[str, Any] = {
        "model_id": ids[-1], "task_id": task.task_id, "base": made.base, "name": str(made),
        "operation": made.steps[-1].operation if index else None,
        "parameters": canonical_json(dict(made.steps[-1].parameters) if index else {}),
        "recipe": canonical_json(made.to_json()), "step_index": index, "seed": made.seed, "artifact": "0" * 64,
        "representation": "float", "study_id": study_id, "device": "cpu", "duration_s": 0.0, "data_used": [],
        "created_at": datetime.now(UTC),
    }  # fmt: skip
    edges = [{"child": ids[-1], "parent": ids[-2], "role": "parent"}] if index else []
    chance = int(identity(ids[-1]), 16)
    values = {"accuracy": chance % 1000 / 1000, "size_bytes": float(chance % 99_991)}
    metrics = [
        {"model_id": ids[-1], "metric": name, "split": "evaluation", "slice": "all", "device": "cpu", "value": value}
        for name, value in values.items()
    ]
    store.publish("step", ids[-1], {"models": [row], "lineage": edges, "metrics": metrics})


def _publish_latency(
    store: Store, task: Task, recipe: Recipe, index: int, *, study_id: str, held: Resources, turn: object
) -> None:
    store.publish("latency", recipe.prefix(index).model_ids(task.task_id)[-1], {})


def _measured(root: Path, count: int) -> dict[str, float]:
    """In a process of its own."""
    done = subprocess.run([sys.executable, "-m", __name__, str(root), str(count)], capture_output=True, text=True)
    assert not done.returncode, done.stderr
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _main(root: Path, count: int) -> None:
    store, space, ends = Store(root, create=True), space_of(count), _watch_ends()
    ray.init(
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"worker_process_setup_hook": do_nothing},
    )
    cpu, wall_s = time.process_time(), _seconds(lambda: _explore(space, store))
    cpu_s = time.process_time() - cpu
    last = ends[-max(count // 10, 50) :]
    found = {
        "driver_ms": 1000 * cpu_s / count,
        "wall_ms": 1000 * wall_s / count,
        "last_ms": 1000 * (last[-1] - last[0]) / (len(last) - 1),
        "run again": _seconds(lambda: _explore(space, store)),
    }
    ray.shutdown()
    model = store.read("models")["model_id"][0].as_py()
    for name, verb in {"cc-ray models": ["models"], "cc-ray show": ["show", model]}.items():
        found[name] = _seconds(partial(_cli, *verb, "--store", str(root)))
    sys.stdout.write(json.dumps(found))


def _explore(space: SearchSpace, store: Store) -> None:
    summary = explore(space, store)
    assert (summary.state, summary.progress.trials_failed) == ("finished", 0), summary


def _watch_ends() -> list[float]:
    """CPU time of this process at the end of each trial."""
    ends: list[float] = []
    ended = Study.ended

    def noted(self: Study, *told: Any) -> Any:
        ends.append(time.process_time())
        return ended(self, *told)

    Study.ended = noted  # type: ignore[assignment,method-assign]
    return ends


def _cli(*words: str) -> None:
    # As installed programs do, it keeps what Python compiles.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, "-m", "cc_ray.cli", *words], check=True, capture_output=True, env=environment)


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _say(text: str) -> None:
    sys.stdout.write(f"\n{text}")
    sys.stdout.flush()


if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]))
