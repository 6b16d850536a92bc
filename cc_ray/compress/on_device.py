"""Models as ExecuTorch programs, which run on phones and microcontrollers without Python or torch.

A program answers one instance at a time, with memory that was laid out when it was written. What XNNPACK has kernels
for is handed to it; the rest runs by ExecuTorch's own.

Source: ExecuTorch, `to_edge_transform_and_lower`, https://github.com/pytorch/executorch
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from cc_ray.errors import CcRayError


def on_device(model: nn.Module, inputs: Tensor) -> bytes:
    """The program of a model.

    Args:
        model: In evaluation mode; called with a batch of instances.
        inputs: At least one instance, (n, ...).

    Raises:
        CcRayError: If ExecuTorch is not installed.
        Exception: Whatever the exporter's parts raise where they refuse a model.
    """
    with _its_ways():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        exported = torch.export.export(model, (inputs[:1],))
        lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
        return bytes(lowered.to_executorch().buffer)


@contextmanager
def _its_ways() -> Iterator[None]:
    """ExecuTorch may be missing, and calls itself and torch in ways that both warn of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except ImportError as error:
            raise CcRayError("ExecuTorch is not installed; pip install 'cc-ray[executorch]' brings it.") from error
