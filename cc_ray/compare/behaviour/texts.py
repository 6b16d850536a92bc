"""Generated texts side by side: what models wrote, and word by word how it differs from a base's text."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import pyarrow as pa

from cc_ray.compare.asking import column, comparable, marks, one_task, rows
from cc_ray.errors import NotComparableError
from cc_ray.views import Views

Row = dict[str, Any]

OnlyTexts = Literal["all", "changed", "flipped", "lost", "gained", "wrong"]
"""Which instances: all; where a model writes another text than the base; where only one of base and a model is right;
where only the base is; where only a model is; where every model is wrong."""
SortTexts = Literal["change", "loss", "instance"]
"""In which order: by the largest change of F1 against the base, by the largest loss, by identity."""
LONGEST: Final = 2_000
"""Words of a text that are compared one by one; what follows counts as one piece."""

_CHANGE: Final = pa.struct({"kind": pa.string(), "words": pa.string()})
_ANSWER: Final = pa.struct(
    {
        "model_id": pa.string(),
        "text": pa.string(),
        "correct": pa.bool_(),
        "f1": pa.float32(),
        "loss": pa.float32(),
        "tokens": pa.int64(),
        "changes": pa.list_(_CHANGE),
    }
)
_TEXTS: Final = pa.schema(
    {
        "instance": pa.int64(),
        "references": pa.list_(pa.string()),
        "payload": pa.binary(),
        "payload_type": pa.string(),
        "answers": pa.list_(_ANSWER),
    }
)
_CONDITIONS: Final[Mapping[str, str]] = {
    "all": "true",
    "changed": "bool_or(own.text IS DISTINCT FROM base.text)",
    "flipped": "bool_or(own.correct <> base.correct)",
    "lost": "bool_or(base.correct AND NOT own.correct)",
    "gained": "bool_or(own.correct AND NOT base.correct)",
    "wrong": "bool_and(NOT own.correct)",
}
_ORDERS: Final[Mapping[str, str]] = {
    "change": "max(abs(own.f1 - base.f1)) DESC NULLS LAST",
    "loss": "max(own.loss) DESC NULLS LAST",
    "instance": "instance",
}


@dataclass(frozen=True)
class Texts:
    """One page of generated texts."""

    table: pa.Table
    """A row per instance: instance, references (accepted answers, or null), payload, payload_type, and answers: a list
    with the base's and then each model's model_id, text, correct, f1, loss, tokens, and changes: how its text follows
    from the base's, a list of pieces with their kind (same, removed, added) and words."""
    count: int
    """How many instances there are on all pages."""


def generates(views: Views, model: str) -> bool:
    """Whether a model's answers are generated text; false where it has none.

    Args:
        views: The store.
        model: Model.
    """
    text = "SELECT label IS NULL AND value IS NULL FROM predictions WHERE model_id = ? LIMIT 1"
    return bool((column(views, text, [model]) or [False])[0])


def texts(
    views: Views,
    ids: Iterable[str],
    base: str,
    *,
    only: OnlyTexts = "all",
    sort: SortTexts = "instance",
    limit: int = 20,
    offset: int = 0,
) -> Texts:
    """One page of the texts that a base and models generated, with the words that differ.

    Args:
        views: The store.
        ids: Models; the base may be among them.
        base: Model that they are compared with; its text comes first.
        only: Only instances of this kind.
        sort: Order of the instances.
        limit: Instances on a page.
        offset: Instances on the pages before.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If the models are of several tasks, one has no generated text, or `only` or `sort` is
            unknown.
    """
    for name, value, allowed in (("only", only, get_args(OnlyTexts)), ("sort", sort, get_args(SortTexts))):
        if value not in allowed:
            raise NotComparableError(f"{name}='{value}' is not known. Allowed: {', '.join(allowed)}.")
    others = [model_id for model_id in comparable(views, ids, base) if model_id != base]
    _written(views, [base, *others])
    compared = others or [base]
    text = f"""
        SELECT instance, count(*) OVER () AS whole
        FROM predictions AS own
        JOIN (SELECT instance, text, correct, f1 FROM predictions WHERE model_id = ?) AS base USING (instance)
        WHERE model_id IN {marks(compared)}
        GROUP BY instance
        HAVING {_CONDITIONS[only]}
        ORDER BY {_ORDERS[sort]}, instance
        LIMIT ? OFFSET ?
    """
    page = rows(views, text, [base, *compared, limit, offset])
    count = page[0]["whole"] if page else _count(views, compared, base, only)
    return Texts(_page(views, [row["instance"] for row in page], [base, *others]), count)


