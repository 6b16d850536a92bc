"""What the words of the Overview mean, said where they stand."""

from __future__ import annotations

from typing import Final

from dashboards.markup import told

TERMS: Final = {
    "map": (
        "The lineage: base models on the left, every line a step from a parent to the model made of it, columns by "
        "operation or by number of steps. Dashed lines lead to a model's teachers and donors: other models that a step "
        "learnt from, or took weights from. By the keyboard, choose models in the tab Table beside it: Enter selects, "
        "Shift+Enter adds; an area is an interval in the tab Filter."
    ),
    "trade_offs": (
        "Models that no other one beats: none is better in one of these metrics without being worse in another. They "
        "are the trade-off front, and the models that are beaten by one of them need no look."
    ),
    "recommended_change": "The model less its base model; grey where the 95 % interval of the change holds 0.",
    "interval": (
        "Were the model measured again, on other instances or at another time, the interval would hold the true value "
        "in 95 of 100 cases."
    ),
    "to_parent": "The model less the model that it was made of by its last step; green is better, orange worse.",
    "to_base": "The model less the base model at the beginning of its recipe; green is better, orange worse.",
    "made_by": "The study whose trial made the model first. A study is one search over a search space.",
    "weights": (
        "How the weights are held. Realised: on the device that it was timed on the model runs in the form that is "
        "saved. Simulated: in part at least it runs as floats, and only the file is smaller."
    ),
    "children": "Models made of this one by one more step.",
    "findings": "What checks noticed after the step: NaN weights, layers left out, a sparsity that was not reached.",
    "differences": "What tells the recipes of these models apart; what all of them have in common is left out.",
    "refine": "Compare only those of the selected models that have the values you press.",
}
"""Definition by key."""


def term(label: str, key: str) -> str:
    """A word with its definition."""
    return told(label, TERMS[key], f"term-{key}")
