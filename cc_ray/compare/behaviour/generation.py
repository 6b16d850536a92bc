"""Models that generate text: how well they predict it, how often they are right, how far they are from a base."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cc_ray.compare.asking import AMONG, comparable, marks, rows
from cc_ray.compare.behaviour.aligned import names_of
from cc_ray.compare.statistics.intervals import LEVEL, mcnemar, paired_bootstrap, wilson
from cc_ray.errors import NotComparableError
from cc_ray.views import Views

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Row = dict[str, Any]

RESAMPLES: Final = 1_000
"""Draws of instances behind an interval."""
PERMUTATIONS: Final = 4_999
"""Draws of signs behind a p-value: none is smaller than 1 / (`PERMUTATIONS` + 1)."""
AT_ONCE: Final = 2**20
"""Numbers that are drawn at once: bounds memory."""

_ENDS: Final = ("", "_low", "_high")
_SCHEMA: Final = pa.schema(
    {
        "model_id": pa.string(),
        "name": pa.string(),
        "n": pa.int64(),
        "tokens": pa.int64(),
        **{f"perplexity{end}": pa.float64() for end in _ENDS},
        **{f"exact_match{end}": pa.float64() for end in _ENDS},
        **{f"f1{end}": pa.float64() for end in _ENDS},
        "common": pa.int64(),
        **{f"perplexity_ratio{end}": pa.float64() for end in _ENDS},
        **{f"exact_match_difference{end}": pa.float64() for end in _ENDS},
        "lost": pa.int64(),
        "gained": pa.int64(),
        "mcnemar_p": pa.float64(),
        **{f"f1_difference{end}": pa.float64() for end in _ENDS},
        "f1_p": pa.float64(),
        "kl_mean": pa.float64(),
        "kl_p90": pa.float64(),
        "kl_p99": pa.float64(),
        "same_top": pa.float64(),
    }
)


@dataclass(frozen=True)
class _Texts:
    """One model's answers, by instance; NaN for null."""

    instances: Integers
    columns: Mapping[str, Floats]

    def at(self, places: Integers) -> _Texts:
        return _Texts(self.instances[places], {name: values[places] for name, values in self.columns.items()})


def generation(views: Views, ids: Iterable[str], base: str) -> pa.Table:
    """Compare models that generate text with a base: perplexity, exact match, F1, divergence per token.

    Columns: model_id, name, n (instances answered), tokens (scored); perplexity (exp of the mean loss over all tokens);
    exact_match (share of answers that equal a reference, Wilson interval), f1 (mean over instances). Then, over the
    instances that the base answered too, common (their number); perplexity_ratio (the model's over the base's; null
    where the two count different numbers of tokens in a text: losses of different tokenisers do not compare);
    exact_match_difference, lost, gained (instances that only the base, only the model gets right), mcnemar_p;
    f1_difference, f1_p (permutation of signs within pairs, two-sided); kl_mean (KL divergence from the base per token,
    in nats, mean over all tokens), kl_p90, kl_p99 (percentiles over instances of each one's mean over its tokens),
    same_top (share of tokens on which both put the same token first). With _low and _high the ends of 95 % intervals:
    where nothing else is said percentiles of a bootstrap over instances, paired for differences. Null where not
    recorded: KL and same_top are known only against a model's own base model or parent. A row per model, in the order
    of the ids.

    Perplexity, KL and same_top are of the tokens that were scored when the models were evaluated, not of the generated
    text.

    Args:
        views: The store.
        ids: Models; the base may be among them.
        base: Model that they are compared with.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If the models are of several tasks, one has no generated answers, or none in common with the
            base.

    Source: Rajpurkar et al., 2016, "SQuAD" (exact match, F1); Efron, Tibshirani, 1993, "An Introduction to the
    Bootstrap"; McNemar, 1947; Fisher, 1935, "The Design of Experiments" (permutation of signs).
    """
    wanted = comparable(views, ids, base)
    found = _read(views, list(dict.fromkeys([base, *wanted])))
    roles = _roles(views, wanted, base)
    answers = []
    for model_id, name in zip(wanted, names_of(views, wanted), strict=True):
        own, beside = _common(found[model_id], found[base])
        if not len(own.instances):
            raise NotComparableError(
                f"{model_id} and the base {base} answered no instance in common: leave it out of the comparison."
            )
        row = {"model_id": model_id, "name": name, **_alone(found[model_id])}
        answers.append({**row, **_beside(own, beside), **_divergence(own, roles[model_id])})
    return pa.Table.from_pylist(answers, _SCHEMA)


