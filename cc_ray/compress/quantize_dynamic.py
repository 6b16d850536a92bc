"""Hold the weights of linear layers as 8-bit integers and quantize activations row by row while the model runs.

Source: torchao, `Int8DynamicActivationInt8WeightConfig`, https://github.com/pytorch/ao
"""

from __future__ import annotations

from typing import Any, ClassVar

from cc_ray.compress.base import operation
from cc_ray.compress.int8 import TorchaoInt8


@operation("quantize_dynamic")
class QuantizeDynamic(TorchaoInt8):
    """Makes the model smaller, and large linear layers faster through integer arithmetic."""

    works_on: ClassVar[str] = "linear layers"

    def config(self) -> Any:
        """Symmetric int8 by rows for weights and activations."""
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig

        return Int8DynamicActivationInt8WeightConfig(set_inductor_config=False)
