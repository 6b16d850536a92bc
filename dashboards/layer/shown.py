"""What each card of the Layers page shows, as questions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from dashboards.chosen import Chosen
from dashboards.layer.measures import Measure
from dashboards.sharing.shown import Shown, asked


def modules(now: Chosen, visual: str, path: str = "") -> list[Shown]:
    """Of the tree of modules, or of the one that is picked.

    Args:
        now: The models.
        visual: What its rows show.
        path: The module that is meant with all below it; "" for the whole model.
    """
    ids, of = now.shown or (now.base,), f" of {path}" if path else ""
    if visual == "weights":
        return [asked(f"Weight changes{of}", "weight_changes", ids=ids, base=now.base, path=path)]
    if visual == "activations":
        drawn = asked(f"Activations{of}", "activation_histograms", ids=(now.base, *now.shown), path=path)
        return [drawn, *_changes(now, path)]
    return [asked(f"Sparsity{of}", "layer_tree", ids=ids, base=now.base, pattern=_exactly(path))]


def heat_map(ids: Sequence[str], base: str, measure: Measure) -> list[Shown]:
    """Of the map of one measure over many models."""
    question = "activation_changes" if measure.outputs else "layer_tree"
    return [asked(f"Layers: {measure.title}", question, ids=ids, base=base)] if ids else []


def cell(model: str | None, base: str, path: str) -> list[Shown]:
    """Of one layer of one model; nothing until one is picked."""
    if model is None or not path:
        return []
    one = Chosen((model,) if model != base else (), base, True)
    return [*modules(one, "weights", path), *modules(one, "activations", path)]


def sensitivity(metric: str, split: str) -> list[Shown]:
    """Of what compressing each layer alone costs, by metric and split that are shown; nothing without any."""
    return [asked(f"Sensitivity: {metric}", "sensitivity", metric=metric, split=split)] if metric else []


def bisections() -> list[Shown]:
    """Of the modules that losses were found to come from, in all models."""
    return [asked("Bisections", "bisections")]


def similarity(model: str, base: str) -> list[Shown]:
    """Of every layer beside every layer of the base."""
    return [asked("Similarity of layers", "layer_similarity", model=model, base=base)]


def _changes(now: Chosen, path: str) -> list[Shown]:
    of: dict[str, Any] = {"ids": now.shown, "base": now.base, "pattern": _exactly(path)}
    return (
        [asked(f"Activation changes{f' of {path}' if path else ''}", "activation_changes", **of)] if now.shown else []
    )


def _exactly(path: str) -> str:
    return f"^{re.escape(path)}$" if path else ""
