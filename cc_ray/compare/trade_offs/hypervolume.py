"""How much a front achieves in one number, exactly, and how it grew.

The hypervolume of a front is the volume of what its models beat, bounded by a reference point that is worse: the
larger, the better. It only grows as models are added, as long as the reference point stays where it is.

Source: Zitzler, Thiele, 1998, "Multiobjective Optimization Using Evolutionary Algorithms"; computed by slices (While,
Hingston, Barone, Huband, 2006, "A Faster Algorithm for Calculating Hypervolume"), what one model adds by limiting the
others to it (While, Bradstreet, Barone, 2012, "A Fast Way of Calculating Exact Hypervolumes").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from cc_ray.compare.asking import Row, rows
from cc_ray.compare.models import metric_definitions, models, of_ids
from cc_ray.compare.trade_offs.dominance import Floats, Staircase, minimal, not_dominated
from cc_ray.compare.trade_offs.objectives import Judged, Objectives, judged, numbers
from cc_ray.errors import NotComparableError
from cc_ray.stopping import go_on
from cc_ray.views import Views

GIVEN: Final = "given"
WORST_POSSIBLE: Final = "worst possible value"
WORST_BASE: Final = "worst base model"
WORST_MODEL: Final = "worst model"

_STEPS: Final = {
    "model": """
        SELECT model_id AS step, model_id, created_at AS "at" FROM models ORDER BY created_at, step_index, model_id
    """,
    "trial": """
        SELECT trial_id AS step, ancestor AS model_id, "at"
        FROM trials JOIN ancestry USING (model_id)
        WHERE study_id = ?
        ORDER BY "at", trial_id, distance DESC
    """,
}


@dataclass(frozen=True)
class Reference:
    """The point that bounds the volume."""

    point: Mapping[str, float]
    """By metric, in its unit."""
    origin: Mapping[str, str]
    """Where each coordinate is from."""

    def of(self, signs: Mapping[str, float]) -> Floats:
        """The point turned so that smaller is better."""
        return np.array([sign * self.point[metric] for metric, sign in signs.items()], float)

    @property
    def row(self) -> Row:
        """`<metric>_reference` and `<metric>_reference_from` of each objective."""
        pairs = ((f"{metric}_reference", value) for metric, value in self.point.items())
        return {**dict(pairs), **{f"{metric}_reference_from": text for metric, text in self.origin.items()}}


def hypervolume(
    views: Views,
    objectives: Objectives,
    reference: Mapping[str, float] | None = None,
    *,
    study: str | None = None,
    ids: Iterable[str] | None = None,
) -> pa.Table:
    """The volume of what the front beats, up to a reference point; exact for any number of objectives.

    Without a reference point each coordinate is the worst value that the metric's definition allows; where it allows
    any, the worst value of the base models; where they lack the metric, the worst of all models. None of these moves
    when a model is added to the bases, except the last. A model that is no better than the reference point on one
    objective adds nothing.

    Args:
        views: The store.
        objectives: As `front` takes and judges them.
        reference: Value by objective; objectives that it leaves out get the usual one.
        study: Only models that this study's trials made or passed.
        ids: Models to choose from; without it all of them.

    Returns:
        One row: hypervolume (in the product of the objectives' units), share (of the box between the reference point
        and the best value that the definitions allow, in [0, 1]; null where one allows any), models (that have all
        objectives), on_front, adding (of those on the front, models better than the reference point on all
        objectives), and of each objective `<metric>_reference` and `<metric>_reference_from` (given, worst possible
        value, worst base model, worst model).

    Raises:
        NotComparableError: As `front` does, if the reference names another metric, or there is none for an objective.
        ModelNotFoundError: If the store has no model of one of the ids.
    """
    found = judged(views, objectives, study=study, ids=ids)
    corner = _reference(views, found.signs, reference or {})
    point = corner.of(found.signs)
    values = found.of(found.complete).values
    front = values[not_dominated(values)]
    volume = volume_of(front, point)
    row = {
        "hypervolume": volume,
        "share": _share(views, found, volume, point),
        "models": len(values),
        "on_front": len(front),
        "adding": int((front < point).all(axis=1).sum()),
        **corner.row,
    }
    return pa.table({name: pa.array([value], _type(value)) for name, value in row.items()})


def hypervolume_history(
    views: Views,
    objectives: Objectives,
    reference: Mapping[str, float] | None = None,
    *,
    study: str | None = None,
    by: str = "model",
) -> pa.Table:
    """How the hypervolume grew, model by model or trial by trial.

    Args:
        views: The store.
        objectives: As `front` takes and judges them.
        reference: As `hypervolume` takes it.
        study: Only models that this study's trials made or passed.
        by: model (in order of created_at) or trial (of the study, in order of its end; a trial counts for all models
            on its way, unless an earlier trial did).

    Returns:
        A row per model or trial: number (from 1), model_id or trial_id, at, models (that have all objectives, so far),
        hypervolume, gained (by this one); then the reference point as `hypervolume` gives it.

    Raises:
        NotComparableError: As `hypervolume` does, on another `by`, or by trial without a study.
    """
    if by not in _STEPS:
        raise NotComparableError(f"a history cannot go by '{by}'. Allowed: {', '.join(_STEPS)}.")
    if by == "trial" and study is None:
        raise NotComparableError("a history by trial is that of one study: name the study.")
    found = judged(views, objectives, study=study)
    corner = _reference(views, found.signs, reference or {})
    place = {model_id: index for index, model_id in enumerate(found.ids)}
    steps: dict[str, tuple[object, list[int]]] = {}
    for row in rows(views, _STEPS[by], [study] if by == "trial" else []):
        if row["model_id"] in place:
            steps.setdefault(row["step"], (row["at"], []))[1].append(place[row["model_id"]])
    grown = _grown(found, [places for _, places in steps.values()], corner.of(found.signs))
    head = {
        "number": pa.array(range(1, len(steps) + 1), pa.int64()),
        f"{by}_id": pa.array(list(steps), pa.string()),
        "at": pa.array([at for at, _ in steps.values()], pa.timestamp("us", tz="UTC")),
    }
    rest = {name: pa.array([value] * len(steps), _type(value)) for name, value in corner.row.items()}
    return pa.table(head | grown | rest)


def volume_of(points: Floats, reference: Floats) -> float:
    """Volume between the points and a reference point, where smaller is better.

    Args:
        points: (points, objectives), without NaN.
        reference: (objectives,); points that are not below it everywhere add nothing.
    """
    inside = minimal(points[(points < reference).all(axis=1)])
    return _volume(inside, reference) if len(inside) else 0.0


def added_volume(point: Floats, others: Floats, reference: Floats) -> float:
    """How much a point adds to the volume of others.

    Args:
        point: (objectives,).
        others: (points, objectives).
        reference: As `volume_of` takes it.
    """
    if not (point < reference).all():
        return 0.0
    return float(np.prod(reference - point)) - volume_of(np.maximum(others, point), reference)


def _volume(points: Floats, reference: Floats) -> float:
    """Of minimal points below the reference."""
    if points.shape[1] == 1:
        return float(reference[0] - points[:, 0].min())
    if points.shape[1] == 2:
        falls = np.diff(points[:, 1], prepend=reference[1])
        return float(((reference[0] - points[:, 0]) * -falls).sum())
    # Between two values of the last objective the slice is the same: that of the points that are better there.
    points = points[np.argsort(points[:, -1])]
    depths = np.diff(points[:, -1], append=reference[-1])
    if points.shape[1] == 3:
        slices = _areas(points[:, :2].tolist(), (float(reference[0]), float(reference[1])))
    else:
        slices = (_volume(minimal(points[: end + 1, :-1]), reference[:-1]) for end in range(len(points)))
    return float(sum(depth * size for depth, size in zip(depths.tolist(), slices, strict=True)))


def _areas(points: Sequence[Sequence[float]], corner: tuple[float, float]) -> Iterator[float]:
    """Area of the first point, of the first two, and so on."""
    stairs, area = Staircase(), 0.0
    for x, y in points:
        if not stairs.covers(x, y):
            area += stairs.gain(x, y, corner)
            stairs.add(x, y)
        yield area


def _grown(found: Judged, steps: Sequence[Sequence[int]], reference: Floats) -> dict[str, pa.Array]:
    values, complete = found.values, found.complete
    best, seen = np.empty((0, values.shape[1])), set[int]()
    counted, gains = [], []
    for places in steps:
        go_on()
        fresh = [place for place in dict.fromkeys(places) if place not in seen and complete[place]]
        seen.update(fresh)
        gained = 0.0
        for point in values[fresh]:
            if (point < reference).all() and not (best <= point).all(axis=1).any():
                gained += added_volume(point, best, reference)
                best = minimal(np.vstack([best, point]))
        counted.append(len(seen))
        gains.append(gained)
    return {
        "models": pa.array(counted, pa.int64()),
        "hypervolume": pa.array(np.cumsum(np.asarray(gains, float))),
        "gained": pa.array(gains, pa.float64()),
    }


def _reference(views: Views, signs: Mapping[str, float], given: Mapping[str, float]) -> Reference:
    for metric in given:
        if metric not in signs:
            raise NotComparableError(f"the reference point names '{metric}', which is not an objective: leave it out.")
    limits = {row["metric"]: row for row in metric_definitions(views).to_pylist()}
    everything = models(views)
    bases = of_ids(everything, dict.fromkeys(everything["root"].to_pylist()))
    point, origin = {}, {}
    for metric, sign in signs.items():
        candidates = (
            (given.get(metric), GIVEN),
            (limits[metric]["max" if sign > 0 else "min"], WORST_POSSIBLE),
            (_worst(bases, metric, sign), WORST_BASE),
            (_worst(everything, metric, sign), WORST_MODEL),
        )
        usable = [(float(value), text) for value, text in candidates if value is not None and np.isfinite(value)]
        if not usable:
            raise NotComparableError(
                f"there is no reference point for '{metric}': no model was measured. Give one as reference."
            )
        point[metric], origin[metric] = usable[0]
    return Reference(point, origin)


def _worst(table: pa.Table, metric: str, sign: float) -> float | None:
    values = numbers(table, metric)
    there = values[np.isfinite(values)]
    return float(sign * (sign * there).max()) if len(there) else None


def _share(views: Views, found: Judged, volume: float, reference: Floats) -> float | None:
    limits = {row["metric"]: row for row in metric_definitions(views).to_pylist()}
    best = [limits[metric]["min" if sign > 0 else "max"] for metric, sign in found.signs.items()]
    if any(value is None for value in best):
        return None
    box = float(np.prod(reference - np.array(list(found.signs.values())) * np.array(best, float)))
    return volume / box if box > 0 else None


def _type(value: object) -> pa.DataType:
    if isinstance(value, str):
        return pa.string()
    return pa.int64() if isinstance(value, int) else pa.float64()
