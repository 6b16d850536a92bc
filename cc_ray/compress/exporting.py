"""Write a model for the world outside a store, read it back, and compare its outputs with the model's.

| format | what is in the file | what runs it |
|---|---|---|
| `onnx` | a whole pass, from a batch of instances to the outputs that the task reads | onnxruntime and others |
| `torch_export` | the same as a `torch.export` program | torch, without the model's code |
| `executorch` | a pass of one instance | ExecuTorch: phones, microcontrollers |
| `safetensors` | every tensor at full length, and how the architecture was changed | the model's own code |
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from cc_ray.compress.base import Finding
from cc_ray.compress.export_onnx import INSTANCES, Answering, compared, free_batch, onnx_program
from cc_ray.compress.on_device import OnDevice, on_device
from cc_ray.errors import CcRayError, NotApplicableError
from cc_ray.store.artifacts import is_grid, is_quantized
from cc_ray.store.exported import Exported, Program
from cc_ray.store.structure import changes_of, fit, replay
from cc_ray.store.weights import Change
from cc_ray.tasks import Task

NAME: Final = "export"
"""What errors call the one who exports."""


@dataclass(frozen=True)
class Export:
    """A file that was written, and what came of reading it back."""

    path: Path
    size_bytes: int
    finding: Finding
    """How far its outputs are from the model's."""
    program: nn.Module
    """What was read back."""


def export(task: Task, base: str, model: nn.Module, path: Path, to: str) -> Export:
    """Write a model to a file.

    Args:
        task: What it solves; calibration instances are answered to compare outputs.
        base: Name of the base model that it was made from.
        model: In evaluation mode, on the CPU; left as it is.
        path: The file; must not be there.
        to: One of `FORMATS`.

    Raises:
        NotApplicableError: If it cannot be exported like this; says why.
        CcRayError: If the file is there already.
    """
    if path.exists():
        raise CcRayError(f"'{path}' is there already: name another file, or remove it.")
    inputs = task.data("calibration").inputs[:INSTANCES]
    write, read = FORMATS[to]
    write(task, model, path, inputs)
    program = read(task, base, path).eval()
    with torch.no_grad():
        finding = compared(task.logits(model, inputs), task.logits(program, inputs))
    return Export(path, path.stat().st_size, finding, program)


def _write_onnx(task: Task, model: nn.Module, path: Path, inputs: Tensor) -> None:
    held = bytes(model.program.numpy()) if isinstance(model, Exported) else onnx_program(NAME, task, model, inputs)
    path.write_bytes(held)


def _read_onnx(task: Task, base: str, path: Path) -> nn.Module:
    return Exported(path.read_bytes())


class _TorchProgram(Program):
    """A `torch.export` program."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._run = torch.export.load(path).module()

    def forward(self, inputs: Tensor) -> Tensor:
        """What the program puts out for a batch, (n, ...)."""
        outputs: Tensor = self._run(inputs)
        return outputs

    def eval(self) -> Self:
        """The same program: it was exported in evaluation mode, and knows no other."""
        return self


def _write_torch_export(task: Task, model: nn.Module, path: Path, inputs: Tensor) -> None:
    _not_exported(model, "torch_export")
    try:
        made = torch.export.export(
            Answering(task, copy.deepcopy(model)).eval(), (inputs[:2],), dynamic_shapes=free_batch()
        )
        torch.export.save(made, path)
    except Exception as error:  # the exporter raises whatever its parts do
        said = " ".join(str(error).split())[:300]
        raise NotApplicableError(NAME, f"torch.export refuses it ({type(error).__name__}: {said}).") from error


def _read_torch_export(task: Task, base: str, path: Path) -> nn.Module:
    return _TorchProgram(path)


def _write_executorch(task: Task, model: nn.Module, path: Path, inputs: Tensor) -> None:
    _not_exported(model, "executorch")
    try:
        path.write_bytes(on_device(Answering(task, copy.deepcopy(model)).eval(), inputs))
    except CcRayError:
        raise
    except Exception as error:  # the exporter raises whatever its parts do
        said = " ".join(str(error).split())[:300]
        raise NotApplicableError(NAME, f"ExecuTorch refuses it ({type(error).__name__}: {said}).") from error


def _read_executorch(task: Task, base: str, path: Path) -> nn.Module:
    return OnDevice(path)


def _write_safetensors(task: Task, model: nn.Module, path: Path, inputs: Tensor) -> None:
    _not_exported(model, "safetensors")
    tensors, tied = dict[str, Tensor](), dict[str, str]()
    owners = dict[int, str]()
    state = model.state_dict(keep_vars=True)
    for name, tensor in state.items():
        if is_grid(name, state):
            continue
        if owners.setdefault(id(tensor), name) != name:
            tied[name] = owners[id(tensor)]
        else:
            tensors[name] = (tensor.dequantize() if is_quantized(tensor) else tensor).detach().contiguous()
    changes = [change.model_dump(exclude_defaults=True) for change in changes_of(model)]
    groups = {path: module.groups for path, module in model.named_modules() if isinstance(module, _ConvNd)}
    told = {"tied": tied, "changes": changes, "groups": groups}
    save_file(tensors, path, {"format": "pt", **{name: json.dumps(value) for name, value in told.items()}})


def _read_safetensors(task: Task, base: str, path: Path) -> nn.Module:
    with safe_open(path, framework="pt") as file:
        told = {name: json.loads(text) for name, text in file.metadata().items() if name != "format"}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    model = task.build(base)
    replay(model, [Change.model_validate(change) for change in told["changes"]])
    parameters = {name: nn.Parameter(tensor, False) for name, tensor in tensors.items()}
    for name in model.state_dict(keep_vars=True):
        owner, _, attribute = name.rpartition(".")
        module = model.get_submodule(owner)
        held = parameters if attribute in module._parameters else tensors
        setattr(module, attribute, held[told["tied"].get(name, name)])
    for name, groups in told["groups"].items():
        setattr(model.get_submodule(name), "groups", groups)  # noqa: B010 - a module's attributes are typed as tensors
    for module in model.modules():
        fit(module)
    return model


def _not_exported(model: nn.Module, to: str) -> None:
    if isinstance(model, Exported):
        raise NotApplicableError(NAME, f"it is an {model.kind} program, which cannot become {to}; export its parent.")


Write = Callable[[Task, nn.Module, Path, Tensor], None]
Read = Callable[[Task, str, Path], nn.Module]

FORMATS: Final[dict[str, tuple[Write, Read]]] = {
    "onnx": (_write_onnx, _read_onnx),
    "torch_export": (_write_torch_export, _read_torch_export),
    "executorch": (_write_executorch, _read_executorch),
    "safetensors": (_write_safetensors, _read_safetensors),
}
"""How a file is written and read back, by name of the format."""
