"""The bars above the plots: what is shown and how, and what can be done with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from cc_ray.compare.labels import title
from dashboards import markup
from dashboards.legend import legend
from dashboards.markup import esc
from dashboards.overview.encoding import NONE, Encoding
from dashboards.overview.filter_pane import NONE_PASSES, said
from dashboards.overview.filters import Filters
from dashboards.overview.map_choice import folded, folds, sweeps_of
from dashboards.overview.terms import term
from dashboards.snapshot import Row, Snapshot
from dashboards.state import State
from dashboards.theme import css
from dashboards.trade_offs import group_colours

LEAD: Final = (
    "Every dot is a model, every line a compression step: find good trade-offs on the right, see on the left how they "
    "were made."
)
FRONT: Final = (
    "Trade-off front: the models that no other one beats on both axes, each with a dot in it; with a filter, of "
    "those that pass. Bars are 95 % intervals. Drag the dotted lines to set limits, which filter."
)
SEARCH: Final = "Words of a base model, an operation or parameter=value of any step; Enter searches"
FOLD: Final = (
    "A sweep, models that differ in one parameter, as one node: its models side by side, click its mark to unfold"
)
SHOWN: Final = {
    "all": "All models stand on the map",
    "passing": "Only the models that pass the filters, and those they came from",
    "front": "Only the models of the trade-off front, and those they came from",
}
GROUPS: Final = {"": "one front", "operation": "by operation", "base": "by base model", "study": "by study"}
RELATIVES: Final = {
    "parents": "the models that they were made from, one step back",
    "children": "the models made from them, one step on",
    "ancestors": "all models on the way from their base models",
    "descendants": "all models made from them",
}


def controls(snapshot: Snapshot, state: State, encoding: Encoding, filters: Filters, kept: Sequence[str]) -> str:
    """HTML of the bar above both plots."""
    names = {name: metric.label for name, metric in snapshot.metrics.items()}
    arranged = markup.switch(
        "arrange",
        {"operation": "By operation", "step": "By step"},
        state.arrange,
        {"operation": "A column of the map is an operation", "step": "A column of the map is a number of steps"},
    )
    search = (
        '<input type="text" class="search" data-do="set" data-name="search" data-key="search"'
        f' aria-label="Search models" data-tip="{SEARCH}" placeholder="Search recipes, e.g. sparsity=0.5"'
        f' value="{esc(state.search)}">'
    )
    passed = f'<span class="passed"{_in_full(kept)}>{said(snapshot, filters, kept)}</span>' if filters.active else ""
    clear = markup.button("clear-filters", "Clear filters") if filters.active else ""
    return (
        f'<div class="bar"><span class="field"><span>{term("Map", "map")}</span>{arranged}</span>'
        + _metric("colour", "Colour", {**names, NONE: "None"}, encoding.colour or NONE, snapshot)
        + legend(snapshot, encoding.colour, "colour")
        + _metric("size", "Size", {**names, NONE: "None"}, encoding.size or NONE, snapshot)
        + legend(snapshot, encoding.size, "size")
        + f'<span class="actions">{passed}{clear}{search}</span></div>'
    )


def _in_full(kept: Sequence[str]) -> str:
    """The bar may have no room for all that it says where no model passes."""
    return "" if kept else markup.tip(NONE_PASSES)


def _metric(name: str, label: str, choices: Mapping[str, str], chosen: str, snapshot: Snapshot) -> str:
    """The choice of a metric, with what the chosen one means."""
    metric = snapshot.metrics.get(chosen)
    hint = f"{metric.label}: {metric.meaning}" if metric and metric.meaning else ""
    return markup.select(name, label, choices, chosen, hint=hint)


def axes(snapshot: Snapshot, state: State, encoding: Encoding) -> str:
    """HTML of the bar above the scatterplot."""
    names = {name: metric.label for name, metric in snapshot.metrics.items()}
    return (
        '<div class="bar">'
        + _metric("y", "Y", names, encoding.y, snapshot)
        + markup.toggle("log_y", "log", state.log_y, "Logarithmic y axis")
        + _metric("x", "X", names, encoding.x, snapshot)
        + markup.toggle("log_x", "log", state.log_x, "Logarithmic x axis")
        + f'<span class="front-key" role="note" aria-label="{FRONT}" tabindex="0" data-tip="{FRONT}"></span>'
        + markup.select("groups", "Fronts", GROUPS, state.groups, seen=False)
        + markup.toggle("dim", "Dim beaten", state.dim, "Dim the models that another one beats on both axes")
        + markup.button("span", "Five that span it", "Select five models that show what there is to choose from")
        + f"</div>{_groups(snapshot, state, encoding)}"
    )


def _groups(snapshot: Snapshot, state: State, encoding: Encoding) -> str:
    """The colours of the groups' fronts."""
    axes = [snapshot.metrics[name] for name in (encoding.x, encoding.y) if name]
    if not state.groups or len(axes) < 2 or axes[0] == axes[1] or any(axis.direction == "none" for axis in axes):
        return ""
    colours = group_colours(snapshot.views, encoding.x, encoding.y, state.groups)
    keys = "".join(
        f'<span class="group-key" style="--colour:{css(colour)}">{esc(title(name))}</span>'
        for name, colour in colours.items()
    )
    return f'<div class="bar">{keys}</div>'


def _on_map(snapshot: Snapshot, state: State) -> str:
    """What of the lineage the map shows."""
    fold = "no" if folds(snapshot, state) else "yes"
    folding = (
        f'<button data-do="set" data-name="fold" data-value="{fold}" data-key="fold" data-tip="{FOLD}"'
        f' aria-pressed="{str(fold == "no").lower()}">Fold sweeps</button>'
    )
    shown = markup.switch("shown", {"all": "All", "passing": "Passing", "front": "Front"}, state.shown, SHOWN)
    return f'<span class="actions">{shown}{folding}</span>'


def actions(selected: Sequence[Row], snapshot: Snapshot, state: State) -> str:
    """HTML of the bar above the map: what can be done with a selection; how to select where there is none."""
    shown = _on_map(snapshot, state)
    if not selected:
        how = "Click or drag to select, with Shift to add; scroll to zoom."
        return f'<div class="bar hint lead"><span>{LEAD}</span> <span class="how">{how}</span>{shown}</div>'
    relatives = "".join(
        markup.button(name, f"+ {name.capitalize()}", f"Add {meaning}") for name, meaning in RELATIVES.items()
    )
    clear = markup.button("clear", "Clear", "Select nothing")
    turn = _turning([row["model_id"] for row in selected], snapshot, state)
    return f'<div class="bar"><span><b>{len(selected):,}</b> selected</span>{relatives}{turn}{clear}{shown}</div>'


def _turning(ids: Sequence[str], snapshot: Snapshot, state: State) -> str:
    """A button that folds or unfolds the sweeps of a selection, as their marks on the map do."""
    found = sweeps_of(snapshot, ids) if folds(snapshot, state) else frozenset()
    if not found:
        return ""
    sweep, some = ("sweep", "it") if len(found) == 1 else ("sweeps", "some")
    if found & folded(snapshot, state):
        hint = f"Of the selected models; {some} stands on the map as one node"
        return markup.button("turn-sweeps", f"Unfold {sweep}", hint)
    return markup.button("turn-sweeps", f"Fold {sweep}", "Of the selected models, to one node of the map each")