_NUMBERS: Final = (
    "correct", "f1", "loss", "tokens", "kl_from_base", "kl_from_parent", "same_top_from_base", "same_top_from_parent",
)  # fmt: skip


def _read(views: Views, ids: Sequence[str]) -> dict[str, _Texts]:
    columns = ", ".join(f"{name}::DOUBLE AS {name}" for name in _NUMBERS)
    text = f"""
        SELECT model_id, instance, label IS NOT NULL AS classified, {columns}
        FROM predictions
        WHERE model_id IN {marks(ids)}
        ORDER BY model_id, instance
    """
    table = views.sql(text, list(ids))
    models, starts = np.unique(table["model_id"].to_numpy().astype(str), return_index=True)
    lengths = np.diff([*starts.tolist(), len(table)])
    parts = {
        model_id: table.slice(start, count)
        for model_id, start, count in zip(models.tolist(), starts.tolist(), lengths.tolist(), strict=True)
    }
    for model_id in ids:
        if model_id not in parts:
            raise NotComparableError(f"there are no answers of {model_id}: leave it out of the comparison.")
        if any(parts[model_id]["classified"].to_pylist()):
            raise NotComparableError(f"{model_id} predicts classes and generates no text: ask `behaviours` about it.")
    return {
        model_id: _Texts(
            part["instance"].to_numpy(),
            {name: np.asarray(part[name].to_numpy(), np.float64) for name in _NUMBERS},
        )
        for model_id, part in parts.items()
    }


def _roles(views: Views, ids: Sequence[str], base: str) -> dict[str, list[str]]:
    """What the base is to each model: base, parent, both or nothing; or the model itself."""
    text = f"""
        SELECT model_id, min(ancestor) FILTER (distance = 1) AS parent, arg_max(ancestor, distance) AS base
        FROM ancestry WHERE model_id {AMONG} GROUP BY model_id
    """
    return {
        row["model_id"]: ["itself"] if row["model_id"] == base else [r for r in ("base", "parent") if row[r] == base]
        for row in rows(views, text, [list(ids)])
    }


def _common(own: _Texts, base: _Texts) -> tuple[_Texts, _Texts]:
    _, mine, theirs = np.intersect1d(own.instances, base.instances, assume_unique=True, return_indices=True)
    return own.at(mine), base.at(theirs)


def _alone(own: _Texts) -> Row:
    n = len(own.instances)
    row: Row = {"n": n}
    scored = _there(own, "loss", "tokens")
    if len(scored.instances):
        loss, tokens = scored.columns["loss"], scored.columns["tokens"]
        sums = resampled(np.stack([loss * tokens, tokens], axis=1))
        row["tokens"] = int(tokens.sum())
        row |= ended("perplexity", np.exp((loss @ tokens) / tokens.sum()), np.exp(sums[:, 0] / sums[:, 1]))
    judged = _there(own, "correct", "f1")
    if count := len(judged.instances):
        right, values = judged.columns["correct"].sum(), judged.columns["f1"]
        low, high = wilson(right, count)
        row |= {"exact_match": right / count, "exact_match_low": float(low), "exact_match_high": float(high)}
        row |= ended("f1", values.mean(), resampled(values[:, None])[:, 0] / count)
    return row


def _beside(own: _Texts, base: _Texts) -> Row:
    return {"common": len(own.instances), **_perplexities(own, base), **_right(own, base)}


def _perplexities(own: _Texts, base: _Texts) -> Row:
    own, base = _both(own, base, "loss", "tokens")
    tokens = own.columns["tokens"]
    if not len(tokens) or not np.array_equal(tokens, base.columns["tokens"]):
        return {}
    change = (own.columns["loss"] - base.columns["loss"]) * tokens
    sums = resampled(np.stack([change, tokens], axis=1))
    return ended("perplexity_ratio", np.exp(change.sum() / tokens.sum()), np.exp(sums[:, 0] / sums[:, 1]))


