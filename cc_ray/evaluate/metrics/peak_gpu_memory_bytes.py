"""Peak memory on a GPU: weights and everything that one forward pass holds there at once, kernels included.

As torch's allocator counts it, on the device that the value names; `peak_memory_bytes` is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterable

from cc_ray.evaluate.gpu_memory import GpuMemory
from cc_ray.evaluate.metrics.base import MetricDefinition, Value, metric


@metric(
    "peak_gpu_memory_bytes",
    GpuMemory,
    MetricDefinition(
        label="Peak GPU memory",
        meaning=(
            "Bytes of the GPU's memory that a model takes at most while it answers one instance: weights, results, and "
            "what kernels need for themselves; only where its timing held a GPU."
        ),
        direction="lower",
        format="bytes",
        unit="bytes",
    ),
)
def peak_gpu_memory_bytes(memory: GpuMemory) -> Iterable[Value]:
    """Weights, input and live allocations, at their largest."""
    yield Value(float(memory.peak_bytes), device=memory.device)
