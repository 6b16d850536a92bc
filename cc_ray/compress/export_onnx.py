"""Export the model to ONNX: from here on onnxruntime answers, and its outputs are compared with the parent's.

The program is the whole of a pass, from a batch of instances to the outputs that the task reads. It is the last step of
a recipe. What is measured of it (answers, size, latency beside the base model) is measured of the program. In `int8` it
multiplies integers, with scales found on the calibration split, and keeps them integers between layers.

Source: ONNX, Open Neural Network Exchange, https://onnx.ai/onnx/; run by https://onnxruntime.ai
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from cc_ray.compress.base import Context, Family, Finding, Operation, Representation, operation
from cc_ray.compress.onnx_int8 import counted, in_integers
from cc_ray.errors import NotApplicableError
from cc_ray.store.exported import INPUT, OnnxProgram
from cc_ray.tasks import Split, Task

TOLERANCE: Final = 1e-3
"""Largest difference of outputs that another order of arithmetic explains, as a share of the largest output."""
INSTANCES: Final = 256
LARGEST: Final = 2**31 - 1
"""Bytes that a protobuf message can have."""


@operation("export_onnx")
class ExportOnnx(Operation):
    """Makes an ONNX program of the model and runs it with onnxruntime on the CPU."""

    family: ClassVar[Family | None] = "export"
    works_on: ClassVar[str] = "any model that torch can export"
    reads: ClassVar[tuple[Split, ...]] = ("calibration",)
    accepts: ClassVar[frozenset[Representation]] = frozenset({"float", "simulated"})
    gives: ClassVar[Representation | None] = "exported"
    reshapes: ClassVar[bool] = True
    realised_on: ClassVar[frozenset[str]] = frozenset({"cpu"})
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"precision": "int8", "instances": 16})

    precision: Literal["float32", "int8"] = "float32"
    """What convolutions and matrix products multiply."""
    instances: Annotated[int, Field(ge=2, le=65_536)] = INSTANCES
    """Calibration instances on which outputs are compared, and ranges are found."""

    def suit(self, model: nn.Module) -> None:
        """Make sure that what exports and runs is installed."""
        try:
            import onnx  # noqa: F401
            import onnxruntime  # noqa: F401
            import onnxscript  # noqa: F401
        except ImportError as error:
            raise NotApplicableError(
                self.name, f"{error.name} is not installed; pip install 'cc-ray[export]' brings it."
            ) from error

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Export, run, and compare outputs over calibration instances."""
        inputs = context.task.data("calibration").inputs[: self.instances]
        with torch.no_grad():
            before = context.task.logits(model, inputs)
        program = onnx_program(self.name, context.task, model, inputs)
        if self.precision == "int8":
            with _quiet():
                program = in_integers(program, inputs)
            context.findings.append(self._products(program))
        exported = OnnxProgram(program)
        context.findings.append(compared(before, exported(inputs), exact=self.precision == "float32"))
        return exported

    def _products(self, program: bytes) -> Finding:
        found, total = counted(program)
        if not found:
            raise NotApplicableError(self.name, "it has no convolution and no matrix product that integers could do.")
        return Finding(
            "products_in_integers",
            "info" if found == total else "warning",
            f"{found} of {total} convolutions and matrix products are of 8-bit integers.",
            expected=float(total),
            found=float(found),
        )


def onnx_program(name: str, task: Task, model: nn.Module, inputs: Tensor) -> bytes:
    """The bytes of an ONNX file that answers as `task.logits(model, ...)` does, for any number of instances.

    Args:
        name: Of the operation, for its errors.
        task: Knows how the model is called.
        model: In evaluation mode, on the CPU; left as it is.
        inputs: Two instances at least, (n, ...).

    Raises:
        NotApplicableError: If it cannot be exported; says why.
    """
    answering = Answering(task, copy.deepcopy(model)).eval()
    try:
        with warnings.catch_warnings(), _quiet():
            warnings.simplefilter("ignore")
            made = torch.onnx.export(
                answering,
                (inputs[:2],),
                input_names=[INPUT],
                output_names=["outputs"],
                dynamic_shapes=free_batch(),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # the exporter raises whatever its parts do
        said = " ".join(str(error.__cause__ or error).split())[:300]
        raise NotApplicableError(name, f"torch cannot export it to ONNX ({type(error).__name__}: {said}).") from error
    assert made is not None
    proto: Any = made.model_proto
    if proto.ByteSize() > LARGEST:
        raise NotApplicableError(
            name, f"an ONNX file holds {LARGEST:,} bytes, and the model takes {proto.ByteSize():,}."
        )
    _without_notes(proto)
    return bytes(proto.SerializeToString(deterministic=True))


def compared(before: Tensor, after: Tensor, *, exact: bool = True) -> Finding:
    """How far the outputs of a program are from those of the model that it was made from.

    Args:
        before: The model's, (n, ...).
        after: The program's, of the same shape.
        exact: Whether it does the same arithmetic, so that a larger difference is a fault.
    """
    difference, largest = float((after - before).abs().max()), float(before.abs().max())
    agreed = float((after.argmax(-1) == before.argmax(-1)).double().mean())
    allowed = TOLERANCE * largest
    alike = not exact or difference <= allowed
    judged = (
        f"{'within' if alike else 'beyond'} the {allowed:.2g} that another order of the same arithmetic explains"
        if exact
        else f"{difference / largest if largest else 0:.2%} of the largest output, since it rounds"
    )
    return Finding(
        "outputs_compared",
        "info" if alike else "error",
        f"outputs of the program and of the model differ by {difference:.2g} at most over {len(before)} calibration "
        f"instances, {judged}; the largest output is the same in {agreed:.2%}.",
        expected=allowed if exact else None,
        found=difference,
    )


class Answering(nn.Module):
    """A model as its task calls it, to be exported whole."""

    def __init__(self, task: Task, model: nn.Module) -> None:
        super().__init__()
        self.task, self.model = task, model

    def forward(self, inputs: Tensor) -> Tensor:
        """What the task reads, (n, ...), of a batch of instances."""
        return self.task.logits(self.model, inputs)


def free_batch() -> Any:
    """That a program takes any number of instances."""
    return ({0: torch.export.Dim("instances", min=1, max=65_536)},)


class _quiet:
    """The exporter's warnings are no news: what goes wrong is raised."""

    def __enter__(self) -> None:
        self._before = logging.root.manager.disable
        logging.disable(logging.WARNING)

    def __exit__(self, *error: object) -> None:
        logging.disable(self._before)


def _without_notes(proto: Any) -> None:
    """Take out where in whose files each operator came from: the same model gives the same bytes everywhere."""
    graphs = [proto.graph, *proto.functions]
    for held in (proto, *graphs):
        del held.metadata_props[:]
    for graph in graphs:
        for part in (*graph.node, *getattr(graph, "value_info", ()), *getattr(graph, "initializer", ())):
            part.doc_string = ""
            del part.metadata_props[:]
