import pytest
import torch
from torch import Tensor, nn

from cc_ray.compress import apply_step
from cc_ray.errors import NotApplicableError
from cc_ray.recipe import Step
from tests.compress.tiny import TASK, Residual, base_model, checks, context, outputs, run


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.named_parameters()}


def test_coupled_channels_go_together_and_ends_stay() -> None:
    model = run("channel_pruning", base_model("cnn"), ratio=0.5).model
    assert isinstance(model, Residual)

    found = shapes(model)
    assert found["stem.0.weight"] == (4, 1, 3, 3)
    assert found["first.0.weight"] == (6, 4, 3, 3)
    assert found["shortcut.weight"] == (6, 4, 1, 1)
    assert found["second.0.weight"] == (6, 1, 3, 3)
    assert found["head.weight"] == (4, 6)
    assert sum(p.numel() for p in model.parameters()) < sum(p.numel() for p in Residual().parameters()) / 2


def test_what_goes_has_the_smallest_norm() -> None:
    model = base_model("mlp")
    inner, outer = model.get_parameter("1.weight"), model.get_parameter("3.weight")
    with torch.no_grad():
        for channel in (2, 5, 11):
            inner[channel] *= 0.01
            outer[:, channel] *= 0.01

    pruned = apply_step(Step("channel_pruning", {"ratio": 3 / 16}), model, context("mlp")).model

    kept = [channel for channel in range(16) if channel not in (2, 5, 11)]
    assert torch.equal(pruned.get_parameter("1.weight"), inner[kept])
    assert torch.equal(pruned.get_parameter("3.weight"), outer[:, kept])


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_transformer_loses_feed_forward_neurons_only(attention: str) -> None:
    model = base_model("vit")
    model.set_attn_implementation(attention)  # type: ignore[operator]
    before = shapes(model)

    after = shapes(run("channel_pruning", model, ratio=0.25).model)

    changed = {name for name in before if before[name] != after[name]}
    assert changed == {
        f"vit.layers.{layer}.mlp.{name}" for layer in (0, 1) for name in ("fc1.weight", "fc1.bias", "fc2.weight")
    }
    assert after["vit.layers.0.mlp.fc1.weight"] == (18, 16)


def test_exclude_keeps_whole_groups() -> None:
    outcome = run("channel_pruning", base_model("cnn"), ratio=0.5, exclude=["shortcut"])

    assert shapes(outcome.model)["first.0.weight"] == (12, 4, 3, 3)


def test_a_ratio_that_rounds_to_nothing_is_told() -> None:
    outcome = run("channel_pruning", base_model("cnn"), ratio=0.01)

    assert "rounds to none" in checks(outcome)["not_smaller"]
    assert "nothing_changed" in checks(outcome)


def test_one_channel_always_stays() -> None:
    model = run("channel_pruning", base_model("cnn"), ratio=0.99).model

    assert shapes(model)["stem.0.weight"][0] == 1
    assert outputs(model).isfinite().all()


def test_a_model_without_inner_channels_is_refused() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4)).eval()

    with pytest.raises(NotApplicableError, match="no channels that could go"):
        run("channel_pruning", model, ratio=0.5)


class Fixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3, padding=1)
        self.last = nn.Linear(6 * 64, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        scores: Tensor = self.last(self.first(inputs).view(-1, 6 * 64))
        return scores


def test_a_fixed_width_in_the_forward_is_named() -> None:
    with pytest.raises(NotApplicableError, match="its forward holds a fixed width"):
        run("channel_pruning", Fixed().eval(), ratio=0.5)


def test_flattened_convolutions_are_followed() -> None:
    model = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.Flatten(), nn.Linear(6 * 64, 4)).eval()

    pruned = run("channel_pruning", model, ratio=0.5).model

    assert shapes(pruned)["2.weight"] == (4, 3 * 64)
    assert TASK.logits(pruned, TASK.data("evaluation").inputs).shape == (48, 4)


def test_what_is_left_of_every_tensor_is_recorded() -> None:
    before = base_model("cnn")

    outcome = run("channel_pruning", before, ratio=0.5)

    after, old = dict(outcome.model.named_parameters()), dict(before.named_parameters())
    assert set(outcome.kept) == {name for name in old if old[name].shape != after[name].shape}
    for name, kept in outcome.kept.items():
        values: Tensor = old[name]
        for axis, indices in enumerate(kept):
            values = values.index_select(axis, torch.tensor(indices))
        assert torch.equal(values, after[name]), name


