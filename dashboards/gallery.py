"""Instances with their images and each model's answer."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from cc_ray.compare import Instances
from cc_ray.compare.labels import letter
from dashboards.chosen import BASE_BADGE, badge
from dashboards.markup import esc

PAGE: int = 36
"""Instances on a page."""


def gallery(found: Instances, shown: Sequence[str], offset: int, places: Mapping[str, int] | None = None) -> str:
    """HTML of one page of instances.

    Args:
        found: As `compare.instances` gives them.
        shown: The models whose letters stand beside their answers, in order.
        offset: Instances on the pages before.
        places: Place of each model among those of the page, where these are other ones than `shown`.
    """
    if not found.count:
        return '<p class="empty">No instance answers to this choice: take back a condition, or choose another kind.</p>'
    letters = {id: badge(place) for place, id in enumerate(shown)} if places is None else marks(places)
    return pager(offset, found.count) + figures(found.table.to_pylist(), letters)


def figures(rows: Sequence[Mapping[str, Any]], letters: Mapping[str, str]) -> str:
    """Instances side by side.

    Args:
        rows: As `compare.instances` gives them.
        letters: Mark of each model but the base.
    """
    return f'<div class="gallery">{"".join(_card(row, letters) for row in rows)}</div>'


def marks(places: Mapping[str, int]) -> dict[str, str]:
    """The mark of each model."""
    return {id: badge(place) or f'<b class="badge base">{letter(place)}</b>' for id, place in places.items()}


def pager(offset: int, count: int, page: int = PAGE) -> str:
    """Which ones these are of how many, and the way to the others, `page` at a time."""
    last = min(offset + page, count)
    back = _step("‹", max(0, offset - page), offset > 0, "Previous")
    on = _step("›", offset + page, last < count, "Next")
    return f'<div class="pager">{back}<span>{offset + 1:,}–{last:,} of {count:,}</span>{on}</div>'


def _step(sign: str, offset: int, there: bool, hint: str) -> str:
    off = "" if there else " disabled"
    return (
        f'<button data-do="page" data-offset="{offset}" data-key="page-{hint}" aria-label="{hint}"{off}>{sign}</button>'
    )


def _card(row: Mapping[str, Any], letters: Mapping[str, str]) -> str:
    return (
        f"<figure>{payload(row['payload'], row['payload_type'])}<figcaption>"
        f'<div class="truth" data-tip="Instance {row["instance"]}">{esc(row["label_name"])}</div>'
        f"<ul>{answers(row, letters)}</ul></figcaption></figure>"
    )


def answers(row: Mapping[str, Any], letters: Mapping[str, str]) -> str:
    """What the base and the models answer, as items of a list."""
    return "".join(_answer(answer, letters.get(answer["model_id"])) for answer in row["answers"])


def _answer(answer: dict[str, Any], letter: str | None) -> str:
    verdict, sign = ("right", "✓") if answer["correct"] else ("wrong", "✗")
    who = BASE_BADGE if letter is None else letter
    true, confidence = answer["true_probability"], answer["confidence"]
    hint = "only the predicted class is known" if true is None else f"probability of the true class {true:.1%}"
    sure = "" if confidence is None else f"<span>{100 * confidence:.0f} %</span>"
    bar = "" if confidence is None else f' style="--sure:{100 * confidence:.0f}%"'
    return (
        f'<li class="{verdict}" data-tip="{hint}"{bar}>{who}'
        f'<span class="says">{esc(answer["prediction_name"])}</span><i>{sign}</i>{sure}</li>'
    )


def payload(data: bytes | None, kind: str | None) -> str:
    """An instance as it is shown: an image or a text."""
    if data is None:
        return '<div class="payload soft">no image</div>'
    if kind == "image/png":
        image = f'<img alt="" src="data:image/png;base64,{base64.b64encode(data).decode()}">'
        return f'<button class="zoom" data-zoom data-tip="Larger" aria-label="Larger">{image}</button>'
    return f'<div class="payload">{esc(data.decode(errors="replace"))}</div>'
