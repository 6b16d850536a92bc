"""Predictions of a model that was made elsewhere: the predicted classes, with or without their probabilities.

Where only classes are known, probabilities are null in the store: certainty is not made up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cc_ray.imports.reading import ResultFileError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Row = dict[str, Any]

LEAST: Final = 1e-12
"""A probability of zero counts as this in a logarithm, as it does in the store's KL divergences."""
SUM_TOLERANCE: Final = 0.01
"""How far a row's sum may be from 1: rounded probabilities of many classes reach this."""


@dataclass(frozen=True)
class Instances:
    """The evaluation instances of a task, sorted by identity."""

    instances: Integers
    """Identities, (n,)."""
    labels: Integers
    """Index of the true class, (n,)."""
    members: tuple[tuple[str, ...], ...] = ()
    """Slices of each instance besides its class; empty for none at all."""
    payloads: tuple[str, ...] = ()
    """Text that each is shown as; empty for none at all."""

    def slices(self, class_names: Sequence[str]) -> list[list[str]]:
        """All slices of each instance, its class first."""
        of_class = [f"class:{class_name(class_names, label)}" for label in self.labels.tolist()]
        more = self.members or ((),) * len(of_class)
        return [[first, *others] for first, others in zip(of_class, more, strict=True)]

    def table(self, task_id: str, class_names: Sequence[str]) -> pa.Table:
        """Rows of `schema.INSTANCES`."""
        count = len(self.instances)
        return pa.table(
            {
                "task_id": pa.array([task_id] * count, pa.string()),
                "instance": self.instances,
                "label": pa.array(self.labels, pa.int32()),
                "label_name": [class_name(class_names, label) for label in self.labels.tolist()],
                "slices": pa.array(self.slices(class_names), pa.list_(pa.string())),
                "payload": pa.array([text.encode() for text in self.payloads] or [b""] * count, pa.binary()),
                "payload_type": ["text/plain"] * count,
            }
        )


@dataclass(frozen=True)
class Answers:
    """A model's answers, one row an instance, sorted by identity."""

    instances: Integers
    """Identities, (n,)."""
    labels: Integers
    """Index of the true class, (n,)."""
    classes: Integers
    """Index of the predicted class, (n,)."""
    probabilities: Floats | None = None
    """Probability of each class, (n, classes), each row summing to 1; None if only the classes are known."""

    @cached_property
    def digest(self) -> str:
        """Hash of the content."""
        hashed = hashlib.sha256()
        for array in (self.instances, self.labels, self.classes, self.probabilities):
            hashed.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
        return hashed.hexdigest()

    @cached_property
    def correct(self) -> Flags:
        """Whether the predicted class is the true one, (n,)."""
        return np.equal(self.classes, self.labels)

    @cached_property
    def losses(self) -> Floats:
        """-ln of the true class's probability, (n,), in nats.

        Raises:
            ValueError: If there are no probabilities.
        """
        if self.probabilities is None:
            raise ValueError("there are no probabilities")
        return -np.log(np.maximum(_of(self.probabilities, self.labels), LEAST))

    @property
    def impossible(self) -> int:
        """Number of instances whose true class has a probability of zero."""
        return 0 if self.probabilities is None else int((_of(self.probabilities, self.labels) == 0).sum())

    @property
    def improbable(self) -> int:
        """Number of instances whose predicted class is less probable than another."""
        if self.probabilities is None:
            return 0
        return int((_of(self.probabilities, self.classes) < self.probabilities.max(axis=1)).sum())

    def table(self, model_id: str) -> pa.Table:
        """Rows of `schema.PREDICTIONS`, without the columns that compare with other models."""
        columns: dict[str, Any] = {
            "model_id": pa.array([model_id] * len(self.labels), pa.string()),
            "instance": self.instances,
            "label": pa.array(self.labels, pa.int32()),
            "prediction": pa.array(self.classes, pa.int32()),
            "correct": self.correct,
        }
        return pa.table({**columns, **self._certainty()})

    def metrics(self, members: Mapping[str, Flags]) -> list[Row]:
        """Rows of `schema.METRICS`, without `model_id`, of the registered metrics of predictions.

        Args:
            members: Which instances belong to a slice, (n,), by its name.
        """
        from cc_ray.evaluate.metrics import metrics

        subject = _Subject(self, members)
        names = ("accuracy",) if self.probabilities is None else ("accuracy", "loss")
        return [{"metric": name, **asdict(value)} for name in names for value in metrics[name].values(subject)]

    def _certainty(self) -> Mapping[str, Any]:
        if self.probabilities is None:
            nulls = pa.nulls(len(self.labels), pa.float32())
            names = ("confidence", "true_probability", "loss", "margin", "entropy")
            return {**dict.fromkeys(names, nulls), "probabilities": pa.nulls(len(self.labels), pa.list_(pa.float32()))}
        from cc_ray.evaluate.answers.classes import Classes

        full = Classes(self.instances, self.labels, np.log(np.maximum(self.probabilities, LEAST)))
        small = {name: np.asarray(values, np.float32) for name, values in self._scalars(full).items()}
        flat = pa.array(self.probabilities.astype(np.float32).ravel())
        width = self.probabilities.shape[1]
        offsets = pa.array(np.arange(0, len(flat) + 1, width, dtype=np.int32))
        return {**small, "probabilities": pa.ListArray.from_arrays(offsets, flat)}

    def _scalars(self, full: Any) -> dict[str, Floats]:
        assert self.probabilities is not None
        return {
            "confidence": _of(self.probabilities, self.classes),
            "true_probability": _of(self.probabilities, self.labels),
            "loss": self.losses,
            "margin": full.margins,
            "entropy": full.entropies,
        }


