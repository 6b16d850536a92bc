"""Which split an instance belongs to: that of its source, or one by its content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cc_ray.errors import InvalidRecipeError
from cc_ray.tasks.base import SPLITS, Split
from cc_ray.tasks.sources.rows import Rows

Part = Annotated[float, Field(gt=0, lt=1)]
"""A share in (0, 1)."""


@dataclass(frozen=True)
class Cut:
    """Which split each instance is in."""

    split: NDArray[np.str_]
    """Name of the split, (n,); empty where the instance is left out."""

    def places(self, split: Split) -> NDArray[np.int64]:
        """Positions of the instances of a split, in order."""
        return np.flatnonzero(self.split == split)


class Sources(BaseModel):
    """Where the instances of the splits lie, each an address as `files` has it.

    What has no source of its own is cut off `train`: an instance's content alone decides, so equal instances are in one
    split and more data moves none. Of instances that several splits have with equal content, only those of the first
    of evaluation, calibration and train are kept: no model is judged by what it has seen.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    train: str
    """What models are trained on."""
    evaluation: str | None = None
    """What they are judged by."""
    calibration: str | None = None
    """What operations measure them by while they are compressed."""
    evaluation_share: Part = 0.2
    """Share of `train` that is cut off for evaluation where it has no source; of different contents, about."""
    calibration_share: Part = 0.1
    """The same for calibration."""

    @model_validator(mode="after")
    def _leaves_something(self) -> Self:
        if sum(self._shares.values()) >= 1:
            raise ValueError("evaluation_share and calibration_share together leave nothing to train on")
        return self

    @property
    def addresses(self) -> dict[Split, str]:
        """Address of each split that has a source of its own: evaluation, calibration, train."""
        named = {"evaluation": self.evaluation, "calibration": self.calibration, "train": self.train}
        return {split: address for split in _ORDER if (address := named[split]) is not None}

    def identifying(self) -> dict[str, Any]:
        """Which splits have a source and the shares of the others, as plain data: all but the addresses."""
        return {"sources": list(self.addresses), "shares": self._shares}

    @property
    def _shares(self) -> dict[Split, float]:
        shares: dict[Split, float] = {"evaluation": self.evaluation_share, "calibration": self.calibration_share}
        return {split: share for split, share in shares.items() if split not in self.addresses}

    def read(self) -> list[Rows]:
        """Rows of each source in the order of `addresses`; positions over all of them are the instances' identities."""
        return [Rows.read(address) for address in self.addresses.values()]

    def cut(self, lengths: Sequence[int], held: Sequence[bytes]) -> Cut:
        """Divide the instances among the splits.

        Args:
            lengths: Number of rows of each source.
            held: Digest of the content of each instance, over all sources, as `contents` gives it.

        Raises:
            InvalidRecipeError: If a split stays empty.
        """
        named = np.repeat(np.array(list(self.addresses)), lengths)
        split = [
            self._by_content(content) if name == "train" else name for name, content in zip(named, held, strict=True)
        ]
        first: dict[bytes, str] = {}
        for name in _ORDER:
            for content, own in zip(held, split, strict=True):
                if own == name:
                    first.setdefault(content, name)
        found = Cut(np.array([own if first[content] == own else "" for own, content in zip(split, held, strict=True)]))
        for name in SPLITS:
            if not len(found.places(name)):
                raise InvalidRecipeError(
                    f"of {len(held)} instances none is left for the split '{name}': give more data or a larger share."
                )
        return found

    def _by_content(self, content: bytes) -> str:
        place = int.from_bytes(content[:8], "big") / 2**64
        for split, share in self._shares.items():
            if place < share:
                return split
            place -= share
        return "train"


def contents(instances: Iterable[bytes]) -> list[bytes]:
    """SHA-256 of each instance."""
    return [hashlib.sha256(instance).digest() for instance in instances]


_ORDER: Final[tuple[Split, ...]] = ("evaluation", "calibration", "train")
