"""Models that were exported: files for the world outside, which answer as the model does and are not changed any more.

A file lies in the model file as one tensor of bytes, so that an exported model is saved, shared, verified and loaded
like any other. `PROGRAMS` are run by other runtimes in place of the model, one kind a file here; `safetensors` holds
the tensors of an ordinary module (`artifacts.opened`).
"""

from typing import Final

from cc_ray.store.exported.base import RUN_PROGRAMS, Exported, Program, exported_as, mark_exported
from cc_ray.store.exported.executorch import ExecutorchProgram
from cc_ray.store.exported.onnx import INPUT, OnnxProgram
from cc_ray.store.exported.torch_export import TorchProgram
from cc_ray.store.weights import ExportKind

__all__ = [
    "INPUT",
    "PROGRAMS",
    "RUN_PROGRAMS",
    "ExecutorchProgram",
    "Exported",
    "OnnxProgram",
    "Program",
    "TorchProgram",
    "exported_as",
    "mark_exported",
]

PROGRAMS: Final[dict[ExportKind, type[Exported]]] = {
    kind.kind: kind for kind in (OnnxProgram, TorchProgram, ExecutorchProgram)
}
"""What runs a program, by the kind that the model file's header names."""