def _right(own: _Texts, base: _Texts) -> Row:
    own, base = _both(own, base, "correct", "f1")
    count = len(own.instances)
    if not count:
        return {}
    mine, theirs = own.columns["correct"] > 0, base.columns["correct"] > 0
    lost, gained = int((theirs & ~mine).sum()), int((mine & ~theirs).sum())
    low, high = paired_bootstrap(lost, gained, count)
    change = own.columns["f1"] - base.columns["f1"]
    return {
        "exact_match_difference": (gained - lost) / count,
        "exact_match_difference_low": float(low[0]),
        "exact_match_difference_high": float(high[0]),
        "lost": lost,
        "gained": gained,
        "mcnemar_p": float(mcnemar(lost, gained)),
        **ended("f1_difference", change.mean(), resampled(change[:, None])[:, 0] / count),
        "f1_p": _permuted(change),
    }


def _divergence(own: _Texts, roles: Sequence[str]) -> Row:
    if "itself" in roles:
        return {"kl_mean": 0.0, "kl_p90": 0.0, "kl_p99": 0.0, "same_top": 1.0}
    row: Row = {}
    # A base model that is also the parent may be recorded as either.
    for role in reversed(roles):
        known = _there(own, f"kl_from_{role}", "tokens")
        if len(known.instances):
            kl = known.columns[f"kl_from_{role}"]
            row["kl_mean"] = float(np.average(kl, weights=known.columns["tokens"]))
            row["kl_p90"], row["kl_p99"] = np.quantile(kl, [0.9, 0.99]).tolist()
        known = _there(own, f"same_top_from_{role}", "tokens")
        if len(known.instances):
            shares = known.columns[f"same_top_from_{role}"]
            row["same_top"] = float(np.average(shares, weights=known.columns["tokens"]))
    return row


def _there(own: _Texts, *names: str) -> _Texts:
    """The instances of which all of these are known."""
    return own.at(np.flatnonzero(~np.isnan([own.columns[name] for name in names]).any(axis=0)))


def _both(own: _Texts, base: _Texts, *names: str) -> tuple[_Texts, _Texts]:
    return _common(_there(own, *names), _there(base, *names))


def ended(name: str, value: Any, drawn: Floats) -> Row:
    """A value with the ends of its 95 % interval, the percentiles of what was drawn."""
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    return {name: float(value), f"{name}_low": low, f"{name}_high": high}


def resampled(values: Floats) -> Floats:
    """Sums of values, (n, k), over `RESAMPLES` draws of n instances with replacement, (`RESAMPLES`, k)."""
    rng, n = np.random.default_rng(0), len(values)
    parts = []
    for count in _portions(RESAMPLES, n):
        # How often each instance is drawn.
        drawn = rng.integers(n, size=(count, n), dtype=np.int32)
        times = np.stack([np.bincount(each, minlength=n) for each in drawn])
        # Of floats the product is by far the quicker.
        parts.append(times.astype(np.float64) @ values)
    return np.concatenate(parts)


def _permuted(change: Floats) -> float:
    """P-value that differences are as likely to be positive as negative, from random signs."""
    # A difference of nothing is the same under either sign.
    moved = change[change != 0]
    if not len(moved):
        return 1.0
    rng, sum_ = np.random.default_rng(0), abs(moved.sum())
    as_large = 0
    for count in _portions(PERMUTATIONS, len(moved)):
        drawn = rng.integers(256, size=(count, -(-len(moved) // 8)), dtype=np.uint8)
        positive = np.unpackbits(drawn, axis=1, count=len(moved)).astype(np.float64) @ moved
        as_large += int((np.abs(2 * positive - moved.sum()) >= sum_ * (1 - 1e-9)).sum())
    return (1 + as_large) / (1 + PERMUTATIONS)


def _portions(total: int, width: int) -> Iterable[int]:
    each = max(1, AT_ONCE // width)
    return [min(each, total - start) for start in range(0, total, each)]
