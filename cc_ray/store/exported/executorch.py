"""Programs of ExecuTorch, run by its own runtime on the CPU, which does not verify what it reads."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from cc_ray.errors import StoreError
from cc_ray.store.exported.base import Answer, Exported
from cc_ray.store.weights import ExportKind


class ExecutorchProgram(Exported):
    """An ExecuTorch program of one instance, which answers a batch one instance after the other."""

    kind: ClassVar[ExportKind] = "executorch"
    may_hold_code: ClassVar[bool] = True

    @staticmethod
    def _start(program: bytes, threads: int) -> Answer:
        try:
            with warnings.catch_warnings():
                # It calls itself and torch in ways that both warn of.
                warnings.simplefilter("ignore")
                from executorch.runtime import Runtime
        except ImportError as error:
            raise StoreError(
                "this model is an ExecuTorch program; pip install 'cc-ray[executorch]' brings what runs it."
            ) from error
        try:
            loaded: Any = Runtime.get().load_program(program)
            return _Running(program, loaded, loaded.load_method("forward"))
        except Exception as error:  # the runtime's own errors have no common class below Exception
            raise StoreError(f"the exported program cannot be read: {' '.join(str(error).split())[:300]}.") from error


@dataclass(frozen=True)
class _Running:
    """A method with what it reads from, of which nothing may go before it does."""

    content: bytes
    program: Any
    method: Any

    def __call__(self, inputs: Tensor) -> Tensor:
        # Its outputs lie in memory that the next instance takes.
        answers = [self.method.execute([one.contiguous()])[0].clone() for one in inputs.tensor_split(len(inputs))]
        return torch.cat(answers)
