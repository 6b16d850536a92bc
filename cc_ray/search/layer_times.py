"""The times of a model's layers, kept in the store: each layer compressed alone at each level, timed on this machine.

Every layer is a batch of the store with all its levels, which were timed in turns. What is there is not timed again, so
a stopped session goes on where it was, and whoever reads the rows reads the same ones later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import pyarrow.compute as pc

from cc_ray.quiet import at_work, no_new_steps
from cc_ray.recipe import Step, identity
from cc_ray.search.sensitivity import Level, ProbePlan
from cc_ray.store import Store

if TYPE_CHECKING:
    from cc_ray.evaluate.layer_times import LayerTimes
    from cc_ray.evaluate.sensitivity import Probe
    from cc_ray.evaluate.stored_model import StoredModel

KIND: Final = "layer_times"
"""Kind of the batches."""


@dataclass(frozen=True)
class TimesSummary:
    """What a session came to."""

    device: str
    """What was timed on."""
    timed: int
    """Layers that were timed."""
    reused: int
    """Those whose times were there."""
    times_ms: dict[str, list[float]]
    """Milliseconds of one instance in the order of the levels, by layer."""
    model_ms: float
    """The layers as the model has them, one after the other."""

    def together_ms(self, place: int) -> float:
        """All layers at the level of that place, one after the other."""
        return sum(times[place] for times in self.times_ms.values())


def time_layers(plan: ProbePlan, store: Store, *, gpus: float = 0.0) -> TimesSummary:
    """Time what the store lacks, on one thread of this machine or its GPU; each layer is kept once it is timed.

    Steps and timings of studies on this machine wait meanwhile.

    Args:
        plan: What to time.
        store: Holds the model, and takes the rows.
        gpus: How much of a GPU to hold; none times on the CPU.

    Raises:
        NotApplicableError: If the operation does not apply to a layer alone.
        CcRayError: If there is no GPU to hold.
    """
    # Imported here: this is what needs torch.
    from cc_ray.evaluate.layer_times import device_said
    from cc_ray.evaluate.stored_model import StoredModel
    from cc_ray.tasks import holding

    layers: dict[str, list[Probe]] = {}
    for probe in plan.probes:
        layers.setdefault(probe.layer, []).append(probe)
    with holding(gpus):
        device = device_said()
        keys = {layer: _key(plan, probes, device) for layer, probes in layers.items()}
        lacking = {layer: probes for layer, probes in layers.items() if not store.has(KIND, keys[layer])}
        for rows in _timed(StoredModel.find(store, plan.model_id), lacking, device):
            store.publish(KIND, keys[rows[0]["layer"]], {KIND: rows})
    found = {layer: _in_order(plan, store, key) for layer, key in keys.items()}
    return TimesSummary(
        device,
        len(lacking),
        len(layers) - len(lacking),
        {layer: [row["time_ms"] for row in rows] for layer, rows in found.items()},
        sum(rows[0]["model_time_ms"] for rows in found.values()),
    )


def stored_times(store: Store, plan: ProbePlan) -> dict[str, dict[tuple[str, float | None], float]]:
    """What the store knows of the times of a model's layers: milliseconds by layer and level, by device.

    Args:
        store: Has the rows.
        plan: Says which are wanted; its layers, levels and metric do not count.

    Returns:
        The level is None for the layer as the model has it. Of what was timed several times, what came last.
    """
    table = store.read(KIND)
    wanted = {"model_id": plan.model_id, "operation": plan.operation, "parameters": plan.others}
    for name, value in {**wanted, "parameter": plan.parameter}.items():
        table = table.filter(pc.equal(table[name], value))
    found: dict[str, dict[tuple[str, float | None], float]] = {}
    for row in table.sort_by("at").to_pylist():
        times = found.setdefault(row["device"], {})
        times[row["layer"], None] = row["model_time_ms"]
        times[row["layer"], row["level"]] = row["time_ms"]
    return found


def _key(plan: ProbePlan, probes: Sequence[Probe], device: str) -> str:
    steps = [probe.step.to_json() for probe in probes]
    return identity(KIND, plan.model_id, plan.parameter, steps, device)


def _timed(stored: StoredModel, layers: dict[str, list[Probe]], device: str) -> Iterator[list[dict[str, Any]]]:
    """Rows of `schema.LAYER_TIMES`, layer by layer."""
    from cc_ray.evaluate.layer_times import layer_times

    steps: dict[str, list[Step]] = {layer: [probe.step for probe in probes] for layer, probes in layers.items()}
    with no_new_steps():
        for found in layer_times(stored, steps, lambda: at_work(alone=True)) if steps else ():
            yield [
                _row(stored, probe, found, time_ms) | {"device": device}
                for probe, time_ms in zip(layers[found.layer], found.times_ms, strict=True)
            ]


def _row(stored: StoredModel, probe: Probe, found: LayerTimes, time_ms: float) -> dict[str, Any]:
    return {
        "model_id": probe.model_id,
        "task_id": stored.row["task_id"],
        "operation": probe.step.operation,
        "parameters": probe.others,
        "layer": probe.layer,
        "parameter": probe.parameter,
        "level": probe.level,
        "time_ms": time_ms,
        "model_time_ms": found.model_ms,
        "at": datetime.now(UTC),
    }


def _in_order(plan: ProbePlan, store: Store, key: str) -> list[dict[str, Any]]:
    """Rows of one layer in the order of the plan's levels."""
    order: dict[Level | None, int] = {level: place for place, level in enumerate(plan.levels)}
    rows = store.read(KIND, keys={KIND: key}).to_pylist()
    return sorted(rows, key=lambda row: order[row["level"]])
