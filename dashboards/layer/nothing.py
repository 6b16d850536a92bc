"""What stands in place of a view of the Layers page where nothing is recorded that it could show, and what to do."""

from __future__ import annotations

from typing import Final

from cc_ray import compare
from dashboards.chosen import Chosen
from dashboards.layer.bisection import family
from dashboards.markup import esc
from dashboards.snapshot import Snapshot
from dashboards.state import State

LAYERS: Final = (
    "<h1>Not known: the layers of these models</h1>"
    "<p>This page compares weights and activations, layer by layer. Models that <code>cc-ray run</code> makes come "
    "with both; one that was made elsewhere has its weights here if they are given with it, in Python:</p>"
    '<p><code>store.log_model("pruned", task="my task", parent="net", model=network)</code></p>'
)
ACTIVATIONS: Final = (
    "<h1>Not known: what the layers of {} put out</h1>"
    "<p>Similarity compares the outputs of layers over a fixed sample of instances. Models that "
    "<code>cc-ray run</code> makes come with them. Choose another base above; the other views show weights.</p>"
)
WEIGHTS: Final = (
    "<h1>Not known: which layers matter most</h1>"
    "<p><code>cc-ray sensitivity</code> compresses each layer of a model alone, and <code>cc-ray bisect</code> puts "
    "modules back to what they were. Both need weights, and the store holds none of these models: they work on those "
    "that <code>cc-ray run</code> makes.</p>"
)
NO_LAYER: Final = '<p class="empty">No layer has this in its path. Shorten the pattern.</p>'
"""Where there are layers, but none that a pattern lets through."""


def missing(snapshot: Snapshot, now: Chosen) -> dict[str, str]:
    """Views that have nothing to show of the models, by name; takes its time.

    Returns:
        HTML that says what is missing, and what to do about it.
    """
    views, shown = snapshot.views, dict.fromkeys((now.base, *now.ids))
    there = set(compare.with_layers(views, [*family(snapshot, now), *now.ids]))
    found = {} if there else {"heat": LAYERS, "sensitivity": WEIGHTS}
    if there.isdisjoint(shown):
        found["modules"] = LAYERS
    if not compare.with_activations(views, [now.base]):
        base = esc(snapshot.labels.name(now.base))
        found["similarity"] = ACTIVATIONS.format(base) if there else LAYERS
    return found


def nothing(content: str, state: State) -> str:
    """One of `missing`, with a way to what is known."""
    overview = esc(state.query(page="overview", side="table") or "./")
    return (
        f'<div class="welcome">{content}<p>What was measured of the whole models is in the '
        f'<a href="{overview}">table of the Overview</a>.</p></div>'
    )
