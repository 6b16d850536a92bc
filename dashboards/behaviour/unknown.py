"""What stands in place of all parts where it is not known what models answer, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dashboards.chosen import Chosen
from dashboards.markup import esc
from dashboards.snapshot import Snapshot
from dashboards.state import State

NAMED: Final = 3
"""Models that are named; of more there is a number."""
HOW: Final = (
    "<p>This page compares what models answer, instance by instance. Models that <code>cc-ray run</code> makes come "
    "with their answers; those of models made elsewhere come from files, one a model:</p>"
    "<p><code>cc-ray import predictions base.csv pruned.csv --labels labels.npy</code></p>"
)


def unknown(snapshot: Snapshot, state: State, now: Chosen, silent: Sequence[str]) -> str:
    """HTML that says of which models no answers are known, and what to do.

    Args:
        snapshot: Of the store.
        state: The choices, for addresses.
        now: The models on the page.
        silent: Those of them of which no answers are known.
    """
    left = [id for id in now.ids if id not in silent]
    if now.base in silent or not left:
        what = "these models" if not left else f"the base, {snapshot.labels.name(now.base)}"
        instead = "" if not left else "<p>Or choose another base above.</p>"
    else:
        names = [snapshot.labels.name(id) for id in silent[:NAMED]]
        more = len(silent) - NAMED
        what = ", ".join(names) + (f" and {more:,} more" if more > 0 else "")
        others = esc(" ".join(left))
        instead = f'<p><button data-do="keep" data-models="{others}" data-key="keep">Show the others</button></p>'
    overview = esc(state.query(page="overview", side="table") or "./")
    return (
        f'<div class="welcome"><h1>Not known: the answers of {esc(what)}</h1>{HOW}{instead}'
        f'<p>What was measured of them is in the <a href="{overview}">table of the Overview</a>.</p></div>'
    )
