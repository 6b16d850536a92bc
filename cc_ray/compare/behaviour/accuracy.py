"""Whether models differ in accuracy: tests over many models at once."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from cc_ray.compare.asking import known
from cc_ray.compare.behaviour.aligned import Aligned, aligned
from cc_ray.compare.statistics.intervals import holm
from cc_ray.compare.statistics.significance import Counts, benjamini_hochberg, cochran_q, cohen_h
from cc_ray.errors import NotComparableError
from cc_ray.views import Views


def accuracy_tests(views: Views, ids: Iterable[str], base: str) -> pa.Table:
    """Test of each model whether its accuracy differs from a base's, corrected for having tested them all.

    Columns: model_id, name, n, accuracy, accuracy_low, accuracy_high (Wilson), base_accuracy, difference,
    difference_low, difference_high (paired bootstrap), cohen_h (effect size: 0.2 small, 0.5 medium, 0.8 large), lost,
    gained, flips, mcnemar_p, holm_p (the chance of any false alarm is held), bh_p (Benjamini-Hochberg: the share of
    false alarms is held). A row per model in the order of the ids, the base left out.

    Args:
        views: The store.
        ids: Models.
        base: Model that they are compared with.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If there is no model beside the base, the models are of several tasks, or one has no
            predictions.
    """
    wanted = [model_id for model_id in known(views, ids) if model_id != base]
    found = aligned(views, wanted, base)
    columns = _counts(found).columns()
    p = columns["mcnemar_p"].to_numpy()
    added = {
        "model_id": pa.array(found.ids[1:]),
        "name": pa.array(found.names[1:]),
        "cohen_h": pa.array(cohen_h(columns["accuracy"].to_numpy(), columns["base_accuracy"].to_numpy())),
        "holm_p": pa.array(holm(p)),
        "bh_p": pa.array(benjamini_hochberg(p)),
    }
    return pa.table(columns | added).select(_COLUMNS)


def same_accuracy(views: Views, ids: Iterable[str]) -> pa.Table:
    """Test whether several models are all right equally often (Cochran's Q), before asking which of them differ.

    Columns: models (number), n (instances that all answered), statistic, freedom (degrees of freedom), p. One row.

    Args:
        views: The store.
        ids: Two models or more.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If there are fewer than two, they are of several tasks, one has no predictions, or they have
            no instance in common.
    """
    wanted = known(views, ids)
    if len(wanted) < 2:
        raise NotComparableError(f"{len(wanted)} models are named: name at least two to compare with each other.")
    found = aligned(views, wanted, wanted[0])
    shared = found.answered.all(axis=0)
    if not shared.any():
        raise NotComparableError("there is no instance that all of the models answered: compare fewer of them.")
    test = cochran_q(found.correct[:, shared])
    row = {"models": len(wanted), "n": int(shared.sum()), "statistic": test.statistic, "freedom": test.freedom}
    return pa.Table.from_pylist([row | {"p": test.p}])


_COLUMNS = [
    "model_id", "name", "n", "accuracy", "accuracy_low", "accuracy_high", "base_accuracy", "difference",
    "difference_low", "difference_high", "cohen_h", "lost", "gained", "flips", "mcnemar_p", "holm_p", "bh_p",
]  # fmt: skip


def _counts(found: Aligned) -> Counts:
    flags = (found.answered, found.correct, found.base_correct, found.lost, found.gained)
    return Counts(*(flag[1:].sum(axis=1) for flag in flags))
