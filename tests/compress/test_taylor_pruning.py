import copy

import pytest
import torch
from torch import Tensor, nn

from cc_ray.compress import Context, apply_step
from cc_ray.compress.gradients import loss_changes
from cc_ray.compress.targets import layer_weights
from cc_ray.recipe import Step
from tests.compress.tiny import TASK, Tiny, base_model, context, outputs, run, tensors


def loss_when_scaled(model: nn.Module, name: str, place: int, factor: float) -> float:
    changed = copy.deepcopy(model)
    data = TASK.data("calibration")
    with torch.no_grad():
        changed.get_parameter(name).view(-1)[place] *= factor
        return float(TASK.loss(changed, data.inputs.double(), data.labels))


@pytest.mark.parametrize("name", ["1.weight", "3.weight"])
def test_scores_are_the_slope_of_the_loss_as_a_weight_shrinks(name: str) -> None:
    model = base_model("mlp").double()
    data = TASK.data("calibration")

    class Double(Tiny):
        def loss(self, model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
            return super().loss(model, inputs.double(), labels)

    [scores] = loss_changes(
        model, [model.get_parameter(name)], Context(Double(), 0, lambda index: model), "calibration", 10_000, len(data)
    )

    for place in (0, 7, 33):
        slope = (loss_when_scaled(model, name, place, 1.001) - loss_when_scaled(model, name, place, 0.999)) / 0.002
        assert float(scores.view(-1)[place]) == pytest.approx(abs(slope), rel=1e-3, abs=1e-7)


def test_scores_are_means_over_batches() -> None:
    model, given = base_model("cnn"), context("cnn")
    weights = [model.get_parameter("head.weight")]
    data = TASK.data("calibration")

    [scores] = loss_changes(model, weights, given, "calibration", 40, 16)

    expected = torch.zeros_like(scores)
    for start, stop in ((0, 16), (16, 32), (32, 40)):
        model.zero_grad()
        torch.autograd.backward(TASK.loss(model, data.inputs[start:stop], data.labels[start:stop]))
        assert weights[0].grad is not None
        expected += (stop - start) / 40 * (weights[0] * weights[0].grad).abs().detach()
    torch.testing.assert_close(scores, expected)


def test_the_model_is_left_without_gradients_and_frozen_weights_frozen() -> None:
    model = base_model("cnn")
    frozen = model.get_parameter("head.weight").requires_grad_(False)

    pruned = run("taylor_pruning", model, sparsity=0.5).model

    assert all(parameter.grad is None for parameter in pruned.parameters())
    assert not pruned.get_parameter("head.weight").requires_grad
    assert not frozen.requires_grad
    assert (pruned.get_parameter("head.weight") == 0).any()


def test_the_loss_is_the_tasks_own() -> None:
    class Backwards(Tiny):
        """Only the first class matters."""

        def loss(self, model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
            return self.logits(model, inputs)[:, 0].square().mean()

    model = base_model("mlp")
    step = Step("taylor_pruning", {"sparsity": 0.75, "include": ["3"]})

    pruned = apply_step(step, model, Context(Backwards(), 0, lambda index: model)).model

    assert torch.equal(tensors(pruned)["3.weight"][0], tensors(model)["3.weight"][0])
    assert not tensors(pruned)["3.weight"][1:].any()


def test_it_harms_the_loss_less_than_magnitude_does() -> None:
    model = run("fine_tune", base_model("cnn"), epochs=4, learning_rate=0.01, batch_size=16).model

    errors = [
        float((outputs(run(operation, model, sparsity=0.6).model) - outputs(model)).norm())
        for operation in ("taylor_pruning", "magnitude_pruning")
    ]

    assert errors[0] < errors[1]
    assert sum(int((target.tensor == 0).sum()) for target in layer_weights(model)) == 0
