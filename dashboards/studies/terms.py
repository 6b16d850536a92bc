"""What the words of the Studies page mean, said where they stand."""

from __future__ import annotations

from typing import Final

from dashboards.markup import told

TERMS: Final = {
    "study": "One search over a search space: it tries recipes, each a trial, and looks for the best.",
    "trials": "Runs of one recipe each. Ended are finished, failed and stopped ones; others run or wait.",
    "models": "Models that the study made or took over from earlier ones.",
    "cpu": "Hours of processor cores that its steps held.",
    "gpu": "Hours of GPUs that its steps held; a share of one counts as a share.",
    "objectives": "Metrics that the search looks for the best compromises of: ↑ higher is better, ↓ lower is.",
    "recipe": "A base model and the steps to take, one after the other.",
    "state": (
        "pending: waits for a worker; running; finished: all steps are made and measured; failed: a step raised, "
        "with its reason; stopped: ended early because others did better."
    ),
    "made": "Steps that this trial ran; reused are those whose model was there already.",
    "time": "From the beginning of the trial to its end.",
    "since": "When the trial came into its present state.",
    "reused": "Steps whose model was in the store already: it was not made again.",
    "stopped": "Trials ended before their last step because others did better, or because the study ended.",
    "hypervolume": (
        "The volume of what the trade-off front beats, up to a fixed reference point: it grows whenever a model is a "
        "better compromise."
    ),
    "best": "The best value that any model of the study has, whatever its other metrics are.",
    "seen": "What early stopping saw: the value after an epoch, or over a part of the instances.",
    "repeats": (
        "The same recipe with other seeds. How far they lie apart is noise; models of one seed each that differ by "
        "less cannot be told apart."
    ),
}
"""Definition by key."""


def term(label: str, key: str) -> str:
    """A word with its definition."""
    return told(label, TERMS[key], f"term-{key}")
