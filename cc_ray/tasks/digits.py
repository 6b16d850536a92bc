"""Handwritten digits: small images of 0 to 9, and two small families of models that read them.

The 1,797 real images of 8 x 8 pixels come with scikit-learn and need no network. The split is fixed: it follows from
the content of each image, class by class, so equal images are always in one split. The data does not say who wrote
which digit: each split has digits of every writer.

Source: E. Alpaydin and C. Kaynak, 1998, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar, Final

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from torch import Generator, Tensor, nn

from cc_ray.errors import InvalidRecipeError
from cc_ray.schema import INSTANCES
from cc_ray.tasks.base import Data, Split, Task, task
from cc_ray.tasks.training import train

_SPLITS: Final[tuple[tuple[Split, float], ...]] = (("evaluation", 0.28), ("calibration", 0.11), ("train", 1.0))
"""Splits with the share of each class they take, in this order; the last takes what is left."""
_WHITE: Final = 16.0
"""Largest pixel value: fully inked."""
_SHOWN_PIXELS: Final = 64
"""Width and height at which an image is shown."""


@task("digits")
class Digits(Task):
    """Which of ten digits an image of 8 x 8 pixels shows."""

    bases: ClassVar[tuple[str, ...]] = ("resnet", "vit")
    class_names: ClassVar[tuple[str, ...]] = tuple("0123456789")

    def build(self, base: str) -> nn.Module:
        """Make the architecture of `resnet` or `vit` with untrained weights (those of seed 0), in evaluation mode.

        Raises:
            InvalidRecipeError: If there is no such base model.
        """
        return _build(base, seed=0)

    def train(self, base: str, seed: int) -> nn.Module:
        """Train `resnet` (on images shifted by up to one pixel) or `vit`; some seconds on one thread.

        Raises:
            InvalidRecipeError: If there is no such base model.
        """
        return train(_build(base, seed), self.data("train"), self.loss, seed=seed, **_TRAINING[base])

    def data(self, split: Split) -> Data:
        """Images of one split, (n, 1, 8, 8) in [-1, 1] where 1 is full ink, in order of identity.

        Shared by the whole process: not to be changed.
        """
        return _split(split)

    def instances(self) -> pa.Table:
        """The evaluation images as PNG, dark ink on white, enlarged without smoothing; a slice per class."""
        return _instances()

    def data_fingerprint(self) -> str:
        """SHA-256 over identities, labels and pixels of all splits."""
        return _fingerprint()


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with batch norm, and a way around them.

    Args:
        channels_in: Channels of the input.
        channels: Channels of the output.
        stride: 1, or 2 to halve height and width.
    """

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()
        self.shortcut = _shortcut(channels_in, channels, stride)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (n, channels_in, h, w) to (n, channels, h / stride, w / stride)."""
        hidden = self.relu1(self.norm1(self.conv1(inputs)))
        return self.relu2(self.norm2(self.conv2(hidden)) + self.shortcut(inputs))  # type: ignore[no-any-return]


class ResNet(nn.Module):
    """A small residual network: a stem and three stages of one block, (n, 1, 8, 8) to (n, 10).

    Source: He et al., 2016, "Deep Residual Learning for Image Recognition".
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.stages = nn.Sequential(ResidualBlock(16, 16, 1), ResidualBlock(16, 32, 2), ResidualBlock(32, 64, 2))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(64, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        """Class scores, (n, 10), of images, (n, 1, 8, 8)."""
        return self.classifier(self.flatten(self.pool(self.stages(self.stem(inputs)))))  # type: ignore[no-any-return]


def vit() -> nn.Module:
    """Make a vision transformer on patches of 2 x 2 pixels: 3 layers of width 48, (n, 1, 8, 8) to (n, 10).

    Source: Dosovitskiy et al., 2021, "An Image is Worth 16x16 Words".
    """
    # Imported here: it takes a second, and only this base model needs it.
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        image_size=8,
        patch_size=2,
        num_channels=1,
        num_labels=10,
        hidden_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=96,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        # 1 / sqrt(width): at the usual 0.02 so narrow a model hardly learns.
        initializer_range=0.14,
    )
    return ViTForImageClassification(config)  # type: ignore[no-any-return]


