"""ONNX programs, run by onnxruntime on the CPU.

No code is in them: ONNX is a list of known operators with their tensors.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from cc_ray.errors import StoreError
from cc_ray.store.exported.base import Answer, Exported
from cc_ray.store.weights import ExportKind

INPUT: Final = "inputs"
"""Name of the program's one input: a batch of instances, as the task gives them."""


class OnnxProgram(Exported):
    """An ONNX program."""

    kind: ClassVar[ExportKind] = "onnx"
    may_hold_code: ClassVar[bool] = False

    @staticmethod
    def _start(program: bytes, threads: int) -> Answer:
        session = _session(program, threads)

        def answer(inputs: Tensor) -> Tensor:
            (outputs,) = session.run(None, {INPUT: inputs.numpy()})
            return torch.from_numpy(outputs)

        return answer


def _session(program: bytes, threads: int) -> Any:
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise StoreError("this model is an ONNX program; pip install 'cc-ray[export]' brings what runs it.") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    try:
        outside = _reads_files(onnx.load_model_from_string(program))
    except Exception as error:  # protobuf's own errors have no common class below Exception
        raise StoreError(f"the exported program cannot be read: {' '.join(str(error).split())[:300]}.") from error
    if outside:
        raise StoreError("the exported program wants to read other files of this machine: it is not run.")
    try:
        return onnxruntime.InferenceSession(program, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own errors have no common class below Exception
        raise StoreError(
            f"onnxruntime cannot run the exported program: {' '.join(str(error).split())[:300]}."
        ) from error


def _reads_files(message: Any) -> bool:
    """Whether a tensor anywhere in the program lies in a file beside it."""
    if message.DESCRIPTOR.name == "TensorProto":
        return bool(message.external_data) or message.data_location != 0
    held = [value for field, value in message.ListFields() if field.message_type is not None]
    return any(_reads_files(each) for value in held for each in ([value] if hasattr(value, "DESCRIPTOR") else value))
