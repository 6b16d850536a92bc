"""The Insights tab: what stands out, in plain sentences that select the models they are about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cc_ray import compare
from cc_ray.wording import format_value
from dashboards.markup import esc
from dashboards.snapshot import Row, Snapshot

LIMIT: Final = 20
KINDS: Final = {
    "loss": ("bad", "▼", "Something got worse"),
    "gain": ("good", "▲", "Something got better or cheaper"),
    "doubt": ("even", "?", "A figure or a step that should not be trusted"),
}


def insights_pane(snapshot: Snapshot) -> str:
    """HTML of the tab; takes its time the first time."""
    return snapshot.once("insights", lambda: _list(compare.insights(snapshot.views, limit=LIMIT).to_pylist()))


def _list(found: Sequence[Row]) -> str:
    if not found:
        return (
            '<p class="empty">Nothing stands out yet: there are too few models, or what they differ by is within the '
            "noise. Insights appear as models are measured.</p>"
        )
    items = "".join(sentence(row) for row in found)
    return (
        '<p class="hint">What stands out beyond the noise, strongest first. A click selects the model it is about.</p>'
        f'<ol class="insights">{items}</ol>'
    )


def sentence(row: Row) -> str:
    """One of them, as an item of a list of class `insights`."""
    kind, sign, meaning = KINDS[row["kind"]]
    about = row["model_id"]
    select = (
        f' data-do="insight" data-model="{about}" data-point="{about}" data-key="insight-{row["rank"]}" tabindex="0"'
        if about
        else ""
    )
    look = ""
    if about and row["view"] != "Overview":
        page = row["view"].lower()
        look = (
            f'<button class="link" tabindex="0" data-do="look" data-model="{about}" data-page="{page}">'
            f"see in {esc(row['view'])}</button>"
        )
    p = f"p = {format_value(row['p_value'], 'number')}, corrected for all that was looked at" if row["p_value"] else ""
    hint = "; ".join(part for part in (meaning, p) if part)
    return (
        f'<li class="{kind}"{select}><i class="mark" data-tip="{esc(hint)}" tabindex="0">{sign}</i>'
        f"<span>{esc(row['sentence'])} {look}</span></li>"
    )
