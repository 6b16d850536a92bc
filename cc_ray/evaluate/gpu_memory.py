"""How much of a GPU's memory a model takes, as torch's allocator counts it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from cc_ray.tasks import Task, device_name, moved


@dataclass(frozen=True)
class GpuMemory:
    """What a model takes of the GPU's memory while it answers one instance."""

    peak_bytes: int
    device: str


def gpu_memory(task: Task, model: nn.Module) -> GpuMemory | None:
    """Measure on the step's GPU; None where it works on the CPU.

    What libraries keep for all models, such as the workspace of cuBLAS, is not counted.

    Args:
        task: Gives the instance and knows how the model is called.
        model: In evaluation mode, on the CPU.
    """
    before = torch.cuda.memory_allocated()
    with moved(model) as device, torch.no_grad():
        if device.type == "cpu":
            return None
        inputs = task.data("evaluation").inputs[:1].to(device)
        held = torch.cuda.memory_allocated() - before
        # The first pass lets libraries take what they keep.
        task.logits(model, inputs)
        kept = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        task.logits(model, inputs)
        return GpuMemory(held + torch.cuda.max_memory_allocated() - kept, device_name(device))
