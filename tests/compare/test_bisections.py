from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cc_ray.compare.layers.bisections import bisections
from cc_ray.errors import ModelNotFoundError
from cc_ray.views import open_views
from tests.compare.small import START, TASK, add_model, new_store


def bisection(model_id: str, hour: int, **more: Any) -> dict[str, Any]:
    """What `cc-ray bisect` writes."""
    row = {
        "model_id": model_id, "task_id": TASK, "parent_id": "base", "metric": "accuracy", "tolerance": 0.01,
        "model_value": 0.2, "parent_value": 0.9, "target": 0.89, "proof": "smallest", "modules": ["norm"], "value": 0.9,
        "failing_size": 0, "candidates": 3, "left_out": [], "step": None, "evaluations": 5, "budget": 500,
        "duration_s": 1.0, "at": START + timedelta(hours=hour),
    }  # fmt: skip
    return row | more


def test_answers_are_told_the_newest_first(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    for name in ("base", "pruned", "other"):
        add_model(store, name, parent=None if name == "base" else "base")
    store.publish("bisection", "1", {"bisections": [bisection("pruned", 1)]})
    store.publish("bisection", "2", {"bisections": [bisection("other", 2, proof="none", modules=[], value=None)]})
    views = open_views(tmp_path)

    assert bisections(views)["model_id"].to_pylist() == ["other", "pruned"]
    assert bisections(views, ["pruned"]).to_pylist()[0]["modules"] == ["norm"]
    assert bisections(views, ["base"]).num_rows == 0
    with pytest.raises(ModelNotFoundError):
        bisections(views, ["nobody"])