def test_inputs_that_a_convolution_gave_before_flattening_are_recorded() -> None:
    model = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.Flatten(), nn.Linear(6 * 64, 4)).eval()

    outcome = run("channel_pruning", model, ratio=0.5)

    channels = outcome.kept["0.weight"][0]
    assert outcome.kept["2.weight"][1] == [64 * channel + place for channel in channels for place in range(64)]


def kept_neurons(model: nn.Module, seed: int = 0, **parameters: object) -> list[int]:
    """Inner neurons of a two-layer network that stay."""
    given = context("mlp", seed=seed)
    outcome = apply_step(Step("channel_pruning", {"ratio": 0.25, **parameters}), model, given)
    assert torch.equal(outcome.model.get_parameter("1.bias"), model.get_parameter("1.bias")[outcome.kept["1.bias"][0]])
    return outcome.kept["1.bias"][0]


@pytest.mark.parametrize(("importance", "power"), [("l1", 1), ("l2", 2)])
def test_importance_by_norm(importance: str, power: int) -> None:
    model = base_model("mlp")
    inner, outer = (model.get_parameter(name).detach().abs() ** power for name in ("1.weight", "3.weight"))

    expected = (inner.sum(1) + outer.sum(0)).argsort()[4:].sort().values

    assert kept_neurons(model, importance=importance) == expected.tolist()


def test_importance_by_what_the_loss_depends_on() -> None:
    model = base_model("mlp")
    data = TASK.data("calibration")
    scores = torch.zeros(16)
    for start in range(0, 48, 16):
        model.zero_grad()
        chosen = slice(start, start + 16)
        torch.autograd.backward(TASK.loss(model, data.inputs[chosen], data.labels[chosen]))
        inner, outer = model.get_parameter("1.weight"), model.get_parameter("3.weight")
        assert inner.grad is not None and outer.grad is not None
        scores += (inner * inner.grad).abs().sum(1).detach() + (outer * outer.grad).abs().sum(0).detach()

    assert kept_neurons(model, importance="taylor") == scores.argsort()[4:].sort().values.tolist()


def test_importance_by_chance_depends_on_the_seed() -> None:
    first, again, other = (kept_neurons(base_model("mlp"), seed, importance="random") for seed in (1, 1, 2))

    assert first == again != other


def test_batch_norms_keep_the_statistics_of_the_channels_that_stay() -> None:
    before = run("calibrate", base_model("cnn")).model

    outcome = run("channel_pruning", before, ratio=0.5)

    for path in ("stem", "first"):
        norm, old = outcome.model.get_submodule(f"{path}.1"), before.get_submodule(f"{path}.1")
        channels = outcome.kept[f"{path}.0.weight"][0]
        assert isinstance(norm, nn.BatchNorm2d) and norm.num_features == len(channels)
        assert torch.equal(norm.get_buffer("running_mean"), old.get_buffer("running_mean")[channels])
        assert torch.equal(norm.get_buffer("running_var"), old.get_buffer("running_var")[channels])


def test_what_a_grouped_convolution_takes_in_and_puts_out_stays() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3, groups=2), nn.Conv2d(8, 6, 1), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Flatten(), nn.Linear(96, 4),
    ).eval()  # fmt: skip

    pruned = run("channel_pruning", model, ratio=0.5).model

    assert shapes(pruned)["0.weight"] == (8, 1, 3, 3)
    assert shapes(pruned)["1.weight"] == (8, 4, 3, 3)
    assert shapes(pruned)["2.weight"] == (3, 8, 1, 1)
    assert shapes(pruned)["6.weight"] == (4, 48)
    assert outputs(pruned).isfinite().all()


def test_steps_with_training_between_them_shrink_it_bit_by_bit() -> None:
    model = base_model("cnn")
    for _ in range(2):
        model = run("channel_pruning", model, ratio=0.5, importance="taylor").model
        model = run("fine_tune", model, epochs=1).model

    assert shapes(model)["stem.0.weight"] == (2, 1, 3, 3)
    assert shapes(model)["head.weight"] == (4, 3)
    assert outputs(model).isfinite().all()
