import torch
from torch import nn

from cc_ray.compress.checks import check
from cc_ray.compress.magnitude_pruning import MagnitudePruning
from cc_ray.compress.uniform_quantization import UniformQuantization
from tests.compress.tiny import base_model, checks, run


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))


def test_nan_weights_are_an_error_with_their_count() -> None:
    parent, child = model(), model()
    child.get_parameter("1.weight").data[0, :3] = float("nan")

    [finding] = [
        finding for finding in check(MagnitudePruning(sparsity=0), parent, child) if finding.severity == "error"
    ]

    assert (finding.check, finding.layer, finding.found) == ("not_finite", "1", 3.0)
    assert finding.message.startswith("3 of 16 values of '1.weight' are NaN")


def test_a_sparsity_that_is_not_reached_is_told_with_both_numbers() -> None:
    parent, child = model(), model()
    child.get_parameter("0.weight").data.zero_()

    findings = {finding.check: finding for finding in check(MagnitudePruning(sparsity=0.75), parent, child)}

    assert (findings["sparsity_differs"].expected, findings["sparsity_differs"].found) == (0.75, 0.5)
    assert "fewer than asked for" in findings["sparsity_differs"].message
    assert findings["layer_dead"].layer == "0"


def test_more_distinct_values_than_the_bits_hold_are_an_error() -> None:
    parent, child = nn.Sequential(nn.Linear(8, 2)), nn.Sequential(nn.Linear(8, 2))

    findings = check(UniformQuantization(bits=2), parent, child)

    [finding] = [finding for finding in findings if finding.check == "bit_width_differs"]
    assert (finding.expected, finding.found) == (4.0, 8.0)


def test_targets_passed_over_are_named() -> None:
    parent = model()
    child = nn.Sequential(parent[0], nn.Linear(4, 4)) if isinstance(parent, nn.Sequential) else parent

    findings = {finding.check: finding for finding in check(MagnitudePruning(sparsity=0), parent, child)}

    assert findings["targets_unchanged"].message == "1 of 2 targeted tensors are as they were: '0.weight'."
    assert findings["targets_unchanged"].layer == "0"


def test_an_equal_child_is_told() -> None:
    assert "can be left out" in checks(run("magnitude_pruning", base_model("cnn"), sparsity=0.0))["nothing_changed"]


def test_weights_outside_layers_are_named() -> None:
    recurrent = nn.ModuleDict({"memory": nn.LSTM(8, 8), "head": nn.Linear(8, 4)})

    found = checks(run("magnitude_pruning", recurrent, sparsity=0.5))

    assert found["weights_untargeted"].startswith("94% of the weights")
    assert "'memory.weight_ih_l0'" in found["weights_untargeted"]


def test_negative_zeros_become_zeros() -> None:
    parent = nn.Sequential(nn.Linear(2, 2))
    parent.get_parameter("0.weight").data[:] = torch.tensor([[-0.0, 1.0], [2.0, 3.0]])

    child = run("magnitude_pruning", parent, sparsity=0.25).model

    assert not torch.signbit(child.get_parameter("0.weight")).any()
