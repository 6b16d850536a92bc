from typing import Any

import pytest
import torch
from torch import nn

from cc_ray.compress import Context, apply_step
from cc_ray.errors import InvalidRecipeError
from cc_ray.recipe import Step
from cc_ray.tasks import Data, Split
from tests.compress.tiny import TASK, Tiny, base_model, context, run, task_for, tensors


def loss(model: nn.Module) -> float:
    data = TASK.data("train")
    with torch.no_grad():
        return float(nn.functional.cross_entropy(TASK.logits(model, data.inputs), data.labels))


@pytest.mark.parametrize("base", ["cnn", "vit"])
def test_it_learns(base: str) -> None:
    model = base_model(base)

    tuned = run("fine_tune", model, epochs=6, learning_rate=0.01, batch_size=16).model

    assert loss(tuned) < 0.7 * loss(model)


def test_zeros_stay_zero() -> None:
    sparse = run("magnitude_pruning", base_model("cnn"), sparsity=0.8).model

    tuned = run("fine_tune", sparse, epochs=2, learning_rate=0.05).model

    old, new = tensors(sparse), tensors(tuned)
    for name in (name for name in old if old[name].dim() > 1):
        assert torch.equal(old[name] == 0, new[name] == 0)
        assert not torch.signbit(new[name][new[name] == 0]).any(), "a -0.0 would be stored as a value"
    assert not torch.equal(old["head.weight"], new["head.weight"])


def test_only_the_train_split_is_used() -> None:
    asked: list[Split] = []

    class Watched(Tiny):
        def data(self, split: Split) -> Data:
            asked.append(split)
            return super().data(split)

    apply_step(Step("fine_tune", {"epochs": 1}), base_model("cnn"), Context(Watched(), 0, context("cnn").ancestor))

    assert set(asked) == {"train"}


def test_a_simulated_model_is_refused() -> None:
    simulated = run("uniform_quantization", base_model("cnn"), bits=4).model

    with pytest.raises(InvalidRecipeError, match="not simulated; place it before the quantization"):
        run("fine_tune", simulated, epochs=1)


@pytest.mark.parametrize("base", ["cnn", "language"])
def test_each_way_of_training_gives_other_weights_of_about_the_same_use(base: str) -> None:
    model = base_model(base)
    ways: tuple[dict[str, Any], ...] = (
        {}, {"warm_up": 0.9}, {"largest_gradient": 0.01}, {"precision": "bfloat16"}
    )  # fmt: skip

    made = [run("fine_tune", model, epochs=1, batch_size=16, **way).model for way in ways]

    weights = [torch.cat([tensor.flatten() for tensor in each.parameters()]) for each in made]
    assert all(not torch.equal(weights[0], other) for other in weights[1:])
    assert all(tensor.dtype == torch.float32 for tensor in made[3].parameters())
    with torch.no_grad():
        data = task_for(model).data("train")
        losses = [float(task_for(model).loss(each, data.inputs, data.labels)) for each in made]
    assert losses[3] == pytest.approx(losses[0], rel=0.05)
