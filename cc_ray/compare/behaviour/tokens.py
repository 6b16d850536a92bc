"""Language models token by token: what each scored token costs a model more than a base, and where in a text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
import pyarrow as pa
import scipy

from cc_ray.compare.asking import comparable, marks, one_task, rows
from cc_ray.compare.behaviour.aligned import names_of
from cc_ray.compare.behaviour.generation import ended, resampled
from cc_ray.errors import NotComparableError
from cc_ray.views import Views

SortTokens = Literal["change", "loss", "instance"]
"""In which order: by the largest change of the mean loss against the base, by the largest loss, by identity."""
FIRST_BUCKET: Final = 8
"""Tokens of the first bucket of positions; each later one holds all positions to twice where it begins."""
LEAST: Final = 3
"""How often a token must have been scored to be listed."""

_TOKENS: Final = pa.schema(
    {
        "instance": pa.int64(),
        "model_id": pa.string(),
        "tokens": pa.list_(pa.string()),
        "base_losses": pa.list_(pa.float32()),
        "losses": pa.list_(pa.float32()),
        "reason": pa.string(),
    }
)
_HURT: Final = pa.schema(
    {
        "token": pa.string(),
        "n": pa.int64(),
        "instances": pa.int64(),
        "base_loss": pa.float64(),
        "loss": pa.float64(),
        "difference": pa.float64(),
        "difference_low": pa.float64(),
        "difference_high": pa.float64(),
        "total": pa.float64(),
        "share": pa.float64(),
    }
)
_BUCKETS: Final = pa.schema(
    {
        "model_id": pa.string(),
        "name": pa.string(),
        "first": pa.int64(),
        "last": pa.int64(),
        "instances": pa.int64(),
        "tokens": pa.int64(),
        "base_perplexity": pa.float64(),
        "perplexity": pa.float64(),
        "ratio": pa.float64(),
        "ratio_low": pa.float64(),
        "ratio_high": pa.float64(),
    }
)
_ORDERS: Final[Mapping[str, str]] = {
    "change": "max(abs(own.loss - base.loss)) DESC NULLS LAST",
    "loss": "max(own.loss) DESC NULLS LAST",
    "instance": "instance",
}
_PAIRED: Final = """
    paired AS (
        SELECT own.model_id, instance, own.token_losses AS own, base.token_losses AS base
        FROM predictions AS own
        JOIN (SELECT instance, token_losses FROM predictions WHERE model_id = ?) AS base USING (instance)
        WHERE own.model_id IN {models} AND len(own.token_losses) = len(base.token_losses)
    )