@dataclass(frozen=True)
class _Subject:
    """What the metrics of predictions are taken from: a `Measurement` without a model."""

    predictions: Answers
    slices: Mapping[str, Flags]


def class_name(names: Sequence[str], label: int) -> str:
    """What a label is called; its number where it has no name."""
    return names[label] if 0 <= label < len(names) else str(label)


def members_of(slices: Sequence[Sequence[str]]) -> dict[str, Flags]:
    """Which instances belong to a slice, (n,), by its name; "all" comes first."""
    found: dict[str, Flags] = {"all": np.ones(len(slices), bool)}
    for place, names in enumerate(slices):
        for name in names:
            found.setdefault(name, np.zeros(len(slices), bool))[place] = True
    return found


def probable(scores: Floats, what: str, *, logits: bool) -> Floats:
    """Check class scores, (n, classes), and give them as probabilities.

    Args:
        scores: Probabilities, or logits.
        what: Where they come from, for the error.
        logits: Whether they are logits: unnormalised logarithms.

    Raises:
        ResultFileError: If a row holds what no probability is, or does not sum to 1.
    """
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise ResultFileError(f"{what}: probabilities must have a column for each of two or more classes.")
    _refuse(what, (~np.isfinite(scores)).any(axis=1), "holds a score that is not a finite number", "")
    if logits:
        shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
        softmax: Floats = shifted / shifted.sum(axis=1, keepdims=True)
        return softmax
    hint = " If these are logits, say so (--logits)."
    _refuse(what, (scores < 0).any(axis=1) | (scores > 1 + SUM_TOLERANCE).any(axis=1), _outside(scores), hint)
    sums = scores.sum(axis=1)
    bad = np.abs(sums - 1) > SUM_TOLERANCE
    _refuse(what, bad, f"sums to {sums[bad][0]:.4g}, not to 1" if bad.any() else "", hint)
    normal: Floats = scores / sums[:, None]
    return normal


def _outside(scores: Floats) -> str:
    outside = scores[(scores < 0) | (scores > 1 + SUM_TOLERANCE)]
    return f"holds {outside[0]:.4g}, which is no probability in [0, 1]" if outside.size else ""


def _refuse(what: str, bad: Any, fault: str, hint: str) -> None:
    rows = np.flatnonzero(bad)
    if rows.size:
        more = f" (and {rows.size - 1:,} more rows)" if rows.size > 1 else ""
        raise ResultFileError(f"{what}: row {rows[0]}, counted from 0, {fault}{more}.{hint}")


def odd(answers: Answers) -> Iterator[tuple[str, str, str]]:
    """What is odd about answers: check, severity, message."""
    if answers.probabilities is None:
        yield (
            "probabilities_missing",
            "info",
            "only the predicted classes are known: there is no loss, confidence or divergence of this model.",
        )
    if count := answers.impossible:
        yield (
            "true_class_impossible",
            "warning",
            f"the true class has a probability of exactly 0 on {count:,} instances (rounded?); "
            f"it counts as {LEAST:g} in the loss.",
        )
    if count := answers.improbable:
        yield (
            "prediction_not_most_probable",
            "warning",
            f"on {count:,} instances the given prediction is not the most probable class; it was kept.",
        )


def _of(values: Floats, classes: Integers) -> Floats:
    found: Floats = np.take_along_axis(values, classes[:, None], axis=1)[:, 0]
    return found
