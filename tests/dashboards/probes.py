"""What `cc-ray sensitivity` and `cc-ray bisect` leave in a store, for the pages that show it."""

from datetime import UTC, datetime
from typing import Any, Final

from cc_ray.store import Store

AT: Final = datetime(2026, 3, 3, tzinfo=UTC)
LEVELS: Final = (0.3, 0.6, 0.9)
ACCURACY: Final = 0.9
Row = dict[str, Any]


def add_probes(store: Store) -> None:
    """Sensitivity of every layer of the base model "resnet", and one bisection of a child of it."""
    models = store.read("models").to_pylist()
    base = next(row for row in models if row["operation"] is None and row["base"] == "resnet")
    child = next(row for row in models if row["base"] == base["base"] and row["operation"])
    layers = [row for row in store.read("layers").to_pylist() if row["model_id"] == base["model_id"]]
    paths = sorted({row["layer"] for row in layers if row["tensor"] == "weight" and len(row["shape"]) > 1})
    rows = [_probe(base, path, place, level) for place, path in enumerate(paths) for level in LEVELS]
    store.publish("sensitivity", "probes", {"sensitivity": rows})
    store.publish("bisection", "answer", {"bisections": [_bisection(base, child, paths[:2])]})


def _probe(base: Row, path: str, place: int, level: float) -> Row:
    """The later a layer and the higher the level, the more is lost."""
    value = ACCURACY - 0.08 * place * level
    return {
        "model_id": base["model_id"], "task_id": base["task_id"], "operation": "magnitude_pruning",
        "parameters": '{"scope":"layer"}', "layer": path, "parameter": "sparsity", "level": level, "metric": "accuracy",
        "value": value, "ci_low": value - 0.02, "ci_high": value + 0.02, "model_value": ACCURACY,
        "difference": value - ACCURACY, "weight_sqnr_db": 20 * (1 - level), "output_sqnr_db": 30 * (1 - level),
        "n": 400, "seed": 0, "reason": None, "duration_s": 0.1, "at": AT,
    }  # fmt: skip


def _bisection(base: Row, child: Row, modules: list[str]) -> Row:
    return {
        "model_id": child["model_id"], "task_id": base["task_id"], "parent_id": base["model_id"], "metric": "accuracy",
        "tolerance": 0.01, "model_value": 0.4, "parent_value": 0.9, "target": 0.89, "proof": "smallest",
        "modules": modules, "value": 0.895, "failing_size": 1, "candidates": 8, "left_out": [], "step": None,
        "evaluations": 37, "budget": 500, "duration_s": 2.0, "at": AT,
    }  # fmt: skip
