"""Refining a comparison: pills for the values in which the selected models differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from cc_ray.compare.labels import title
from dashboards import markup
from dashboards.differences import differing
from dashboards.markup import esc, tip
from dashboards.overview.terms import TERMS
from dashboards.snapshot import Snapshot

VALUES: Final = 14
"""With more values than this a variable has no pills: filters serve better."""
Chosen = Mapping[str, frozenset[str]]
"""Values by variable that models must have: any of a variable's, and of every variable."""


def refined(snapshot: Snapshot, ids: Sequence[str], chosen: Chosen) -> list[str]:
    """The models that have a chosen value of every variable of which one is chosen."""
    labels = differing(snapshot, ids).labels.to_pylist()
    return [row["model_id"] for row in labels if all(row.get(name) in values for name, values in chosen.items())]


def toggled(chosen: Chosen, variable: str, value: str) -> Chosen:
    """With a value more or less."""
    values = chosen.get(variable, frozenset()) ^ {value}
    others = {name: kept for name, kept in chosen.items() if name != variable}
    return {**others, variable: values} if values else others


def pills(snapshot: Snapshot, ids: Sequence[str], chosen: Chosen, count: int) -> str:
    """HTML of a row of pills a variable.

    Args:
        snapshot: Of the store.
        ids: The selected models.
        chosen: Values chosen so far.
        count: How many models have them.
    """
    rows = [
        _row(row["variable"], row["members"], row["values"], chosen)
        for row in differing(snapshot, ids).variables.to_pylist()
        if row["distinct"] <= VALUES
    ]
    if not rows or len(ids) < 3:
        return ""
    update = markup.button("refine-select", "Update selection", "Select these models alone") if chosen else ""
    reset = markup.button("refine-reset", "Reset", "Compare all selected models again") if chosen else ""
    told = f"<b>{count}</b> of {len(ids)} models compared" if chosen else "by what the models differ in"
    return (
        f'<details class="refine" data-key="refine"{" open" if chosen else ""}>'
        f'<summary{tip(TERMS["refine"])}>Refine comparison <span class="soft">{told}</span></summary>{"".join(rows)}'
        f'<div class="bar">{update}{reset}</div></details>'
    )


def _row(variable: str, members: Sequence[str], values: Sequence[str], chosen: Chosen) -> str:
    kept = chosen.get(variable, frozenset())
    buttons = "".join(
        f'<button class="choice" data-do="pill" data-name="{esc(variable)}" data-value="{esc(value)}"'
        f' data-key="pill-{esc(variable)}-{esc(value)}" aria-pressed="{str(value in kept).lower()}"'
        f' data-tip="{esc(value)}">{esc(value.replace("_", " "))}</button>'
        for value in values
    )
    name, hint = title(members[0]), "; ".join(title(member) for member in members)
    return f'<div class="refine-row"><span data-tip="{esc(hint)}">{esc(name)}</span><div>{buttons}</div></div>'
