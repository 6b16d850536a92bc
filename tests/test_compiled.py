import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cc_ray.compiled import compiled

Doubles = NDArray[np.float64]


@compiled
def total(values: Doubles) -> float:
    found = 0.0
    for place in range(values.size):
        found += values[place]
    return found


def test_threads_may_be_the_first_to_call_a_loop_all_at_once() -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(total, [np.full(1000, float(level)) for level in range(8)]))

    assert found == [1000.0 * level for level in range(8)]


def test_a_loop_works_where_nothing_can_be_kept() -> None:
    names: dict[str, Any] = {}
    exec("def twice(value): return 2 * value", names)

    assert compiled(names["twice"])(21) == 42


def test_the_compiler_is_loaded_when_a_loop_is_called_and_not_before() -> None:
    code = "import cc_ray.compare.layers.weight_changes, sys; print('numba' in sys.modules)"

    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent
    )

    assert found.stdout.strip() == "False"
