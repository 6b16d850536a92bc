"""Numbers: the answer is one number, as in regression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from cc_ray.evaluate.answers.base import Answers, Floats, answers, on_cpu
from cc_ray.tasks import Data, Task


@answers("numbers")
@dataclass(frozen=True)
class Numbers(Answers):
    """Predicted numbers. A task of this kind has float labels (n,), and `logits` of one value an instance."""

    targets: Floats
    """The true number, (n,)."""
    values: Floats
    """The predicted number, (n,), in the same unit."""

    @classmethod
    def ask(cls, task: Task, model: nn.Module, batch: Data, others: Mapping[str, nn.Module]) -> Self:
        """Ask for the numbers."""
        values = on_cpu(task.logits(model, batch.inputs)).reshape(len(batch))
        return cls(batch.instances.numpy(), batch.labels.double().numpy(), values.astype("float64"))

    @property
    def outputs(self) -> Tensor:
        """The predicted numbers."""
        return torch.from_numpy(self.values)

    @property
    def errors(self) -> Floats:
        """Predicted less true number, (n,)."""
        return self.values - self.targets

    def columns(self) -> dict[str, Any]:
        """The true and the predicted number."""
        return {"target": self.targets, "value": self.values}
