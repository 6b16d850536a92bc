"""Instances with their images and each model's answer."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from cc_ray.compare import Instances
from dashboards.chosen import BASE_BADGE, badge
from dashboards.markup import esc

PAGE: int = 36
"""Instances on a page."""


def gallery(found: Instances, shown: Sequence[str], offset: int) -> str:
    """HTML of one page of instances.

    Args:
        found: As `compare.instances` gives them.
        shown: The models whose letters stand beside their answers, in order.
        offset: Instances on the pages before.
    """
    if not found.count:
        return '<p class="empty">No instance answers to this choice.</p>'
    letters = {id: badge(place) for place, id in enumerate(shown)}
    cards = "".join(_card(row, letters) for row in found.table.to_pylist())
    return f'{pager(offset, found.count)}<div class="gallery">{cards}</div>'


def pager(offset: int, count: int) -> str:
    """Which instances these are of how many, and the way to the others."""
    last = min(offset + PAGE, count)
    back = _step("‹", max(0, offset - PAGE), offset > 0, "Previous")
    on = _step("›", offset + PAGE, last < count, "Next")
    return f'<div class="pager">{back}<span>{offset + 1:,}–{last:,} of {count:,}</span>{on}</div>'


def _step(sign: str, offset: int, there: bool, hint: str) -> str:
    off = "" if there else " disabled"
    return f'<button data-do="page" data-offset="{offset}" data-key="page-{hint}" title="{hint}"{off}>{sign}</button>'


def _card(row: dict[str, Any], letters: dict[str, str]) -> str:
    answers = "".join(_answer(answer, letters.get(answer["model_id"])) for answer in row["answers"])
    return (
        f"<figure>{payload(row['payload'], row['payload_type'])}<figcaption>"
        f'<div class="truth" title="Instance {row["instance"]}">{esc(row["label_name"])}</div>'
        f"<ul>{answers}</ul></figcaption></figure>"
    )


def _answer(answer: dict[str, Any], letter: str | None) -> str:
    verdict, sign = ("right", "✓") if answer["correct"] else ("wrong", "✗")
    who = BASE_BADGE if letter is None else letter
    true, confidence = answer["true_probability"], answer["confidence"]
    hint = "only the predicted class is known" if true is None else f"probability of the true class {true:.1%}"
    sure = "" if confidence is None else f"<span>{100 * confidence:.0f} %</span>"
    return (
        f'<li class="{verdict}" title="{hint}">{who}'
        f'<span class="says">{esc(answer["prediction_name"])}</span><i>{sign}</i>{sure}</li>'
    )


def payload(data: bytes | None, kind: str | None) -> str:
    """An instance as it is shown: an image or a text."""
    if data is None:
        return '<div class="payload soft">no image</div>'
    if kind == "image/png":
        return f'<img alt="" src="data:image/png;base64,{base64.b64encode(data).decode()}">'
    return f'<div class="payload">{esc(data.decode(errors="replace"))}</div>'
