"""Make files of a model for the world outside a store, and read them back to compare outputs with the model's.

| format | what is in the file | what runs it |
|---|---|---|
| `onnx` | a whole pass, from a batch of instances to the outputs that the task reads | onnxruntime and others |
| `torch_export` | the same as a `torch.export` program | torch, without the model's code |
| `executorch` | a pass of one instance | ExecuTorch: phones, microcontrollers |
| `safetensors` | every tensor at full length, and how the architecture was changed | the model's own code |
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from cc_ray.compress.base import Finding
from cc_ray.compress.export_onnx import INSTANCES, Answering, compared, free_batch, onnx_program
from cc_ray.compress.on_device import on_device
from cc_ray.errors import CcRayError, NotApplicableError
from cc_ray.store.artifacts import opened, plain_file
from cc_ray.store.exported import Exported
from cc_ray.store.weights import ExportKind
from cc_ray.tasks import Task

NAME: Final = "export"
"""What errors call the one who exports."""


@dataclass(frozen=True)
class Written:
    """A file that was written, and what came of reading it back."""

    path: Path
    size_bytes: int
    finding: Finding
    """How far its outputs are from the model's."""
    program: nn.Module
    """What was read back."""


def export(task: Task, base: str, model: nn.Module, path: Path, to: ExportKind) -> Written:
    """Write a model to a file.

    Args:
        task: What it solves; calibration instances are answered to compare outputs.
        base: Name of the base model that it was made from.
        model: In evaluation mode, on the CPU; left as it is.
        path: The file; must not be there.
        to: What to write.

    Raises:
        NotApplicableError: If it cannot be exported like this; says why.
        CcRayError: If the file is there already.
    """
    if path.exists():
        raise CcRayError(f"'{path}' is there already: name another file, or remove it.")
    inputs = task.data("calibration").inputs[:INSTANCES]
    path.write_bytes(exported(NAME, task, model, inputs, to))
    program = opened(to, path.read_bytes(), task.build(base), path)
    with torch.no_grad():
        finding = compared(task.logits(model, inputs), task.logits(program, inputs))
    return Written(path, path.stat().st_size, finding, program)


def exported(name: str, task: Task, model: nn.Module, inputs: Tensor, to: ExportKind) -> bytes:
    """The file of a model; the same model gives the same bytes.

    Args:
        name: Of the one who exports, for errors.
        task: Knows how the model is called.
        model: In evaluation mode, on the CPU; left as it is. A program is given back as it is.
        inputs: Two instances at least, (n, ...).
        to: What to make.

    Raises:
        NotApplicableError: If it cannot be exported like this; says why.
        CcRayError: If what exports it is not installed.
    """
    if not isinstance(model, Exported):
        return _MAKERS[to](name, task, model, inputs)
    if model.kind != to:
        raise NotApplicableError(name, f"it is a program of {model.kind}, which cannot become {to}; export its parent.")
    return model.file


def _torch_program(name: str, task: Task, model: nn.Module, inputs: Tensor) -> bytes:
    try:
        made = torch.export.export(
            # A copy: where in a larger tensor they lie would be told, too.
            Answering(task, copy.deepcopy(model)).eval(),
            (inputs[:2].clone(),),
            dynamic_shapes=free_batch(),
        )
        _without_notes(made)
        written = io.BytesIO()
        torch.export.save(made, written)
    except Exception as error:  # the exporter raises whatever its parts do
        raise _refused(name, "torch.export", error) from error
    return written.getvalue()


def _without_notes(made: torch.export.ExportedProgram) -> None:
    """Take out instances, and where in whose files operators came from: the same model gives the same bytes."""
    made.example_inputs = None
    for module in made.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)


def _on_device(name: str, task: Task, model: nn.Module, inputs: Tensor) -> bytes:
    try:
        return on_device(Answering(task, copy.deepcopy(model)).eval(), inputs)
    except CcRayError:
        raise
    except Exception as error:  # the exporter raises whatever its parts do
        raise _refused(name, "ExecuTorch", error) from error


def _refused(name: str, exporter: str, error: Exception) -> NotApplicableError:
    said = " ".join(str(error).split())[:300]
    return NotApplicableError(name, f"{exporter} refuses it ({type(error).__name__}: {said}).")


def _plain(name: str, task: Task, model: nn.Module, inputs: Tensor) -> bytes:
    return plain_file(model)


_MAKERS: Final[dict[ExportKind, Callable[[str, Task, nn.Module, Tensor], bytes]]] = {
    "onnx": onnx_program,
    "torch_export": _torch_program,
    "executorch": _on_device,
    "safetensors": _plain,
}