"""


@dataclass(frozen=True)
class Tokens:
    """One page of instances, token by token."""

    table: pa.Table
    """A row per instance and model: instance, model_id, tokens (as text; null where the store has none), base_losses
    and losses (of each token, in nats), reason (why there are no losses beside each other, else null)."""
    count: int
    """How many instances there are on all pages."""


def scores_tokens(views: Views, model: str) -> bool:
    """Whether the loss of each token is recorded of a model.

    Args:
        views: The store.
        model: Model.
    """
    text = "SELECT true FROM predictions WHERE model_id = ? AND token_losses IS NOT NULL LIMIT 1"
    return bool(rows(views, text, [model]))


def token_losses(
    views: Views, ids: Iterable[str], base: str, *, sort: SortTokens = "change", limit: int = 20, offset: int = 0
) -> Tokens:
    """One page of instances with the loss of each scored token, under a base and under models.

    Args:
        views: The store.
        ids: Models; the base may be among them, and is left out.
        base: Model that they are compared with.
        sort: Order of the instances.
        limit: Instances on a page.
        offset: Instances on the pages before.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If the models are of several tasks, the losses of one's tokens are not recorded, or `sort`
            is unknown.
    """
    if sort not in get_args(SortTokens):
        raise NotComparableError(f"sort='{sort}' is not known. Allowed: {', '.join(get_args(SortTokens))}.")
    others = _scored(views, ids, base)
    text = f"""
        SELECT instance, count(*) OVER () AS whole
        FROM predictions AS own
        JOIN (SELECT instance, loss FROM predictions WHERE model_id = ? AND token_losses IS NOT NULL) AS base
            USING (instance)
        WHERE model_id IN {marks(others)} AND token_losses IS NOT NULL
        GROUP BY instance
        ORDER BY {_ORDERS[sort]}, instance
        LIMIT ? OFFSET ?
    """
    page = rows(views, text, [base, *others, limit, offset])
    wanted = [row["instance"] for row in page]
    return Tokens(_page(views, wanted, others, base), page[0]["whole"] if page else 0)


def hurt_tokens(views: Views, model: str, base: str, limit: int = 30, least: int = LEAST) -> pa.Table:
    """The tokens whose loss rose most under a model, over all instances that it and a base scored alike.

    Columns: token, n (how often it was scored), instances (with it), base_loss, loss (means, in nats), difference
    (loss - base_loss), difference_low, difference_high (95 %, Student's interval of a ratio over instances; null where
    one instance has the token), total (sum of the differences, in nats), share (of the sum of the differences of all
    tokens; null where they sum to nothing or less). The largest total first: a token that is a little worse everywhere
    costs more than one that is much worse once.

    Args:
        views: The store.
        model: Model.
        base: Model that it is compared with.
        limit: Number of tokens at most.
        least: How often a token must have been scored.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If the models are of several tasks, or the losses of one's tokens are not recorded.

    Source: Cochran, 1977, "Sampling Techniques", chapter 6 (variance of a ratio of sums).
    """
    others = _scored(views, [model], base)
    text = f"""
        WITH {_PAIRED.format(models=marks(others))},
        each AS (
            SELECT instance, unnest(token_texts) AS token, unnest(own) AS own, unnest(base) AS base
            FROM paired
            JOIN instances USING (instance)
            WHERE task_id = ? AND len(token_texts) = len(own)
        ),
        by_instance AS (
            SELECT token, count(*) AS n, sum(base) AS base, sum(own) AS own, sum(own - base) AS change
            FROM each
            GROUP BY token, instance
        ),
        whole AS (SELECT sum(change) AS sum FROM by_instance)
        SELECT
            token, sum(n)::BIGINT AS n, count(*) AS instances, sum(base) / sum(n) AS base_loss,
            sum(own) / sum(n) AS loss, sum(change) / sum(n) AS difference,
            sqrt(
                greatest(0, sum(change * change) - 2 * difference * sum(change * n) + difference ** 2 * sum(n * n))
                * count(*) / (count(*) - 1)
            ) / sum(n) AS deviation,
            sum(change) AS total,
            CASE WHEN any_value(whole.sum) > 0 THEN sum(change) / any_value(whole.sum) END AS share
        FROM by_instance, whole
        GROUP BY token
        HAVING sum(n) >= ?
        ORDER BY total DESC, token
        LIMIT ?
    """
    task = one_task(views, [base])
    return _between_ends(views.sql(text, [base, *others, task, least, limit]))


def _between_ends(found: pa.Table) -> pa.Table:
    """The tokens with the ends of the differences' intervals in place of their deviations."""
    instances, difference, deviation = (
        found[name].to_numpy().astype(float) for name in ("instances", "difference", "deviation")
    )
    reach = scipy.stats.t.ppf(0.975, np.maximum(instances - 1, 1)) * deviation
    ends = {"difference_low": difference - reach, "difference_high": difference + reach}
    for name, values in ends.items():
        found = found.append_column(name, pa.array(np.where(instances > 1, values, np.nan), from_pandas=True))
    return found.select(_HURT.names).cast(_HURT)