def shifted(inputs: Tensor, generator: Generator) -> Tensor:
    """Move each image, (n, 1, h, w), by up to one pixel each way; what comes in at the edge is blank."""
    count, _, height, width = inputs.shape
    padded = nn.functional.pad(inputs, (1, 1, 1, 1), value=-1.0)
    down, right = torch.randint(0, 3, (2, count, 1), generator=generator)
    rows = (down + torch.arange(height))[:, :, None]
    columns = (right + torch.arange(width))[:, None, :]
    return padded[torch.arange(count)[:, None, None], 0, rows, columns][:, None]


_BUILDERS: Final[dict[str, Callable[[], nn.Module]]] = {"resnet": ResNet, "vit": vit}
_TRAINING: Final[dict[str, dict[str, Any]]] = {
    "resnet": {"epochs": 12, "learning_rate": 0.01, "augment": shifted},
    "vit": {"epochs": 20, "learning_rate": 0.003},
}


def _shortcut(channels_in: int, channels: int, stride: int) -> nn.Module:
    if stride == 1 and channels_in == channels:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))


def _build(base: str, seed: int) -> nn.Module:
    if base not in _BUILDERS:
        raise InvalidRecipeError(f"task 'digits' has no base model '{base}': use {' or '.join(_BUILDERS)}.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _BUILDERS[base]().eval()


@cache
def _images() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """All images, (1797, 8, 8) in [0, 16], and their labels; the position is the identity."""
    digits = load_digits()
    return digits.images, digits.target


@cache
def _assignment() -> NDArray[np.str_]:
    """Split of each image, by the rank of its digest among the distinct images of its class."""
    images, labels = _images()
    digests = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
    # An image drawn twice under two labels stays with the first of them.
    label_of: dict[str, int] = {}
    for digest, label in zip(digests, labels, strict=True):
        label_of.setdefault(digest, int(label))
    split_of: dict[str, str] = {}
    for label in range(10):
        split_of |= _cut(sorted(digest for digest, held in label_of.items() if held == label))
    return np.array([split_of[digest] for digest in digests])


def _cut(digests: list[str]) -> dict[str, str]:
    split_of: dict[str, str] = {}
    rest = digests
    for split, share in _SPLITS:
        count = min(len(rest), round(share * len(digests)))
        split_of |= dict.fromkeys(rest[:count], split)
        rest = rest[count:]
    return split_of


@cache
def _split(split: Split) -> Data:
    images, labels = _images()
    chosen = np.flatnonzero(_assignment() == split)
    inputs = torch.from_numpy(images[chosen]).float()[:, None] / (_WHITE / 2) - 1
    return Data(inputs, torch.from_numpy(labels[chosen]).long(), torch.from_numpy(chosen))


@cache
def _instances() -> pa.Table:
    images, labels = _images()
    rows = [_row(int(instance), images[instance], int(labels[instance])) for instance in _split("evaluation").instances]
    return pa.Table.from_pylist(rows, schema=INSTANCES.schema)


def _row(instance: int, image: NDArray[np.float64], label: int) -> dict[str, Any]:
    name = Digits.class_names[label]
    return {
        "task_id": Digits().task_id,
        "instance": instance,
        "label": label,
        "label_name": name,
        "slices": [f"class:{name}"],
        "payload": _png(image),
        "payload_type": "image/png",
    }


def _png(image: NDArray[np.float64]) -> bytes:
    pixels = np.round(255 * (1 - image / _WHITE)).astype(np.uint8)
    shown = Image.fromarray(pixels).resize((_SHOWN_PIXELS, _SHOWN_PIXELS), Image.Resampling.NEAREST)
    file = io.BytesIO()
    shown.save(file, format="PNG", optimize=True)
    return file.getvalue()


@cache
def _fingerprint() -> str:
    digest = hashlib.sha256()
    for split, _ in _SPLITS:
        data = _split(split)
        for values in (data.instances, data.labels, data.inputs):
            digest.update(f"{split} {tuple(values.shape)} {values.dtype}".encode())
            digest.update(values.numpy().tobytes())
    return digest.hexdigest()
