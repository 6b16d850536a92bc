"""ResNet-20 and ResNet-32 on CIFAR-10: how far do pruning, rounding and repair go on networks that people know?

Data and weights are not part of CC-Ray: the environment says where they lie, or whoever calls `search_space`.

    CC_RAY_CIFAR10           a folder with files *train* and *test*: Parquet with `img` and `label` as the Hugging Face
                             hub has them, or npz with `x`, uint8 (n, 3, 32, 32), and `y`; without it the hub's are
                             fetched (hf://datasets/uoft-cs/cifar10)
    CC_RAY_RESNET_WEIGHTS    a folder with resnet20*.th and resnet32*.th of github.com/akamaster/pytorch_resnet_cifar10;
                             without it both are trained, which takes a GPU
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from cc_ray.errors import InvalidRecipeError
from cc_ray.search import RecipeSpace, SearchSpace, choice, either, optional, recipe, step

BOTH = choice("resnet20", "resnet32")
REPAIR = step("fine_tune", epochs=5, learning_rate=0.001)
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TRAINING = {"epochs": 100, "learning_rate": 0.01, "batch_size": 128}

_HUB: Final = "hf://datasets/uoft-cs/cifar10/plain_text"
_COLUMNS: Final = {".parquet": ("img", "label"), ".npz": ("x", "y")}
"""Names of images and classes in files of each kind."""


def search_space(data: str | None = None, weights: str | None = None) -> SearchSpace:
    """Recipes that lead to a trade-off between accuracy, size and latency.

    Args:
        data: The folder of the data; None for what the environment says, else for the hub.
        weights: The folder of the weights; None for what the environment says, else to train them.
    """
    data, weights = data or os.environ.get("CC_RAY_CIFAR10"), weights or os.environ.get("CC_RAY_RESNET_WEIGHTS")
    return SearchSpace(
        name="resnet-cifar10",
        task="image_classification",
        task_parameters={**images(data), "models": {f"resnet{depth}": model(depth, weights) for depth in (20, 32)}},
        recipes=[recipe(BOTH), pruned(), narrowed(), rounded()],
        objectives={"accuracy": "higher", "size_bytes": "lower", "latency_p50_ms": "lower"},
    )


def images(folder: str | None) -> dict[str, Any]:
    """Where the images lie and how models see them."""
    train, test = (f"{_HUB}/{name}-*.parquet" for name in ("train", "test"))
    suffix = ".parquet"
    if folder:
        (train, suffix), (test, _) = found(folder, "train"), found(folder, "test")
    image, label = _COLUMNS[suffix]
    return {
        "sources": {"train": train, "evaluation": test},
        "image": image,
        "label": label,
        "classes": list(CLASSES),
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "flipped": True,
        "shifted": 4,
    }


def found(folder: str, name: str) -> tuple[str, str]:
    """The pattern of the files of one name in a folder, and their suffix."""
    for suffix in _COLUMNS:
        if any(Path(folder).expanduser().glob(f"*{name}*{suffix}")):
            return f"{folder}/*{name}*{suffix}", suffix
    raise InvalidRecipeError(f"'{folder}' has no file *{name}*.parquet or *{name}*.npz: check CC_RAY_CIFAR10.")


def model(depth: int, folder: str | None) -> dict[str, Any]:
    """A base model: with the weights of the folder, or to be trained."""
    factory = {"factory": f"cc_ray.tasks.architectures.resnet_cifar:resnet{depth}"}
    if not folder:
        return {**factory, "training": TRAINING}
    return {**factory, "weights": f"{folder}/resnet{depth}*.th", "key": "state_dict", "prefix": "module."}


def pruned() -> RecipeSpace:
    """Small weights go, and training repairs."""
    return recipe(BOTH, [step("magnitude_pruning", sparsity=choice(0.3, 0.5, 0.7, 0.9)), optional(REPAIR)])


def narrowed() -> RecipeSpace:
    """Whole channels go; then weights take fewer bits."""
    cut = step("channel_pruning", ratio=choice(0.2, 0.4))
    return recipe(BOTH, [cut, REPAIR, optional(step("uniform_quantization", bits=choice(4, 8)))])


def rounded() -> RecipeSpace:
    """Nothing but fewer bits."""
    return recipe(BOTH, [either(step("uniform_quantization", bits=choice(2, 3, 4, 6, 8)), step("quantize_weights"))])
