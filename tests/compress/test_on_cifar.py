"""What operations do to a real network: ResNet-20 on CIFAR-10, where the data lies beside the project."""

import copy
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor, nn

from cc_ray.compress import Context, Outcome, apply_step
from cc_ray.recipe import Step
from cc_ray.schema import INSTANCES
from cc_ray.tasks import Data, Split, Task
from cc_ray.tasks.architectures.resnet_cifar import resnet20

DATA = Path(__file__).parents[3] / "shared" / "data"
MEAN, STD = (torch.tensor(each).view(3, 1, 1) for each in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
SIZES: dict[Split, tuple[str, int, int]] = {
    "train": ("train_0_1999", 0, 1744),
    "calibration": ("train_0_1999", 1744, 2000),
    "evaluation": ("test_0_422", 0, 423),
}

pytestmark = pytest.mark.skipif(not (DATA / "resnet_cifar").is_dir(), reason=f"{DATA} holds no real data")


class Cifar(Task):
    """The images that lie beside the project."""

    bases: ClassVar[tuple[str, ...]] = ("resnet20",)
    class_names: ClassVar[tuple[str, ...]] = tuple("0123456789")

    def build(self, base: str) -> nn.Module:
        return resnet20().eval()

    def train(self, base: str, seed: int) -> nn.Module:
        """The weights as they were published."""
        saved = torch.load(DATA / "resnet_cifar" / "resnet20-12fca82f.th", map_location="cpu", weights_only=True)
        model = self.build(base)
        model.load_state_dict({name.removeprefix("module."): value for name, value in saved["state_dict"].items()})
        return model

    def data(self, split: Split) -> Data:
        name, start, end = SIZES[split]
        inputs, labels = _images(name)
        return Data(inputs[start:end], labels[start:end], torch.arange(start, end))

    def instances(self) -> pa.Table:
        return INSTANCES.schema.empty_table()

    def data_fingerprint(self) -> str:
        return "cifar10"


Cifar.name = "cifar_beside"
TASK = Cifar()


@cache
def _images(name: str) -> tuple[Tensor, Tensor]:
    with np.load(DATA / "cifar10" / f"cifar10_{name}.npz") as held:
        pixels, labels = torch.from_numpy(held["x"]), torch.from_numpy(held["y"])
    return (pixels / 255 - MEAN) / STD, labels.long()


@cache
def base_model() -> nn.Module:
    return TASK.train("resnet20", 0)


def applied(*steps: Step) -> Outcome:
    """The last step's outcome, on the model after those before it."""
    models = [base_model()]
    for step in steps:
        outcome = apply_step(step, models[-1], Context(TASK, 0, lambda index: copy.deepcopy(models[index])))
        models.append(outcome.model)
    return outcome


def accuracy(model: nn.Module) -> float:
    data = TASK.data("evaluation")
    with torch.no_grad():
        return float((TASK.logits(model, data.inputs).argmax(1) == data.labels).float().mean())


PRUNE = Step("magnitude_pruning", {"sparsity": 0.7})


def rounding(bits: int) -> Step:
    return Step("uniform_quantization", {"bits": bits})


def test_the_base_is_as_good_as_it_was_measured_by_others() -> None:
    assert accuracy(base_model()) == pytest.approx(0.9125, abs=0.003)


def test_bias_correction_repairs_rounding_to_three_bits() -> None:
    rounded = accuracy(applied(rounding(3)).model)
    corrected = accuracy(applied(rounding(3), Step("bias_correction")).model)

    print(f"3 bits {rounded:.4f}, corrected {corrected:.4f}")
    assert corrected > rounded + 0.03


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["fine_tune", "distil"])
def test_training_on_few_images_repairs_pruning(operation: str) -> None:
    pruned = applied(PRUNE).model

    tuned = applied(PRUNE, Step(operation, {"epochs": 1, "learning_rate": 0.001})).model

    print(f"pruned {accuracy(pruned):.4f}, {operation} {accuracy(tuned):.4f}")
    assert accuracy(tuned) > accuracy(pruned) + 0.08
    name = "layer2.0.conv1.weight"
    assert not tuned.get_parameter(name)[pruned.get_parameter(name) == 0].any()


@pytest.mark.slow
@pytest.mark.parametrize("budget", [3.0, 3.5])
def test_widths_by_layer_beat_one_for_all_of_the_same_size(budget: float) -> None:
    uniform = accuracy(applied(rounding(3)).model)
    step = Step(
        "allocate",
        {"applied": "uniform_quantization", "levels": [2, 3, 4, 5], "budget": budget, "instances": 32},
    )

    allocated = applied(step)

    mean = next(each.found for each in allocated.findings if each.check == "levels_allocated")
    print(f"3 bits {uniform:.4f}; by layer, {mean:.3f} in the mean, {accuracy(allocated.model):.4f}")
    assert mean is not None and mean <= budget
    assert accuracy(allocated.model) > uniform + 0.02
