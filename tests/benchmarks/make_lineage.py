"""Make a store of very many models that have a lineage and metrics and nothing else: for questions at scale.

Models are published many to a batch, as the importers do, or each in its own, as studies do. Metrics follow from the
recipes with noise, so that fronts are neither trivial nor everything. Everything follows from the seed.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np

from cc_ray.recipe import Recipe, Step, canonical_json
from cc_ray.store import Store

START: Final = datetime(2026, 3, 2, tzinfo=UTC)
TASK: Final = "wide-1"
DEPTH: Final = 5
OBJECTIVES: Final = {"accuracy": "higher", "size_bytes": "lower", "latency_p50_ms": "lower"}
_DEFINED: Final = {"accuracy": "percent", "size_bytes": "bytes", "latency_p50_ms": "ms", "speedup": "number"}
_RANDOM_STEPS: Final = (
    lambda rng: Step(
        "magnitude_pruning",
        {"sparsity": round(float(rng.uniform(0.1, 0.95)), 2), "scope": str(rng.choice(["global", "layer"]))},
    ),
    lambda rng: Step("random_pruning", {"sparsity": round(float(rng.uniform(0.1, 0.95)), 2), "scope": "global"}),
    lambda rng: Step("quantize_weights", {"bits": int(rng.choice([2, 3, 4, 6, 8])), "group_size": 0}),
    lambda rng: Step("fine_tune", {"epochs": int(rng.integers(1, 9)), "learning_rate": float(rng.choice([0.1, 0.01]))}),
    lambda rng: Step("calibrate", {"batches": int(rng.choice([1, 10, 100]))}),
)


def make_lineage(root: Path | str, *, models: int, seed: int = 0, batch: int = 1_000) -> Store:
    """Make the store.

    Args:
        root: A folder that is not a store yet.
        models: How many nodes the lineage gets.
        seed: Of all that is drawn.
        batch: Models to a batch.
    """
    store = Store(root, create=True)
    store.publish("task", TASK, _task())
    nodes = _nodes(models, seed)
    for start in range(0, models, batch):
        chosen = nodes[start : start + batch]
        rows = {table: [row for node in chosen for row in node[table]] for table in ("models", "lineage", "metrics")}
        store.publish("step", f"batch-{start}", rows)
    return store


def _nodes(models: int, seed: int) -> list[dict[str, list[dict[str, Any]]]]:
    """Rows by table of each model: a model gets a random step on top of a random earlier one."""
    rng = np.random.default_rng(seed)
    made = [Recipe("resnet", (), 0), Recipe("resnet", (), 1), Recipe("vit", (), 0)]
    recipes = {recipe.model_ids(TASK)[-1]: recipe for recipe in made}
    while len(recipes) < models:
        before = made[int(rng.integers(max(3, len(made) // 3)))]
        if len(before.steps) < DEPTH:
            step = _RANDOM_STEPS[int(rng.integers(len(_RANDOM_STEPS)))](rng)
            recipe = Recipe(before.base, (*before.steps, step), before.seed)
            model_id = recipe.model_ids(TASK)[-1]
            if model_id not in recipes:
                recipes[model_id] = recipe
                made.append(recipe)
    return [_node(model_id, recipe, place, rng) for place, (model_id, recipe) in enumerate(recipes.items())]


def _node(model_id: str, recipe: Recipe, place: int, rng: np.random.Generator) -> dict[str, list[dict[str, Any]]]:
    ids = recipe.model_ids(TASK)
    last = recipe.steps[-1] if recipe.steps else None
    model = {
        "model_id": model_id,
        "task_id": TASK,
        "base": recipe.base,
        "name": str(recipe),
        "operation": last.operation if last else None,
        "parameters": canonical_json(dict(last.parameters)) if last else "{}",
        "recipe": canonical_json(recipe.to_json()),
        "step_index": len(recipe.steps),
        "seed": recipe.seed,
        "artifact": "0" * 64,
        "representation": "float",
        "study_id": "wide",
        "device": "cpu",
        "duration_s": 1.0,
        "created_at": START + timedelta(seconds=place),
    }
    edges = [{"child": model_id, "parent": ids[-2], "role": "parent"}] if last else []
    return {"models": [model], "lineage": edges, "metrics": _metrics(model_id, recipe, rng)}


def _metrics(model_id: str, recipe: Recipe, rng: np.random.Generator) -> list[dict[str, Any]]:
    kept, bits, damage = 1.0, 32, 0.0
    for step in recipe.steps:
        sparsity = step.parameters.get("sparsity", 0.0)
        kept *= 1 - sparsity
        bits = min(bits, step.parameters.get("bits", 32))
        damage += 0.3 * sparsity**3 * (2 if step.operation == "random_pruning" else 1)
        damage *= 0.5 if step.operation == "fine_tune" else 1.0
    damage += 0.2 / bits
    accuracy = float(np.clip(0.95 - damage + rng.normal(0, 0.01), 0.1, 1))
    speedup = float((1 + 0.5 * (1 - kept) + (0.5 if bits <= 8 else 0)) * np.exp(rng.normal(0, 0.05)))
    values = {
        "accuracy": (accuracy, accuracy - 0.01, accuracy + 0.01),
        "size_bytes": (round(1e6 * bits / 32 * (0.1 + 0.9 * kept) + float(rng.integers(1000))), None, None),
        "latency_p50_ms": (2 / speedup, 1.9 / speedup, 2.1 / speedup),
        "speedup": (speedup, 0.95 * speedup, 1.05 * speedup) if recipe.steps else (1.0, 1.0, 1.0),
    }
    row = {"model_id": model_id, "split": "", "slice": "all", "device": "", "n": 1000}
    return [
        {**row, "metric": metric, "value": value, "ci_low": low, "ci_high": high}
        for metric, (value, low, high) in values.items()
    ]


def _task() -> dict[str, list[dict[str, Any]]]:
    task = {"task_id": TASK, "task": "wide", "parameters": "{}", "class_names": [], "bases": ["resnet", "vit"]}
    definitions = [
        {
            "metric": metric,
            "label": metric,
            "unit": "",
            "direction": OBJECTIVES.get(metric, "higher"),
            "min": 0.0,
            "max": 1.0 if metric == "accuracy" else None,
            "primary": metric != "speedup",
            "format": format,
            "meaning": metric,
        }
        for metric, format in _DEFINED.items()
    ]
    return {"tasks": [{**task, "created_at": START}], "metric_definitions": definitions}
