"""Which layers are worth factoring, where time is what counts?

Two thin layers take longer than one that is small. Here layers keep together to a share of the time that they take as
they are, each at the rank that suits it or as it is; beside them all layers get the same share of their parameters.
What layers take is read from the rows of `cc-ray layer-times`, which have to be there for the base model (`cc-ray
models` has its identity):

    cc-ray layer-times MODEL --operation low_rank --levels 0.1,0.2,0.3,0.5,0.7,0.9

Those of a GPU (`--gpu`) are read where CC_RAY_TIMES_OF is `cuda`; models are then timed on one, too.
"""

from __future__ import annotations

import os

from cc_ray.search import Resources, SearchSpace, choice, either, recipe, step, times_of
from search_spaces.mixed_precision import SHARES


def search_space(device: str | None = None) -> SearchSpace:
    """Ranks by layer within a share of the layers' time, beside uniform ones.

    Args:
        device: What layers were timed on, as in `times_of`; None for what the environment says, else the CPU.
    """
    device = device or os.environ.get("CC_RAY_TIMES_OF") or "cpu"
    allocated = step(
        "allocate",
        applied="low_rank",
        levels=SHARES,
        may_stay=True,
        unit="latency",
        budget=choice(0.85, 0.9, 0.95),
        times_ms=times_of(device),
    )
    return SearchSpace(
        name="mixed_precision_by_times",
        task="digits",
        recipes=[recipe("resnet", [either(step("low_rank", amount=choice(0.3, 0.5, 0.7)), allocated)])],
        objectives={"accuracy": "higher", "latency_p50_ms": "lower"},
        resources={"latency": Resources(gpus=1)} if device.startswith("cuda") else {},
    )
