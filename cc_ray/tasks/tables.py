"""What tasks on rows of tables share: features, their encoding by the train split, and how a row is shown."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import torch
from pydantic import Field
from torch import Tensor

from cc_ray.errors import InvalidRecipeError
from cc_ray.schema import INSTANCES
from cc_ray.tasks.base import Data, Split
from cc_ray.tasks.bases import Base, BaseName, FromFactory, Training
from cc_ray.tasks.sourced import Sourced
from cc_ray.tasks.sources import Cut, Rows, Sources, contents, members
from cc_ray.tasks.sources.encoding import Categories, Encoding, Number, row_texts


class Tabular(Sourced):
    """A task on rows of tables, which lie in Parquet or CSV."""

    models: Annotated[Mapping[BaseName, FromFactory], Field(min_length=1)]
    """The base models, by the names that recipes call them."""
    target: str
    """Column of what is to be told."""
    features: tuple[str, ...] = ()
    """Columns that models see; all but the target if left out. Text, and true or false, are categories."""
    named: tuple[str, ...] = ()
    """Features of numbers that are categories all the same, such as codes."""
    categories: Categories = "one_hot"
    """How categories are given to models: each as an input that is 1 where it holds, or as indices that they embed."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """How many outputs models have."""

    @property
    @abstractmethod
    def held(self) -> Held:
        """The data, read once by a process."""

    def data(self, split: Split) -> Data:
        """Rows of one split, (n, inputs), numbers first, in order of identity.

        Shared by the whole process: not to be changed.
        """
        return self.held.split(split)

    def instances(self) -> pa.Table:
        """The evaluation rows as text, a line a column."""
        return self.held.instances

    def read(self) -> tuple[Rows, Cut]:
        """Read all rows, and divide them by the content of their features.

        Raises:
            InvalidRecipeError: If a column is not there, or the target is among the features.
        """
        parts = self.sources.read()
        rows = Rows.joined(parts)
        if self.target in self.features:
            raise InvalidRecipeError(f"task '{self.name}': the target '{self.target}' is among the features.")
        if strange := set(self.named) - set(self.seen(rows)):
            raise InvalidRecipeError(f"task '{self.name}': 'named' has {', '.join(sorted(strange))}, no feature.")
        return rows, self.sources.cut([len(part) for part in parts], contents(row_texts(rows, self.seen(rows))))

    def seen(self, rows: Rows) -> tuple[str, ...]:
        """Columns that models see."""
        return self.features or tuple(name for name in rows.columns.column_names if name != self.target)

    def given(self, base: Base) -> dict[str, Any]:
        """How many inputs and outputs it has, and of categories that are indices how many there are."""
        sizes = {"categories": list(self.held.encoding.sizes)} if self.categories == "indices" else {}
        return {"inputs": self.held.width, "outputs": self.outputs, **sizes}


@dataclass(frozen=True)
class Held:
    """The data of a task on tables."""

    task: Tabular
    rows: Rows
    cut: Cut
    labels: Tensor
    """What is right of each row, (n,)."""
    answers: Mapping[str, pa.Array]
    """The same as columns of `schema.INSTANCES`."""
    class_names: tuple[str, ...] = ()
    """What a label means; none in regression."""
    splits: dict[Split, Data] = field(default_factory=dict)
    """Those that were asked for."""

    @cached_property
    def encoding(self) -> Encoding:
        """How rows become inputs."""
        train = self.rows.at(self.cut.places("train"))
        return Encoding.fitted(train, self.task.seen(self.rows), self.task.named, self.task.categories)

    @cached_property
    def scale(self) -> Number:
        """What the train split says of labels that are numbers."""
        return Number.seen(self.task.target, self.labels[self.cut.places("train")].double().numpy())

    @property
    def width(self) -> int:
        """Number of inputs of a model."""
        return int(self.encoding.inputs(self.rows.at(np.array([0]))).shape[1])

    def split(self, split: Split) -> Data:
        """The instances of one split."""
        if split not in self.splits:
            places = self.cut.places(split)
            inputs = torch.from_numpy(self.encoding.inputs(self.rows.at(places)))
            self.splits[split] = Data(inputs, self.labels[places], torch.from_numpy(places))
        return self.splits[split]

    @cached_property
    def instances(self) -> pa.Table:
        """Rows of `schema.INSTANCES`."""
        places = self.cut.places("evaluation")
        answers = {name: values.take(pa.array(places)) for name, values in self.answers.items()}
        names = answers["label_name"].to_pylist() if self.class_names else None
        columns = {
            "task_id": [self.task.task_id] * len(places),
            "instance": places,
            "slices": members(self.task.slices, self.rows.at(places).columns, names),
            "payload": self._shown(places),
            "payload_type": ["text/plain"] * len(places),
            **answers,
        }
        types = INSTANCES.schema
        return pa.table({name: columns.get(name, pa.nulls(len(places))) for name in types.names}).cast(types)

    def _shown(self, places: np.ndarray[Any, np.dtype[np.int64]]) -> list[bytes]:
        """What models see of each row, a line a column."""
        seen = self.rows.at(places).columns.select(self.task.seen(self.rows)).to_pylist()
        return ["\n".join(f"{name}: {value}" for name, value in row.items()).encode() for row in seen]


def write_example(folder: Path) -> dict[str, Any]:
    """Write points of two colours, and give the fields of a task on them but its target: `side` or `distance`."""
    generator = np.random.default_rng(0)
    across, colour = generator.normal(size=200), generator.choice(["green", "red"], 200)
    distance = across - 0.5 * (colour == "red")
    side = np.where(distance > 0, "right", "left")
    table = pa.table({"across": across, "colour": colour, "distance": distance, "side": side})
    pyarrow.csv.write_csv(table, folder / "points.csv")
    network = FromFactory(
        factory="cc_ray.tasks.architectures.mlp:MLP",
        arguments={"hidden": [8]},
        training=Training(epochs=8, learning_rate=0.05, batch_size=16),
    )
    sources = Sources(train=str(folder / "points.csv"))
    return {"models": {"mlp": network}, "sources": sources, "features": ("across", "colour"), "slices": ("colour",)}