def perplexity_by_position(views: Views, ids: Iterable[str], base: str) -> pa.Table:
    """Perplexity beside a base's by the place of tokens in their texts, in buckets that double.

    Columns: model_id, name, first, last (positions of the bucket, from 0), instances, tokens, base_perplexity,
    perplexity (exp of the mean loss), ratio (the model's over the base's), ratio_low, ratio_high (95 %, percentiles of
    a bootstrap over instances, paired). Rows of a model by first; models in the order of the ids.

    Args:
        views: The store.
        ids: Models; the base may be among them, and is left out.
        base: Model that they are compared with.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If the models are of several tasks, or the losses of one's tokens are not recorded.

    Source: Efron, Tibshirani, 1993, "An Introduction to the Bootstrap".
    """
    others = _scored(views, ids, base)
    text = f"""
        WITH {_PAIRED.format(models=marks(others))},
        each AS (
            SELECT model_id, instance, unnest(range(len(own))) AS position, unnest(own) AS own, unnest(base) AS base
            FROM paired
        )
        SELECT
            model_id,
            CASE WHEN position < {FIRST_BUCKET} THEN 0
                ELSE floor(log2(position / {FIRST_BUCKET}))::INT + 1 END AS bucket,
            count(*)::DOUBLE AS n, sum(own)::DOUBLE AS own, sum(base)::DOUBLE AS base
        FROM each
        GROUP BY model_id, bucket, instance
        ORDER BY instance
    """
    found = views.sql(text, [base, *others])
    names = dict(zip(others, names_of(views, others), strict=True))
    columns = {name: found[name].to_numpy() for name in ("bucket", "n", "own", "base")}
    models = np.asarray(found["model_id"].to_numpy(zero_copy_only=False)).astype(str)
    answers = []
    for model_id in others:
        mine = models == model_id
        for bucket in np.unique(columns["bucket"][mine]).tolist():
            place = mine & (columns["bucket"] == bucket)
            n, own, before = (columns[name][place] for name in ("n", "own", "base"))
            drawn = resampled(np.stack([own - before, n], axis=1))
            ratio = np.exp((own - before).sum() / n.sum())
            answers.append(
                {
                    "model_id": model_id,
                    "name": names[model_id],
                    "first": 0 if not bucket else FIRST_BUCKET * 2 ** (bucket - 1),
                    "last": FIRST_BUCKET * 2**bucket - 1,
                    "instances": len(n),
                    "tokens": int(n.sum()),
                    "base_perplexity": float(np.exp(before.sum() / n.sum())),
                    "perplexity": float(np.exp(own.sum() / n.sum())),
                    **ended("ratio", ratio, np.exp(drawn[:, 0] / drawn[:, 1])),
                }
            )
    return pa.Table.from_pylist(answers, _BUCKETS)


def _scored(views: Views, ids: Iterable[str], base: str) -> list[str]:
    """The models without the base, if the losses of their tokens are recorded, and of the base's, too."""
    others = [model_id for model_id in comparable(views, ids, base) if model_id != base]
    if not others:
        raise NotComparableError("a model cannot be compared with itself alone: name a second model.")
    for model_id in (base, *others):
        if not scores_tokens(views, model_id):
            raise NotComparableError(
                f"the losses of single tokens are not recorded of {model_id}: import them (`token_losses`), or leave "
                "it out."
            )
    return others


def _page(views: Views, wanted: Sequence[int], others: Sequence[str], base: str) -> pa.Table:
    text = f"""
        SELECT
            instance, own.model_id, token_texts, own.token_losses AS own, base.token_losses AS base
        FROM predictions AS own
        JOIN (SELECT instance, token_losses FROM predictions WHERE model_id = ?) AS base USING (instance)
        LEFT JOIN (SELECT instance, token_texts FROM instances WHERE task_id = ?) AS shown USING (instance)
        WHERE own.model_id IN {marks(others)} AND instance IN {marks(wanted)} AND own.token_losses IS NOT NULL
    """
    task = one_task(views, [base])
    found = rows(views, text, [base, task, *others, *wanted]) if wanted else []
    places = {instance: place for place, instance in enumerate(wanted)}
    found.sort(key=lambda row: (places[row["instance"]], others.index(row["model_id"])))
    return pa.Table.from_pylist([_paired(row) for row in found], _TOKENS)


def _paired(row: Mapping[str, object]) -> dict[str, object]:
    own, base, texts = (row[name] or [] for name in ("own", "base", "token_texts"))
    assert isinstance(own, list)
    assert isinstance(base, list)
    assert isinstance(texts, list)
    kept = {"instance": row["instance"], "model_id": row["model_id"]}
    if len(own) != len(base):
        said = f"it scored {len(own):,} tokens and the base {len(base):,}: tokenisers that differ do not compare"
        return kept | {"reason": said}
    return kept | {"losses": own, "base_losses": base, "tokens": texts if len(texts) == len(own) else None}
