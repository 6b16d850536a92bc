"""What a command takes from start to end over ten thousand models, beside what any of this sort takes.

`pytest -m benchmark -s tests/benchmarks/test_command_line.py`. Each is a process of its own; they take turns, so that
other work on the machine disturbs all alike. The store is as an importer leaves it, or as studies and a compaction do.
"""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Final
from unittest import mock

import pytest

from cc_ray import compare
from cc_ray.store.compaction import compact
from cc_ray.views import open_views
from tests.benchmarks.make_lineage import make_lineage

MODELS: Final = 10_000
ROUNDS: Final = 7
IMPORTS: Final = "import duckdb, pyarrow"


@pytest.mark.benchmark
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("batch", [1_000, 1])
def test_commands_over_ten_thousand_models(tmp_path: Path, batch: int) -> None:
    # Most of the time otherwise; a power cut would only end the benchmark.
    with mock.patch.object(os, "fsync", lambda handle: None):
        store = make_lineage(tmp_path / "store", models=MODELS, batch=batch)
        compact(store)
    last = compare.models(open_views(store.root))["model_id"][-1].as_py()
    command = [sys.executable, "-m", "cc_ray.cli"]
    asked = {
        IMPORTS: [sys.executable, "-c", IMPORTS],
        "cc-ray --help": [*command, "--help"],
        "cc-ray models": [*command, "models", "--store", str(store.root)],
        "cc-ray show MODEL": [*command, "show", last, "--store", str(store.root)],
        "cc-ray sql": [*command, "sql", "SELECT count(*) FROM models", "--store", str(store.root)],
    }

    rounds = [{name: _seconds(arguments) for name, arguments in asked.items()} for _ in range(ROUNDS)]

    sys.stdout.write(f"\n{MODELS:,} models, {batch:,} to a batch\n")
    best = {name: tuple(min(each[name][which] for each in rounds) for which in (0, 1)) for name in asked}
    for name, (clock, worked) in best.items():
        ratio = worked / best[IMPORTS][1]
        sys.stdout.write(
            f"{name:24} {clock:6.3f} s on the clock {worked:6.3f} s worked  {ratio:4.1f} times the imports\n"
        )


def _seconds(arguments: list[str]) -> tuple[float, float]:
    """Time on the clock, and time that the process worked."""
    clock, worked = time.perf_counter(), _worked()
    # As installed programs do, it keeps what Python compiles.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(arguments, stdout=subprocess.DEVNULL, check=True, env=environment)
    return time.perf_counter() - clock, _worked() - worked


def _worked() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
