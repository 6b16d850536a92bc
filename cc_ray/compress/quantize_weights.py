"""Hold the weights of linear layers as 8-bit integers with a scale per output channel; arithmetic stays float.

Source: torchao, `Int8WeightOnlyConfig`, https://github.com/pytorch/ao
"""

from __future__ import annotations

from typing import Any, ClassVar

from cc_ray.compress.base import operation
from cc_ray.compress.int8 import TorchaoInt8


@operation("quantize_weights")
class QuantizeWeights(TorchaoInt8):
    """Makes the model smaller; it runs no faster."""

    works_on: ClassVar[str] = "linear layers"

    def config(self) -> Any:
        """Symmetric int8 by rows."""
        from torchao.quantization import Int8WeightOnlyConfig

        return Int8WeightOnlyConfig(set_inductor_config=False)
