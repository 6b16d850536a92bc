"""Whether confidence can be believed: calibration error, proper scores and reliability diagrams.

A model is calibrated if of the answers that it gives with confidence c a share c is right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, get_args

import numpy as np
import pyarrow as pa
import scipy
from numpy.typing import NDArray

from cc_ray.compare.asking import answered, comparable, known
from cc_ray.compare.behaviour.aligned import names_of
from cc_ray.compare.behaviour.loading import Answers, grouped_answers, load_probabilities
from cc_ray.compare.statistics.intervals import LEVEL, wilson
from cc_ray.errors import NotComparableError
from cc_ray.views import Views

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

Bins = Literal["width", "mass"]
"""How confidences are divided: in ranges of equal width over [0, 1], or in groups of equally many instances."""

BINS: Final = 15
RESAMPLES: Final = 1_000
"""Draws behind an interval of a calibration error."""

_READ: Final = ("correct", "confidence", "true_probability", "loss")
_COLUMNS: Final = [
    "model_id", "name", "n", "accuracy", "accuracy_low", "accuracy_high", "confidence", "confidence_low",
    "confidence_high", "overconfidence", "ece", "ece_low", "ece_high", "ece_p", "ece_mass", "ece_mass_low",
    "ece_mass_high", "mce", "mce_low", "mce_high", "brier", "brier_low", "brier_high", "nll", "nll_low", "nll_high",
]  # fmt: skip


def calibration(views: Views, ids: Iterable[str]) -> pa.Table:
    """How well models are calibrated, over all instances that each answered.

    Columns: model_id, name, n; accuracy (Wilson interval); confidence (mean); overconfidence (confidence - accuracy);
    ece: expected calibration error, the mean over instances of |accuracy - confidence| of their bin, `BINS` bins of
    equal width; ece_p; ece_mass: the same with bins of equally many instances; mce: the largest |accuracy - confidence|
    of the equal-width bins; brier: mean over instances of the sum over classes of (probability - 1 if true else 0)^2,
    in [0, 2]; nll: mean loss in nats. Accuracy, confidence, ece, ece_mass, mce, brier and nll each with _low and _high,
    ends of the 95 % interval. Null where an instance's confidence, probabilities or loss are unknown or NaN. A row per
    model, in the order of the ids.

    Intervals of means are normal. A binned error is too large on average, and resampling makes it larger still; so its
    interval reaches from the basic bootstrap's lower end (0 where `ece_p` finds nothing) to the percentile bootstrap's
    upper end, over the bins' counts: it holds the value, and rather too much than too little. `ece_p` is the chance of
    an ece as large if the model were calibrated.

    Args:
        views: The store.
        ids: Models.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If there are none, they are of several tasks, or one has no predictions.

    Source: Guo et al., 2017, "On Calibration of Modern Neural Networks"; Nixon et al., 2019, "Measuring Calibration in
    Deep Learning" (equal mass); Brier, 1950, "Verification of Forecasts Expressed in Terms of Probability"; Bröcker,
    Smith, 2007, "Increasing the Reliability of Reliability Diagrams" (`ece_p`).
    """
    wanted = _asked(views, ids)
    groups = grouped_answers(views, wanted, _READ)
    return pa.concat_tables([_calibrated(views, group) for group in groups]).select(_COLUMNS)


def reliability(views: Views, ids: Iterable[str], bins: Bins = "width") -> pa.Table:
    """The bins of a reliability diagram.

    Columns: model_id, name, bin (from 0), low, high (confidences that it holds: edges for equal width, the least and
    largest for equal mass), n, share (of the model's instances), confidence (mean), accuracy, accuracy_low,
    accuracy_high (Wilson), gap (accuracy - confidence). In order of the ids, then of the bins; an empty bin has no row,
    nor has an instance whose confidence is unknown.

    Args:
        views: The store.
        ids: Models.
        bins: How confidences are divided, in `BINS` bins.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If there are none, they are of several tasks, one has no predictions, or `bins` is unknown.
    """
    if bins not in get_args(Bins):
        raise NotComparableError(f"bins='{bins}' is not known. Allowed: {', '.join(get_args(Bins))}.")
    wanted = _asked(views, ids)
    names = dict(zip(wanted, names_of(views, wanted), strict=True))
    each = (one for group in grouped_answers(views, wanted, _READ) for one in group.items())
    return pa.concat_tables([_diagram(model_id, names[model_id], answers, bins) for model_id, answers in each])


def _calibrated(views: Views, found: Mapping[str, Answers]) -> pa.Table:
    each = list(found.values())
    columns = {"model_id": pa.array(list(found)), "name": pa.array(names_of(views, list(found)))}
    columns |= _means(each) | _brier(views, found)
    for bins in get_args(Bins):
        columns |= _errors(each, bins)
    return pa.table(columns)


def _diagram(model_id: str, name: str, answers: Answers, bins: Bins) -> pa.Table:
    confidence, correct = _values(answers, "confidence"), _values(answers, "correct")
    known_ = ~np.isnan(confidence)
    confidence, correct = confidence[known_], correct[known_]
    place = _bin(confidence, bins)
    there, n = np.unique(place, return_counts=True)
    sure, right = (np.bincount(place, values, BINS)[there] for values in (confidence, correct))
    inside = [confidence[place == bin_] for bin_ in there]
    low, high = wilson(right, n)
    return pa.table(
        {
            "model_id": pa.array([model_id] * len(n), pa.string()),
            "name": pa.array([name] * len(n), pa.string()),
            "bin": there,
            "low": pa.array([own.min() for own in inside], pa.float64()) if bins == "mass" else there / BINS,
            "high": pa.array([own.max() for own in inside], pa.float64()) if bins == "mass" else (there + 1) / BINS,
            "n": n,
            "share": n / max(len(place), 1),
            "confidence": sure / n,
            "accuracy": right / n,
            "accuracy_low": low,
            "accuracy_high": high,
            "gap": (right - sure) / n,
        }
    )


def _asked(views: Views, ids: Iterable[str]) -> list[str]:
    wanted = known(views, ids)
    comparable(views, wanted, wanted[0] if wanted else "")
    answered(views, wanted)
    return wanted


def _means(found: Sequence[Answers]) -> dict[str, pa.Array]:
    n = np.array([len(answers.instances) for answers in found])
    correct = np.array([_values(answers, "correct").sum() for answers in found])
    low, high = wilson(correct, n)
    columns = {"n": n, "accuracy": correct / n, "accuracy_low": low, "accuracy_high": high}
    for name, column in (("confidence", "confidence"), ("nll", "loss")):
        columns |= _mean(name, [_values(answers, column) for answers in found])
    columns["overconfidence"] = columns["confidence"] - columns["accuracy"]
    return {name: pa.array(values, from_pandas=True) for name, values in columns.items()}


def _values(answers: Answers, name: str) -> Floats:
    values: Floats = answers.columns[name].to_numpy(zero_copy_only=False).astype(np.float64)
    return values


def _mean(name: str, each: Iterable[Floats]) -> dict[str, Floats]:
    """The mean of each of several arrays, with the ends of its normal interval."""
    sums = np.array([(values.sum(), np.square(values).sum(), len(values)) for values in each])
    total, squares, n = sums.T
    mean = total / n
    # An infinite loss has a mean, and no interval.
    with np.errstate(invalid="ignore"):
        spread = np.sqrt(np.maximum(0, squares / n - mean**2) / np.maximum(n - 1, 1))
    half = float(scipy.special.ndtri((1 + LEVEL) / 2)) * spread
    return {name: mean, f"{name}_low": mean - half, f"{name}_high": mean + half}


def _brier(views: Views, found: Mapping[str, Answers]) -> dict[str, pa.Array]:
    columns = _mean("brier", (_brier_scores(views, model_id, answers) for model_id, answers in found.items()))
    return {name: pa.array(values, from_pandas=True) for name, values in columns.items()}


def _brier_scores(views: Views, model_id: str, answers: Answers) -> Floats:
    """Sum over classes of (p - 1 if true else 0)^2 = sum p^2 - 2 p_true + 1, (n,); NaN without probabilities."""
    squares = np.full(len(answers.instances), np.nan)
    start = 0
    for block in load_probabilities(views, model_id, answers.instances):
        values = block.astype(np.float32, copy=False)
        squares[start : start + len(block)] = np.einsum("ij,ij->i", values, values)
        start += len(block)
    scores: Floats = 1 - 2 * _values(answers, "true_probability") + squares
    return scores


def _bin(confidence: Floats, bins: Bins) -> Integers:
    """Bin of each confidence, from 0."""
    count = len(confidence)
    if bins == "width":
        # Guo et al.: a bin holds its upper edge.
        edge: Integers = np.ceil(np.nan_to_num(confidence, nan=1) * BINS).astype(np.int64)
        return np.clip(edge - 1, 0, BINS - 1)
    place = np.empty(count, np.int64)
    place[np.argsort(confidence, kind="stable")] = np.arange(count) * min(BINS, count) // max(count, 1)
    return place


def _cells(answers: Answers, bins: Bins) -> tuple[Integers, Floats]:
    """Number of instances and sum of confidences by bin and whether they are right, (BINS, 2)."""
    confidence = _values(answers, "confidence")
    cell = 2 * _bin(confidence, bins) + _values(answers, "correct").astype(np.int64)
    counts: Integers = np.bincount(cell, minlength=2 * BINS)
    sums: Floats = np.bincount(cell, confidence, 2 * BINS).astype(np.float64)
    return counts.reshape(BINS, 2), sums.reshape(BINS, 2)


def _errors(found: Sequence[Answers], bins: Bins) -> dict[str, pa.Array]:
    each = [_model_errors(*_cells(answers, bins)) for answers in found]
    ends = ("", "_low", "_high", "_p")
    names = [f"{name}{end}" for name in ("ece", "mce") for end in ends]
    measured = dict(zip(names, zip(*each, strict=True), strict=True))
    chosen = {"ece_mass": "ece"} if bins == "mass" else {"ece": "ece", "mce": "mce"}
    return {
        f"{new}{end}": pa.array(measured[f"{old}{end}"], pa.float64(), from_pandas=True)
        for new, old in chosen.items()
        for end in ends
    }


def _model_errors(counts: Integers, confidences: Floats) -> list[float]:
    """Expected calibration error, then the maximum one, each with the ends of its interval and its p-value."""
    rng, n, total = np.random.default_rng(0), counts.sum(axis=1), int(counts.sum())
    mean = confidences / np.maximum(counts, 1)
    # How many answers of each bin are right and wrong is drawn anew; how confident those are hardly differs in a bin.
    drawn = rng.multinomial(total, counts.ravel() / total, RESAMPLES).reshape(-1, *counts.shape)
    believed = confidences.sum(axis=1) / np.maximum(n, 1)
    right = rng.binomial(n, np.clip(np.nan_to_num(believed), 0, 1), (RESAMPLES, len(n)))
    values, resampled = _gaps(counts, mean), _gaps(drawn, mean)
    calibrated = _gaps(np.stack([n - right, right], axis=-1), np.stack([believed, believed], axis=-1))
    return [
        end
        for value, again, by_chance in zip(values, resampled, calibrated, strict=True)
        for end in _ended(value, again, by_chance)
    ]


def _ended(value: Floats, resampled: Floats, calibrated: Floats) -> list[float]:
    """A value, the ends of its interval and its p-value."""
    if np.isnan(value):
        return [float("nan")] * 4
    high = max(float(np.quantile(resampled, (1 + LEVEL) / 2)), float(value))
    # The value itself counts as one draw, so that no p-value is 0.
    p = float((1 + np.sum(calibrated >= value)) / (1 + len(calibrated)))
    low = 0.0 if p >= 1 - LEVEL else max(0.0, 2 * float(value) - high)
    return [float(value), low, high, p]


def _gaps(counts: Integers, mean: Floats) -> tuple[Floats, Floats]:
    """Expected and maximum error, from counts (..., BINS, 2) and mean confidences (BINS, 2) of wrong and right."""
    n = counts.sum(axis=-1)
    off = np.abs(counts[..., 1] - (counts * mean).sum(axis=-1))
    return off.sum(axis=-1) / n.sum(axis=-1), (off / np.maximum(n, 1)).max(axis=-1)
