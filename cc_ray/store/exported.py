"""Models that were exported: a program of another runtime, which answers in place of the model.

The program lies in the model file as one tensor of bytes, so that an exported model is saved, shared, verified and
loaded like any other. It holds no parameters that an operation could change. No pickled code is in it: ONNX is a list
of known operators with their tensors.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, Literal

import torch
from torch import Tensor, nn

from cc_ray.errors import StoreError

PROGRAM: Final = "program"
"""Name of the tensor that holds the program."""
INPUT: Final = "inputs"
"""Name of the program's one input: a batch of instances, as the task gives them."""


class Program(nn.Module):
    """What answers a task's instances by itself: whoever calls models as a task does gives it the bare batch."""


class Exported(Program):
    """An ONNX program, run by onnxruntime on the CPU with as many threads as torch has.

    Args:
        program: The bytes of an ONNX file.
    """

    kind: ClassVar[Literal["onnx"]] = "onnx"
    program: Tensor

    def __init__(self, program: bytes | Tensor) -> None:
        super().__init__()
        held = torch.frombuffer(bytearray(program), dtype=torch.uint8) if isinstance(program, bytes) else program
        self.register_buffer(PROGRAM, held)
        self._session: Any = None
        self._threads = 0

    def forward(self, inputs: Tensor) -> Tensor:
        """What the program puts out for a batch, (n, ...), on the device of the batch.

        Raises:
            StoreError: If onnxruntime is not installed or cannot read the program.
        """
        if self._session is None or self._threads != torch.get_num_threads():
            self._threads = torch.get_num_threads()
            self._session = _session(self.program.cpu().numpy().tobytes(), self._threads)
        (outputs,) = self._session.run(None, {INPUT: inputs.detach().cpu().contiguous().numpy()})
        return torch.from_numpy(outputs).to(inputs.device)

    def __getstate__(self) -> dict[str, Any]:
        """Copies start the program anew: what runs it cannot be copied."""
        return self.__dict__ | {"_session": None}


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
