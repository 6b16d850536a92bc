"""What the operations share that let torchao hold linear layers as int8."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from torch import nn

from cc_ray.compress.base import Context
from cc_ray.compress.conversion import Conversion
from cc_ray.compress.targets import Target


class TorchaoInt8(Conversion):
    """Converts the targeted linear layers to torchao's int8 tensors.

    Convolutions stay float: torchao converts them, but has no kernel that runs them on a CPU afterwards.
    """

    confined: ClassVar[bool] = True
    convertible: ClassVar[str] = "a linear layer"

    @abstractmethod
    def config(self) -> Any:
        """The torchao configuration; torchao is imported here, not before."""

    def converts(self, target: Target) -> bool:
        """Linear layers; subclasses, such as a projection of MultiheadAttention, are read past their forward."""
        return type(target.module) is nn.Linear and target.attribute == "weight"

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Convert every targeted linear layer."""
        paths = {target.path for target in self.targets(model, context)}
        config = self.config()
        from torchao.quantization import quantize_

        quantize_(model, config, filter_fn=lambda module, path: path in paths)
        return model
