from pathlib import Path

import numpy as np
import pytest

from cc_ray.compare import behaviours, models
from cc_ray.compress import validated_step
from cc_ray.views import open_views
from tests.benchmarks.make_store import World, grow, make_store


@pytest.mark.parametrize("count", [1, 2, 12])
def test_a_store_has_the_size_asked_for(tmp_path: Path, count: int) -> None:
    make_store(tmp_path, models=count, instances=30, classes=3)
    views = open_views(tmp_path)

    assert models(views).num_rows == count
    assert views.sql("FROM predictions").num_rows == count * 30
    assert views.sql("SELECT payload FROM instances")["payload"][0].as_py().startswith(b"\x89PNG")


def test_the_seed_decides_everything(tmp_path: Path) -> None:
    same, again, other = (
        make_store(tmp_path / name, models=6, instances=20, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )

    assert same.read("predictions").equals(again.read("predictions"))
    assert same.keys("step") != other.keys("step")


def test_children_mostly_agree_with_their_base(tmp_path: Path) -> None:
    make_store(tmp_path, models=10, instances=200)
    views = open_views(tmp_path)
    table = models(views)

    for row in table.to_pylist():
        assert behaviours(views, [row["model_id"]], row["root"])["agreement"][0].as_py() > 0.3


def test_steps_are_those_of_real_operations() -> None:
    world = World("task", np.zeros(10, np.int32), 10)

    nodes = grow(np.random.default_rng(0), world, 150, 0)

    steps = {step for node in nodes for step in node.recipe.steps}
    assert {step.operation for step in steps} == {
        "magnitude_pruning", "random_pruning", "channel_pruning", "quantize_weights", "quantize_dynamic",
        "uniform_quantization", "calibrate", "fine_tune", "restore",
    }  # fmt: skip
    for step in steps:
        assert validated_step(step).to_json() == step.to_json()
    assert max(len(node.recipe.steps) for node in nodes) == 4
