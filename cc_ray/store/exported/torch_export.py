"""Programs of `torch.export`, run by torch without the model's code.

What is in the archive is not only tensors and known operators: some parts are pickled, and expressions of shapes are
evaluated as text.
"""

from __future__ import annotations

import io
from typing import ClassVar

import torch
from torch import Tensor

from cc_ray.errors import StoreError
from cc_ray.store.exported.base import Answer, Exported
from cc_ray.store.weights import ExportKind


class TorchProgram(Exported):
    """A `torch.export` program."""

    kind: ClassVar[ExportKind] = "torch_export"
    may_hold_code: ClassVar[bool] = True

    @staticmethod
    def _start(program: bytes, threads: int) -> Answer:
        try:
            module = torch.export.load(io.BytesIO(program)).module()
        except Exception as error:  # torch raises whatever its parts do
            raise StoreError(f"the exported program cannot be read: {' '.join(str(error).split())[:300]}.") from error

        def answer(inputs: Tensor) -> Tensor:
            outputs: Tensor = module(inputs)
            return outputs

        return answer
