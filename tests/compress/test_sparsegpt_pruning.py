import copy

import pytest
import torch
from torch import Tensor, nn

from cc_ray.compress import Context, apply_step
from cc_ray.compress.inputs import in_order_of_use, input_moments
from cc_ray.compress.sparsegpt_pruning import SparseGPTPruning
from cc_ray.compress.targets import layer_weights
from cc_ray.recipe import Step
from tests.compress.test_inputs import INPUTS, LAYERS, Given, layers
from tests.compress.tiny import TASK, base_model, context, outputs, run, tensors


def reference(weight: Tensor, moments: Tensor, sparsity: float, damping: float, width: int) -> Tensor:
    """The paper's update, column by column, each time with the inverse of what is left, in float64.

    Args:
        weight: (rows, columns).
        moments: (columns, columns).
        sparsity: Share of each block of columns that goes.
        damping: Share of the mean of the diagonal.
        width: Columns of a block.
    """
    weight, hessian = weight.double().clone(), moments.double()
    columns = weight.shape[1]
    hessian = hessian + damping * hessian.diagonal().mean() * torch.eye(columns)
    for column in range(columns):
        inverse = torch.linalg.inv(hessian[column:, column:])
        if column % width == 0:
            last = min(columns, column + width)
            # As elimination goes on, the first entry of each later inverse is what the source squares and divides by.
            first = torch.stack([torch.linalg.inv(hessian[j:, j:])[0, 0] for j in range(column, last)])
            scores = weight[:, column:last].square() / first
            count = round(sparsity * scores.numel())
            gone = torch.zeros(scores.numel(), dtype=torch.bool)
            gone[scores.flatten().argsort(stable=True)[:count]] = True
            gone = gone.view(scores.shape)
        mask = gone[:, column % width]
        step = weight[:, column].where(mask, 0.0) / inverse[0, 0]
        weight[:, column:] -= step[:, None] * inverse[0]
        weight[mask, column] = 0.0
    return weight


@pytest.mark.parametrize("width", [4, 16])
def test_it_does_what_the_paper_writes(width: int) -> None:
    model = base_model("mlp")
    given = context("mlp")
    targets = layer_weights(model)
    moments = input_moments(model, targets, given, 48)

    pruned = run("sparsegpt_pruning", model, sparsity=0.5, sequential=False, block=width).model

    for before, after in zip(targets, layer_weights(pruned), strict=True):
        expected = reference(before.tensor.detach(), moments[before.path][0], 0.5, 0.01, width)
        torch.testing.assert_close(after.tensor.detach(), expected.float(), rtol=1e-3, atol=1e-4)


class Mixed(Given):
    """Neighbouring channels have something in common, so that one can make up for another."""

    def logits(self, model: nn.Module, inputs: Tensor) -> Tensor:
        return super().logits(model, inputs + inputs.roll(1, dims=1) + inputs.roll(1, dims=3))


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("said", [{}, {"semi_structured": "1:2"}], ids=["free", "1:2"])
def test_weights_that_stay_make_up_for_those_that_go(kind: str, said: dict[str, str]) -> None:
    # Each column is made up for as if it were the last to go, so single small layers may come out worse.
    assert sum(_error_left(layers(seed)[kind], said) for seed in range(10)) / 10 < 0.99


def _error_left(model: nn.Module, said: dict[str, str]) -> float:
    """The error of a pruned model's outputs, as a share of that which the same zeros make alone."""
    task, step = Mixed(), Step("sparsegpt_pruning", {"sparsity": 0.5, **said})

    child = apply_step(step, copy.deepcopy(model), Context(task, 0, lambda index: model)).model

    masked = copy.deepcopy(model)
    (pruned,), (target,) = layer_weights(child), layer_weights(masked)
    assert (pruned.tensor == 0).float().mean() == pytest.approx(0.5, abs=0.01)
    with torch.no_grad():
        target.tensor.masked_fill_(pruned.tensor == 0, 0.0)
        wanted, found, plain = (task.logits(each, INPUTS) for each in (model, child, masked))
    return float((found - wanted).norm() / (plain - wanted).norm())


def test_later_layers_make_up_for_what_earlier_ones_lost() -> None:
    model = base_model("cnn")

    children = [run("sparsegpt_pruning", model, sparsity=0.6, sequential=each).model for each in (True, False)]

    sequential, parallel = (float((outputs(child) - outputs(model)).norm()) for child in children)
    assert sequential < parallel


def test_layers_are_taken_in_the_order_in_which_they_are_called() -> None:
    model = base_model("cnn")
    shuffled = layer_weights(model)[::-1]

    order = [target.path for target in in_order_of_use(model, shuffled, context("cnn"))]

    assert order == ["stem.0", "first.0", "shortcut", "second.0", "second.3", "head"]


def test_memory_bounds_how_many_layers_share_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    model = base_model("mlp")
    made = SparseGPTPruning(sparsity=0.5, sequential=False)
    whole = run("sparsegpt_pruning", model, sparsity=0.5, sequential=False).model

    assert len(list(made._turns(layer_weights(model)))) == 1
    monkeypatch.setattr("cc_ray.compress.sparsegpt_pruning.MOST_COLUMNS", 64)
    assert len(list(made._turns(layer_weights(model)))) == 2
    parted = run("sparsegpt_pruning", model, sparsity=0.5, sequential=False).model

    assert all(torch.equal(value, tensors(whole)[name]) for name, value in tensors(parted).items())
    monkeypatch.setattr("cc_ray.compress.sparsegpt_pruning.MOST_COLUMNS", 63)
    assert "has 64 columns" in made.unfit(layer_weights(model)[0])


def test_inputs_that_are_never_fed_go_first() -> None:
    model = base_model("mlp")
    with torch.no_grad():
        model.get_parameter("1.bias").fill_(2.0)
        for neuron in (3, 8, 9):
            model.get_parameter("1.weight")[neuron] = 0.0
            model.get_parameter("1.bias")[neuron] = -1.0
        before = outputs(model)

    pruned = run("sparsegpt_pruning", model, sparsity=3 / 16, include=["3"]).model

    assert (pruned.get_parameter("3.weight")[:, [3, 8, 9]] == 0).all()
    torch.testing.assert_close(outputs(pruned), before)


def test_zeros_of_earlier_steps_stay_zero() -> None:
    sparse = run("random_pruning", base_model("mlp"), sparsity=0.4, scope="layer").model

    more = run("sparsegpt_pruning", sparse, sparsity=0.5).model

    for before, after in zip(layer_weights(sparse), layer_weights(more), strict=True):
        assert not after.tensor[before.tensor == 0].any()
        assert int((after.tensor == 0).sum()) == after.tensor.numel() // 2
    assert TASK.logits(more, TASK.data("evaluation").inputs).isfinite().all()
