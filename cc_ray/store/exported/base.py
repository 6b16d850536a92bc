"""What all exported models have in common, and which of them are run."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn

from cc_ray.store.weights import PROGRAM, ExportKind

RUN_PROGRAMS: Final = "CC_RAY_RUN_PROGRAMS"
"""Environment variable: with the value 1, programs that may hold code are run though they come from a store."""
_EXPORTED: Final = "_cc_ray_exported"

Answer = Callable[[Tensor], Tensor]


class Program(nn.Module):
    """What answers a task's instances by itself: whoever calls models as a task does gives it the bare batch."""


class Exported(Program):
    """A program of another runtime, run on the CPU with as many threads as torch has.

    It holds no parameters that an operation could change.

    Args:
        program: The bytes of the file.
    """

    kind: ClassVar[ExportKind]
    may_hold_code: ClassVar[bool]
    """Whether its runtime does whatever the file says, so that a file of unknown origin could do anything."""
    program: Tensor

    def __init__(self, program: bytes | Tensor) -> None:
        super().__init__()
        held = torch.frombuffer(bytearray(program), dtype=torch.uint8) if isinstance(program, bytes) else program
        self.register_buffer(PROGRAM, held)
        self._answer: Answer | None = None
        self._threads = 0

    @property
    def file(self) -> bytes:
        """The bytes of the file."""
        return self.program.cpu().numpy().tobytes()

    def forward(self, inputs: Tensor) -> Tensor:
        """What the program puts out for a batch, (n, ...), on the device of the batch.

        Raises:
            StoreError: If its runtime is not installed or cannot read the program.
        """
        if self._answer is None or self._threads != torch.get_num_threads():
            self._threads = torch.get_num_threads()
            self._answer = self._start(self.file, self._threads)
        return self._answer(inputs.detach().cpu().contiguous()).to(inputs.device)

    @staticmethod
    @abstractmethod
    def _start(program: bytes, threads: int) -> Answer:
        """What answers batches on the CPU."""

    @classmethod
    def refusal(cls) -> str | None:
        """Why a program of this kind is not run where it comes from a store; None if it is."""
        if not cls.may_hold_code or os.environ.get(RUN_PROGRAMS) == "1":
            return None
        return (
            f"a program of {cls.kind} can hold code, and is run from a store only where the environment has "
            f"{RUN_PROGRAMS}=1: whoever may write to the store may then run code here. Set it where workers run, too."
        )

    def __getstate__(self) -> dict[str, Any]:
        """Copies start the program anew: what runs it cannot be copied."""
        return self.__dict__ | {"_answer": None}


def exported_as(model: nn.Module) -> ExportKind | None:
    """The kind of file that a model was exported to; None of one that was not."""
    found: ExportKind | None = model.kind if isinstance(model, Exported) else vars(model).get(_EXPORTED)
    return found


def mark_exported(model: nn.Module, kind: ExportKind) -> nn.Module:
    """Let an ordinary module carry that it was read from a file of this kind; gives the same module."""
    setattr(model, _EXPORTED, kind)
    return model
