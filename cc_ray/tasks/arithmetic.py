"""Arithmetic of a forward pass: multiply-adds, counted where they are called.

Counting at torch's functions, not at modules or kernels, sees the real shapes of pruned layers and counts a quantized
layer like the one it was made from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from cc_ray.tasks.base import Task


def count_multiply_adds(task: Task, model: nn.Module, inputs: Tensor) -> int:
    """Multiply-adds of one forward pass; of an exported program none are seen.

    Args:
        task: Knows how the model is called.
        model: In evaluation mode; where the inputs are.
        inputs: (n, ...).
    """
    with torch.no_grad(), Counter() as counter:
        task.logits(model, inputs)
    total: int = counter.total
    return total


class Counter(TorchFunctionMode):
    """Counts the multiply-adds of everything that runs inside the `with`."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        outputs = func(*args, **(kwargs or {}))
        if func in _COUNTS:
            self.total += _COUNTS[func](outputs, *args, **(kwargs or {}))
        return outputs


def _linear(outputs: Tensor, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> int:
    return outputs.numel() * weight.shape[-1]


def _convolution(outputs: Tensor, input: Tensor, weight: Tensor, *rest: Any, **more: Any) -> int:
    # (channels out, channels in / groups, kernel...): what one output is summed over.
    return outputs.numel() * math.prod(weight.shape[1:])


def _transposed_convolution(outputs: Tensor, input: Tensor, weight: Tensor, *rest: Any, **more: Any) -> int:
    # (channels in, channels out / groups, kernel...): what one input is spread over.
    return input.numel() * math.prod(weight.shape[1:])


def _product(outputs: Tensor, left: Tensor, *rest: Any, **more: Any) -> int:
    return outputs.numel() * left.shape[-1]


def _added_product(outputs: Tensor, added: Tensor, left: Tensor, *rest: Any, **more: Any) -> int:
    return outputs.numel() * left.shape[-1]


def _attention(outputs: Tensor, query: Tensor, key: Tensor, value: Tensor, *rest: Any, **more: Any) -> int:
    scores = query.shape[:-1].numel() * key.shape[-2]
    return scores * (query.shape[-1] + value.shape[-1])


def _multi_head(outputs: Any, query: Tensor, key: Tensor, value: Tensor, width: int, *rest: Any, **more: Any) -> int:
    # Tokens come first, (tokens, n, width): four projections, then scores and weighted sums.
    projected = (2 * query.numel() + key.numel() + value.numel()) * width
    return projected + 2 * query.numel() * key.shape[0]


_COUNTS: Final[dict[Any, Callable[..., int]]] = {
    functional.linear: _linear,
    **dict.fromkeys((functional.conv1d, functional.conv2d, functional.conv3d), _convolution),
    **dict.fromkeys(
        (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d), _transposed_convolution
    ),
    **dict.fromkeys((torch.matmul, Tensor.matmul, Tensor.__matmul__), _product),
    **dict.fromkeys((torch.mm, Tensor.mm, torch.bmm, Tensor.bmm), _product),
    **dict.fromkeys((torch.addmm, torch.baddbmm), _added_product),
    functional.multi_head_attention_forward: _multi_head,
    functional.scaled_dot_product_attention: _attention,
}
"""What a call of each function costs, given its result and its arguments."""
