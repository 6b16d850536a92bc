"""Images of rows as pixels, and pixels as PNG."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from cc_ray.errors import InvalidRecipeError
from cc_ray.tasks.sources.rows import Rows

Colours = Literal["RGB", "L"]
"""Three channels, or one of grey."""
Size = tuple[int, int]
"""Height and width in pixels."""
Fit = Literal["crop", "stretch"]
"""How an image of other proportions comes to the size: its middle is cut out, or it is stretched."""
Pixels = NDArray[np.uint8]
"""Images, (n, channels, height, width), 0 to 255."""

_CHANNELS: Final = {"RGB": 3, "L": 1}
_SHOWN: Final = (64, 160)
"""The longer side of a thumbnail at least and at most; smaller images are enlarged without smoothing."""


def pixels(rows: Rows, column: str, colours: Colours, size: Size | None = None, fit: Fit = "crop") -> Pixels:
    """The images of all rows, of one size.

    Args:
        rows: The instances.
        column: An array of pixels, (n, channels, h, w), (n, h, w, channels) or (n, h, w), uint8; or a column of
            encoded images (bytes, or as the Hugging Face hub has them) or of files beside the data.
        colours: What all are brought to.
        size: What all are brought to; None leaves them as they are.
        fit: How.

    Raises:
        InvalidRecipeError: If something is no image, or they differ in size and none is asked for.
    """
    if column in rows.arrays and (held := _as_they_are(rows.arrays[column], colours, size)) is not None:
        return held
    if column in rows.arrays:
        opened: Iterator[Image.Image] = map(Image.fromarray, _last_channels(rows.arrays[column], column))
    else:
        values = rows.column(column)
        opened = (_opened(value.as_py(), rows.root, f"row {place}") for place, value in enumerate(values))
    first, found = None, np.empty((0, 0, 0, 0), np.uint8)
    for place, image in enumerate(opened):
        shown = _brought(image, colours, size, fit)
        if first is None:
            first, found = shown.size, np.empty((len(rows), _CHANNELS[colours], shown.height, shown.width), np.uint8)
        if shown.size != first:
            raise InvalidRecipeError(
                f"the image of row {place} has {shown.width} x {shown.height} pixels, the first {first[0]} x "
                f"{first[1]}: say with `size` what all are brought to."
            )
        found[place] = np.atleast_3d(np.asarray(shown)).transpose(2, 0, 1)
    return found


def png(image: Pixels) -> bytes:
    """One image, (channels, height, width), as people see it: a PNG of a size that suits a screen."""
    shown = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
    longer, (least, most) = max(shown.size), _SHOWN
    if longer < least:
        shown = ImageOps.scale(shown, -(-least // longer), Image.Resampling.NEAREST)
    shown.thumbnail((most, most))
    file = io.BytesIO()
    shown.save(file, format="PNG", optimize=True)
    return file.getvalue()


def _as_they_are(array: NDArray[Any], colours: Colours, size: Size | None) -> Pixels | None:
    """Pixels with nothing left to do; None where there is."""
    there = array.dtype == np.uint8 and array.ndim == 4 and array.shape[1] == _CHANNELS[colours]
    return array if there and size in (None, array.shape[2:]) else None


def _last_channels(array: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Pixels as (n, h, w) or (n, h, w, 3)."""
    if array.dtype != np.uint8 or array.ndim not in (3, 4):
        raise InvalidRecipeError(
            f"array '{name}' is {array.dtype} of shape {array.shape}; images are uint8, (n, channels, height, width), "
            "(n, height, width, channels) or (n, height, width)."
        )
    if array.ndim == 4 and array.shape[1] in (1, 3) and array.shape[3] not in (1, 3):
        array = array.transpose(0, 2, 3, 1)
    return array[..., 0] if array.ndim == 4 and array.shape[3] == 1 else array


def _opened(value: Any, root: Path, place: str) -> Image.Image:
    """An image as a column holds it: its bytes, a file, or one of both as `bytes` and `path`."""
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    try:
        with warnings.catch_warnings():
            # Pillow warns of images so large that they may be meant to fill the memory.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(value) if isinstance(value, bytes) else _beside(value, root))
            # Opening reads the head alone; what is broken further on is told here, too.
            image.load()
            return image
    except (OSError, TypeError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InvalidRecipeError(f"{place} of the data in {root} holds no image: {error}") from error


def _beside(name: Any, root: Path) -> Path:
    path: Path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise ValueError(f"'{name}' leads out of the folder of the data")
    return path


def _brought(image: Image.Image, colours: Colours, size: Size | None, fit: Fit) -> Image.Image:
    image = ImageOps.exif_transpose(image).convert(colours)
    if size is None or image.size == size[::-1]:
        return image
    brought: Callable[..., Image.Image] = ImageOps.fit if fit == "crop" else Image.Image.resize
    return brought(image, size[::-1], Image.Resampling.BICUBIC)
