"""The search space on CIFAR-10: in miniature, and on real images and weights where they are there.

Figures are those of independent code on 846 test images, of which 423 are here. A share p of n images has a standard
error of sqrt(p (1 - p) / n): 1.3 points where 91 % are right, 2.3 where 73 % are. A figure is followed if it lies
within three of them, and base models, of which the figure on these very images is known, give it exactly.
"""

import math
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch
from torch import nn

from cc_ray.compress import Context, apply_step
from cc_ray.compress.steps import validated_step
from cc_ray.errors import InvalidRecipeError
from cc_ray.recipe import Recipe, Step
from cc_ray.search.plan import plan
from cc_ray.store import Store
from cc_ray.tasks import Task, task_from_json
from cc_ray.tasks.architectures.resnet_cifar import resnet20, resnet32
from search_spaces.resnet_cifar10 import search_space
from tests.tasks.real import REAL, real
from tests.tasks.running import models_made

IMAGES: Final = 423
NOISE: Final = 3
"""Standard errors."""


def task_of(data: Path, weights: Path) -> Task:
    space = search_space(str(data), str(weights))
    return task_from_json({"task": space.task, "parameters": dict(space.task_parameters)})


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise instead of images, and weights by lot in files that are laid out as the real ones."""
    folder = tmp_path_factory.mktemp("cifar")
    for seed, (name, count) in enumerate((("train", 40), ("test", 20))):
        images = np.random.default_rng(seed).integers(0, 256, (count, 3, 32, 32)).astype(np.uint8)
        np.savez(folder / f"cifar10_{name}.npz", x=images, y=(np.arange(count) % 10).astype(np.uint8))
    for depth, make in ((20, resnet20), (32, resnet32)):
        state = {f"module.{name}": value for name, value in make().state_dict().items() if "num_batches" not in name}
        torch.save({"state_dict": state, "best_prec1": 0.0}, folder / f"resnet{depth}-0.th")
    return folder


def test_the_space_plans(small: Path) -> None:
    planned = plan(search_space(str(small), str(small)), None)

    # Base models, pruning with and without repair, narrowing, rounding, and the baselines, which are pruning to seven
    # degrees and rounding, of two base models.
    assert planned.trials > 2 * (1 + 8 + 6 + 6)


def test_a_recipe_runs(small: Path, tmp_path: Path) -> None:
    task, store = task_of(small, small), Store(tmp_path / "store", create=True)

    made = models_made(store, task, Recipe("resnet20", (validated_step(Step("magnitude_pruning", {"sparsity": 0.3})),)))

    metrics = {row["metric"]: row["value"] for row in store.read("metrics", keys={"step": made[-1]}).to_pylist()}
    assert metrics["sparsity"] == pytest.approx(0.3, abs=0.01)


def test_data_are_found_by_the_environment(small: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CC_RAY_CIFAR10", str(small))
    assert search_space().task_parameters["image"] == "x"
    assert "training" in search_space().task_parameters["models"]["resnet20"]
    monkeypatch.delenv("CC_RAY_CIFAR10")
    assert search_space().task_parameters["sources"]["train"].startswith("hf://datasets/uoft-cs/cifar10")
    with pytest.raises(InvalidRecipeError, match=r"has no file \*train\*.parquet or \*train\*.npz"):
        search_space(str(tmp_path))


@pytest.mark.parametrize(("make", "millions"), [(resnet20, 0.27), (resnet32, 0.46)])
def test_networks_have_the_published_size(make: Any, millions: float) -> None:
    assert sum(parameter.numel() for parameter in make().parameters()) / 1e6 == pytest.approx(millions, abs=0.01)


def on_real_data() -> Task:
    return task_of(REAL / "cifar10", REAL / "resnet_cifar")


def accuracy(task: Task, model: nn.Module) -> float:
    """In per cent of the evaluation images."""
    data = task.data("evaluation")
    with torch.no_grad():
        found = torch.cat([task.logits(model, inputs) for inputs in torch.split(data.inputs, 128)]).argmax(1)
    return 100 * float((found == data.labels).double().mean())


def after(task: Task, *steps: Step) -> float:
    """Accuracy of ResNet-20 after some steps."""
    model = base = task.train("resnet20", seed=0)
    for index, step in enumerate(steps):
        model = apply_step(validated_step(step), model, Context(task, index, lambda _: base)).model
    return accuracy(task, model)


def standard_error(per_cent: float) -> float:
    share = per_cent / 100
    return 100 * math.sqrt(share * (1 - share) / IMAGES)


@real
@pytest.mark.parametrize(("base", "expected"), [("resnet20", 91.25), ("resnet32", 93.14)])
def test_base_models_are_as_good_as_published(base: str, expected: float) -> None:
    task = on_real_data()

    assert accuracy(task, task.train(base, seed=0)) == pytest.approx(expected, abs=0.01)


@real
@pytest.mark.slow
@pytest.mark.parametrize(("sparsity", "expected"), [(0.3, 91.73), (0.5, 91.02), (0.7, 73.64), (0.9, 9.34)])
def test_pruning_costs_what_it_costs_elsewhere(sparsity: float, expected: float) -> None:
    found = after(on_real_data(), Step("magnitude_pruning", {"sparsity": sparsity}))

    print(f"magnitude pruning {sparsity:.0%}: {found:.2f} % (elsewhere {expected} %)")
    assert found == pytest.approx(expected, abs=NOISE * standard_error(expected))


@real
@pytest.mark.slow
@pytest.mark.parametrize(("bits", "expected"), [(8, 91.84), (6, 91.84), (4, 90.43), (3, 73.17), (2, 9.81)])
def test_rounding_costs_what_it_costs_elsewhere(bits: int, expected: float) -> None:
    found = after(on_real_data(), Step("uniform_quantization", {"bits": bits}))

    print(f"rounding to {bits} bits: {found:.2f} % (elsewhere {expected} %)")
    assert found == pytest.approx(expected, abs=NOISE * standard_error(expected))


@real
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_training_repairs_what_narrowing_broke() -> None:
    """On the 1,797 images for training that are here; all 50,000 would bring more of it back."""
    cut = Step("channel_pruning", {"ratio": 0.2})

    broken = after(on_real_data(), cut)
    repaired = after(on_real_data(), cut, Step("fine_tune", {"epochs": 3, "learning_rate": 0.002}))

    print(f"20 % of the channels removed: {broken:.2f} %; then trained: {repaired:.2f} %")
    assert repaired > broken + NOISE * standard_error(broken)
    assert repaired > 75
