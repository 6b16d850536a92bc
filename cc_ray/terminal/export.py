"""`cc-ray export`: a model of the store as a file for the world outside, its outputs compared with the model's."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from cc_ray.terminal.options import DEFAULT_STORE, Model, StorePath, open_store
from cc_ray.terminal.tables import screen

exports = typer.Typer()

DIFFERS: Final = 1
"""Exit code where the outputs differ by more than rounding; 2 is for what cannot be exported."""


class FileFormat(StrEnum):
    """What can be written."""

    onnx = "onnx"
    torch_export = "torch_export"
    executorch = "executorch"
    safetensors = "safetensors"


@exports.command()
def export(
    model: Model,
    file: Annotated[Path, typer.Argument(help="The file to write; it must not be there.")],
    to: Annotated[FileFormat, typer.Option(help="What to write.")] = FileFormat.onnx,
    store: StorePath = DEFAULT_STORE,
) -> None:
    """Write a model to a file and compare what the file answers with the model; exit code 1 if that differs."""
    from cc_ray import compare
    from cc_ray.compress.exporting import export
    from cc_ray.evaluate.latency import time_beside
    from cc_ray.evaluate.stored_model import StoredModel
    from cc_ray.store import Store
    from cc_ray.wording import format_value

    found = StoredModel.find(Store(store), compare.resolve(open_store(store), model))
    loaded = found.load()
    made = export(found.task, str(found.row["base"]), loaded, file, to.value)
    timing = time_beside(found.task, made.program, loaded)
    median, speedup = timing.percentile_ms(0.5), timing.speedup()
    screen.print(f"{file}: {format_value(made.size_bytes, 'bytes')}; {made.finding.message}", soft_wrap=True)
    if median is not None:
        screen.print(
            f"One instance takes {format_value(median.value, 'ms')} on {timing.device}, {speedup.value:.2f} times as "
            f"fast as the model in the store ({speedup.low:.2f} to {speedup.high:.2f}).",
            soft_wrap=True,
        )
    if made.finding.severity == "error":
        raise typer.Exit(DIFFERS)