def word_changes(before: str, after: str) -> list[dict[str, str]]:
    """How a text follows from another one, word by word: pieces of kind same, removed or added, in order.

    The pieces that are not removed, put together, are the new text; those not added the old one.
    """
    old, new = (_words(text) for text in (before, after))
    found = []
    for kind, i, j, k, m in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            found.append({"kind": "same", "words": "".join(new[k:m])})
            continue
        pieces = (("removed", "".join(old[i:j])), ("added", "".join(new[k:m])))
        found += [{"kind": name, "words": words} for name, words in pieces if words]
    return found


def _words(text: str) -> list[str]:
    """The words of a text, each with the space behind it."""
    words = re.findall(r"\s*\S+\s*?(?=\s|$)|\s+$", text)
    return words if len(words) <= LONGEST else [*words[:LONGEST], "".join(words[LONGEST:])]


def _written(views: Views, models: Sequence[str]) -> None:
    """Make sure that the models generated text.

    Raises:
        NotComparableError: If one did not.
    """
    text = f"SELECT DISTINCT model_id FROM predictions WHERE model_id IN {marks(models)} AND text IS NOT NULL"
    there = set(column(views, text, list(models)))
    for model_id in models:
        if model_id not in there:
            raise NotComparableError(f"there is no generated text of {model_id}: leave it out, or ask `instances`.")


def _count(views: Views, compared: Sequence[str], base: str, only: str) -> int:
    """How many instances there are, where the page that was asked for has none."""
    text = f"""
        SELECT count(*) FROM (
            SELECT instance
            FROM predictions AS own
            JOIN (SELECT instance, text, correct, f1 FROM predictions WHERE model_id = ?) AS base USING (instance)
            WHERE model_id IN {marks(compared)}
            GROUP BY instance
            HAVING {_CONDITIONS[only]}
        )
    """
    return int(column(views, text, [base, *compared])[0])


def _page(views: Views, wanted: Sequence[int], models: Sequence[str]) -> pa.Table:
    answers = _answers(views, wanted, models)
    text = f"""
        SELECT instance, "references", payload, payload_type
        FROM instances
        WHERE task_id = ? AND instance IN {marks(wanted)}
    """
    shown = {row["instance"]: row for row in rows(views, text, [one_task(views, models), *wanted])}
    found = [
        {**shown.get(instance, {}), "instance": instance, "answers": _compared(answers[instance], models)}
        for instance in wanted
    ]
    return pa.Table.from_pylist(found, _TEXTS)


def _answers(views: Views, wanted: Sequence[int], models: Sequence[str]) -> dict[int, dict[str, Row]]:
    text = f"""
        SELECT instance, model_id, text, correct, f1, loss, tokens
        FROM predictions
        WHERE model_id IN {marks(models)} AND instance IN {marks(wanted)}
    """
    found: dict[int, dict[str, Row]] = {instance: {} for instance in wanted}
    for row in rows(views, text, [*models, *wanted]):
        found[row["instance"]][row["model_id"]] = row
    return found


def _compared(answers: Mapping[str, Row], models: Sequence[str]) -> list[Row]:
    before = answers[models[0]]["text"] or ""
    there = [answers[model_id] for model_id in models if model_id in answers]
    return [{**row, "changes": word_changes(before, row["text"] or "")} for row in there]
