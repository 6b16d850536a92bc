"""Images of classes: models and data that the user names.

Base models are made by a function (`bases.FromFactory`) or are image models of the library transformers
(`bases.FromTransformers`); images come from folders, Parquet, npz or the Hugging Face hub (`sources`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, model_validator
from torch import Generator, Tensor, nn

from cc_ray.errors import InvalidRecipeError
from cc_ray.recipe import canonical_json
from cc_ray.schema import INSTANCES
from cc_ray.tasks.base import Data, Split, task
from cc_ray.tasks.bases import Base, BaseName, FromFactory, FromTransformers, Training
from cc_ray.tasks.sourced import Sourced
from cc_ray.tasks.sources import Cut, Rows, Sources, class_labels, contents, members
from cc_ray.tasks.sources.images import Colours, Fit, Pixels, pixels, png
from cc_ray.tasks.training import Augment

Channels = tuple[Annotated[float, Field(gt=0)], ...]
"""A number for each channel."""


@task("image_classification")
class ImageClassification(Sourced):
    """Which class an image shows."""

    models: Annotated[Mapping[BaseName, FromFactory | FromTransformers], Field(min_length=1)]
    """The base models, by the names that recipes call them."""
    image: str = "image"
    """Column or array of the images."""
    label: str = "label"
    """Column of the true classes."""
    classes: tuple[str, ...] = ()
    """Names of the classes in the order of the models' outputs; if left out, what the data says (`class_labels`)."""
    colours: Colours = "RGB"
    """What images are brought to: three channels, or one of grey."""
    size: tuple[PositiveInt, PositiveInt] | None = None
    """Height and width that images are brought to; None leaves them as they are."""
    fit: Fit = "crop"
    """How images of other proportions come to the size."""
    mean: tuple[float, ...] = (0.0,)
    """Taken off each channel of the pixels in [0, 1]; one number is for all channels."""
    std: Channels = (1.0,)
    """What is left is divided by it."""
    flipped: bool = False
    """Whether base models that are trained see half of the images mirrored."""
    shifted: Annotated[int, Field(ge=0)] = 0
    """By how many pixels at most they see them moved each way; what comes in at the edge is 0."""

    @model_validator(mode="after")
    def _has_a_number_for_each_channel(self) -> Self:
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, channels := 3 if self.colours == "RGB" else 1):
                raise ValueError(f"{name} has {len(getattr(self, name))} numbers; allowed: 1 or {channels}")
        return self

    @classmethod
    def example(cls, folder: Path) -> Self:
        """Light and dark noise of 8 x 8 pixels, and a residual network of three blocks that is trained."""
        generator = np.random.default_rng(0)
        labels = np.arange(80) % 2
        images = generator.integers(0, 128, (80, 1, 8, 8)) + 127 * labels[:, None, None, None]
        np.savez(folder / "noise.npz", image=images.astype(np.uint8), label=labels)
        network = FromFactory(
            factory="cc_ray.tasks.architectures.resnet_cifar:ResNet",
            arguments={"blocks": 1, "classes": 2, "channels": 4, "image_channels": 1},
            training=Training(epochs=4, learning_rate=0.02, batch_size=16),
        )
        sources = Sources(train=str(folder / "noise.npz"))
        return cls(models={"resnet": network}, sources=sources, classes=("dark", "light"), colours="L")

    @property
    def class_names(self) -> tuple[str, ...]:
        """`classes`, or what the data says."""
        return self.classes or self._held.class_names

    def data(self, split: Split) -> Data:
        """Images of one split, (n, channels, height, width), normalised, in order of identity.

        Shared by the whole process: not to be changed.
        """
        return self._held.split(split)

    def instances(self) -> pa.Table:
        """The evaluation images as PNG, with a slice for each class besides those asked for."""
        return self._held.instances

    @property
    def _held(self) -> _Held:
        return _held(canonical_json(self.to_json()["parameters"]))

    @property
    def augment(self) -> Augment | None:
        """Mirrors and moves images, as the fields say."""
        return self._changed if self.flipped or self.shifted else None

    def given(self, base: Base) -> dict[str, Any]:
        """The number of classes for a model of transformers; a function of the user's has arguments of its own."""
        return {"classes": len(self.class_names)} if isinstance(base, FromTransformers) else {}

    def _changed(self, inputs: Tensor, generator: Generator) -> Tensor:
        if self.flipped:
            mirrored = torch.rand(len(inputs), generator=generator) < 0.5
            inputs = torch.where(mirrored[:, None, None, None], inputs.flip(3), inputs)
        return moved(inputs, self.shifted, generator) if self.shifted else inputs


def moved(inputs: Tensor, most: int, generator: Generator) -> Tensor:
    """Move each image, (n, channels, h, w), by up to `most` pixels each way; what comes in at the edge is 0."""
    count, _, height, width = inputs.shape
    padded = nn.functional.pad(inputs, (most, most, most, most))
    down, right = torch.randint(0, 2 * most + 1, (2, count, 1), generator=generator)
    rows = (down + torch.arange(height))[:, :, None]
    columns = (right + torch.arange(width))[:, None, :]
    return padded[torch.arange(count)[:, None, None], :, rows, columns].permute(0, 3, 1, 2)


@dataclass(frozen=True)
class _Held:
    """The data of a task, read once by a process."""

    task: ImageClassification
    pixels: Pixels
    columns: pa.Table
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    cut: Cut
    splits: dict[Split, Data]

    def split(self, split: Split) -> Data:
        if split not in self.splits:
            places = self.cut.places(split)
            mean, std = (torch.tensor(values)[:, None, None] for values in (self.task.mean, self.task.std))
            inputs = torch.from_numpy(self.pixels[places]).float().div_(255).sub_(mean).div_(std)
            self.splits[split] = Data(inputs, torch.from_numpy(self.labels[places]), torch.from_numpy(places))
        return self.splits[split]

    @cached_property
    def instances(self) -> pa.Table:
        places = self.cut.places("evaluation")
        names = [self.class_names[label] for label in self.labels[places]]
        columns = {
            "task_id": [self.task.task_id] * len(places),
            "instance": places,
            "label": self.labels[places],
            "label_name": names,
            "slices": members(self.task.slices, self.columns.take(places), names),
            "payload": [png(self.pixels[place]) for place in places],
            "payload_type": ["image/png"] * len(places),
        }
        types = INSTANCES.schema
        return pa.table({name: columns.get(name, pa.nulls(len(places))) for name in types.names}).cast(types)


@lru_cache(maxsize=2)
def _held(parameters: str) -> _Held:
    task = ImageClassification.model_validate_json(parameters)
    parts = task.sources.read()
    images = [pixels(part, task.image, task.colours, task.size, task.fit) for part in parts]
    if len({image.shape[1:] for image in images}) > 1:
        shapes = ", ".join(f"{image.shape[2]} x {image.shape[3]}" for image in images)
        raise InvalidRecipeError(
            f"the sources have images of different sizes, {shapes}: say with `size` what all become."
        )
    joined = Rows.joined([part.without(task.image) for part in parts])
    labels, names = class_labels(joined, task.label, task.classes)
    every = np.concatenate(images)
    cut = task.sources.cut([len(part) for part in parts], contents(image.tobytes() for image in every))
    return _Held(task, every, joined.columns, labels, names, cut, {})
