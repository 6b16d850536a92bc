"""Instances on which compression as such, not one model by chance, changes the answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import pyarrow as pa

from cc_ray.compare.asking import answered, comparable, known, named_in
from cc_ray.compare.behaviour.summary import class_names
from cc_ray.errors import NotComparableError
from cc_ray.views import Views

_EXEMPLARS: Final = """
    WITH votes AS (
        SELECT instance, any_value(label) AS label, prediction, {is_base} AS of_base, count(*) AS votes
        FROM predictions
        WHERE {models}
        GROUP BY instance, prediction, of_base
    ),
    shares AS (
        SELECT
            *, votes / sum(votes) OVER population AS share, votes = max(votes) OVER population AS modal
        FROM votes
        WINDOW population AS (PARTITION BY instance, of_base)
    ),
    base AS (
        SELECT
            instance, any_value(label) AS label, min(prediction) AS prediction, any_value(share) AS share,
            count(*) > 1 AS tied
        FROM shares
        WHERE of_base AND modal
        GROUP BY instance
    ),
    compressed AS (
        SELECT
            instance, min(prediction) AS prediction, list(prediction) AS predictions, any_value(share) AS share,
            count(*) > 1 AS tied
        FROM shares
        WHERE NOT of_base AND modal
        GROUP BY instance
    )
    SELECT
        instance, base.label, base.prediction AS base_prediction, base.share AS base_agreement,
        compressed.prediction, compressed.share AS agreement, base.prediction = base.label AS base_correct,
        compressed.prediction = base.label AS correct, base.tied OR compressed.tied AS tied
    FROM base
    JOIN compressed USING (instance)
    WHERE NOT list_contains(predictions, base.prediction)
    ORDER BY least(base.share, compressed.share) DESC, base.share + compressed.share DESC, instance
"""


def exemplars(views: Views, compressed_ids: Iterable[str], base_ids: Iterable[str]) -> pa.Table:
    """Compression-identified exemplars: instances whose modal prediction compression changes.

    The modal prediction is the most frequent one over a population of models. Several that are equally frequent: of the
    base population the first class counts; of the compressed one the base's modal prediction if it is among them, so
    that a tie alone never makes an exemplar, else the first class.

    Columns: instance, label, label_name, base_prediction, base_prediction_name, base_agreement (share of the base
    population's models with its modal prediction), prediction, prediction_name, agreement (the same of the compressed
    population), base_correct, correct (the modal prediction is the label), tied (one of the two was a tie). Those on
    which both populations agree most among themselves first. `instances` shows what they look like.

    Args:
        views: The store.
        compressed_ids: Population of compressed models, best alike but for the seed.
        base_ids: Population of models that they are compared with.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If a population is empty, a model stands in both, they are of several tasks, or one has no
            predictions.

    Source: Hooker et al., 2019, "What Do Compressed Deep Neural Networks Forget?".
    """
    compressed, base = known(views, compressed_ids), known(views, base_ids)
    _check(compressed, base)
    comparable(views, compressed + base, base[0])
    answered(views, compressed + base)
    (is_base, bases), (chosen, given) = named_in(base), named_in(compressed + base)
    found = views.sql(_EXEMPLARS.format(is_base=is_base, models=chosen), [*bases, *given])
    names = class_names(views, base[0])
    for name in ("label", "base_prediction", "prediction"):
        labels = [names.get(label, str(label)) for label in found[name].to_pylist()]
        place = found.column_names.index(name) + 1
        found = found.add_column(place, f"{name}_name", pa.array(labels, pa.string()))
    return found


def _check(compressed: Sequence[str], base: Sequence[str]) -> None:
    if not compressed or not base:
        empty = "base" if compressed else "compressed"
        raise NotComparableError(f"the {empty} population has no models: name at least one in each.")
    both = [model_id for model_id in compressed if model_id in set(base)]
    if both:
        raise NotComparableError(f"{', '.join(both)} cannot be in both populations: take it out of one of them.")
