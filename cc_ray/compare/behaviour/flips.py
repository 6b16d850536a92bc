"""Which instances are right under one model and wrong under another, and what became of a base's answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cc_ray.compare.asking import comparable, known
from cc_ray.compare.behaviour.aligned import aligned
from cc_ray.compare.behaviour.groups import flags
from cc_ray.compare.behaviour.pairing import Pair, each_paired, pairs
from cc_ray.compare.behaviour.summary import named
from cc_ray.errors import NotComparableError
from cc_ray.views import Views

Flags = NDArray[np.bool_]

OUTCOMES: Final = (
    ("right", "right"),
    ("right", "wrong"),
    ("wrong", "right"),
    ("wrong", "same wrong"),
    ("wrong", "other wrong"),
)
"""What the base's answer is, and what the model's."""


def flip_matrix(views: Views, ids: Iterable[str]) -> pa.Table:
    """How many instances are right under one model and wrong under another, for each two of any number of models.

    Columns: model_id, other_id, name, other_name, n (instances that both answered), lost (right under the model, wrong
    under the other), share (of n; null where they have no instance in common). A row for each ordered pair of two
    different models, in the order of the ids: the row of the pair turned round has what is gained.

    Args:
        views: The store.
        ids: Models, two or more.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If there are fewer than two, they are of several tasks, or one has no predictions, or none
            in common with the first.
    """
    wanted = known(views, ids)
    if len(wanted) < 2:
        raise NotComparableError(f"{len(wanted)} models are named: name at least two to compare with each other.")
    comparable(views, wanted, wanted[0])
    found = aligned(views, wanted, wanted[0])
    both = _common(found.answered, found.answered)
    lost = _common(found.correct, found.answered & ~found.correct)
    first, second = np.nonzero(~np.eye(len(wanted), dtype=bool))
    ids_, names, n = np.array(found.ids), np.array(found.names), both[first, second]
    counts = lost[first, second]
    return pa.table(
        {
            "model_id": pa.array(ids_[first], pa.string()),
            "other_id": pa.array(ids_[second], pa.string()),
            "name": pa.array(names[first], pa.string()),
            "other_name": pa.array(names[second], pa.string()),
            "n": n,
            "lost": counts,
            "share": pa.array(counts / np.maximum(n, 1), mask=n == 0),
        }
    )


def outcomes(views: Views, ids: Iterable[str], base: str) -> pa.Table:
    """What became of a base's right and wrong answers under models.

    Columns: model_id, name, base_id, base_outcome (right or wrong), outcome (right; wrong, where the base is right;
    same wrong and other wrong, where both are wrong with the same and with another prediction), count, share (of all
    instances that both answered). Five rows a model, in the order of the ids.

    Args:
        views: The store.
        ids: Models.
        base: Model that they are compared with; or "@parent" or "@base".

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If the models are of several tasks, or one has no predictions.
    """
    wanted = pairs(views, ids, base)
    found = pa.concat_tables([_outcomes(pair, table) for pair, table in each_paired(views, wanted)])
    columns = ["model_id", "name", "base_id", "base_outcome", "outcome", "count", "share"]
    return named(views, found, wanted).select(columns)


def _common(flags_: Flags, others: Flags) -> NDArray[np.int64]:
    """Of how many instances each row of the one and each row of the other are true, (models, models)."""
    # Bits are counted: floats would be exact up to a size only, and their product waits for other threads.
    rows, columns = np.packbits(flags_, axis=1), np.packbits(others, axis=1)
    return np.stack([np.bitwise_count(row & columns).sum(axis=1, dtype=np.int64) for row in rows])


def _outcomes(pair: Pair, table: pa.Table) -> pa.Table:
    correct, base_correct, agree = (flags(table[name]) for name in ("correct", "base_correct", "agree"))
    wrong = ~correct & ~base_correct
    each = (correct & base_correct, base_correct & ~correct, correct & ~base_correct, wrong & agree, wrong & ~agree)
    counts = np.array([np.count_nonzero(chosen) for chosen in each])
    return pa.table(
        {
            "model_id": pa.repeat(pair.model, len(OUTCOMES)),
            "base_id": pa.repeat(pair.base, len(OUTCOMES)),
            "base_outcome": [before for before, _ in OUTCOMES],
            "outcome": [after for _, after in OUTCOMES],
            "count": counts,
            "share": counts / max(len(table), 1),
        }
    )
