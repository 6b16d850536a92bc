import pytest
import torch
from torch import Generator, Tensor, nn

from cc_ray.tasks import Data
from cc_ray.tasks.training import train
from tests.seeds import drawn_from


def loss(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(model(inputs), labels)


def halves(count: int = 70) -> Data:
    """Two classes: the sign of the first input tells them apart."""
    inputs = torch.randn(count, 4, generator=torch.Generator().manual_seed(0))
    return Data(inputs, (inputs[:, 0] > 0).long(), torch.arange(count))


def network() -> nn.Module:
    with drawn_from(1):
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))


def same(left: nn.Module, right: nn.Module) -> bool:
    return all(map(torch.equal, left.state_dict().values(), right.state_dict().values()))


def test_training_learns_and_leaves_the_model_in_evaluation_mode() -> None:
    data = halves()

    model = train(network(), data, loss, epochs=30, learning_rate=0.05, batch_size=16)

    assert not model.training
    assert (model(data.inputs).argmax(1) == data.labels).float().mean() > 0.95
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, second, other = (
        train(network(), halves(), loss, epochs=2, learning_rate=0.05, seed=seed) for seed in (0, 0, 1)
    )

    assert same(first, second)
    assert not same(first, other)


def test_the_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()

    train(network(), halves(), loss, epochs=1, learning_rate=0.05, seed=7)

    assert torch.equal(torch.get_rng_state(), before)


def test_no_epochs_change_nothing() -> None:
    assert same(train(network(), halves(), loss, epochs=0, learning_rate=0.05), network())


@pytest.mark.parametrize("batch_size", [7, 64, 1000])
def test_any_batch_size_works(batch_size: int) -> None:
    model = train(network(), halves(), loss, epochs=1, learning_rate=0.05, batch_size=batch_size)

    assert not same(model, network())


def test_keep_zeros_keeps_the_zeros_of_weights_and_trains_the_rest() -> None:
    model = network()
    weight = model.get_parameter("0.weight")
    with torch.no_grad():
        weight[:, ::2] = 0

    train(model, halves(), loss, epochs=3, learning_rate=0.05, keep_zeros=True)

    assert torch.all(weight[:, ::2] == 0)
    assert torch.all(weight[:, 1::2] != 0)


def test_keep_zeros_lets_biases_move_away_from_zero() -> None:
    model = network()

    train(model, halves(), loss, epochs=3, learning_rate=0.05, keep_zeros=True)

    assert torch.all(model.get_parameter("1.bias") != 0)


def test_without_keep_zeros_pruned_weights_grow_back() -> None:
    model = network()
    weight = model.get_parameter("0.weight")
    with torch.no_grad():
        weight[:, ::2] = 0

    train(model, halves(), loss, epochs=3, learning_rate=0.05)

    assert torch.count_nonzero(weight[:, ::2]) > 0


def test_frozen_parameters_stay_as_they_are() -> None:
    model = network()
    model.get_parameter("0.weight").requires_grad_(False)

    train(model, halves(), loss, epochs=1, learning_rate=0.05)

    assert torch.equal(model.get_parameter("0.weight"), network().get_parameter("0.weight"))


def test_augmentation_sees_every_batch() -> None:
    seen: list[int] = []

    def augment(inputs: Tensor, generator: Generator) -> Tensor:
        seen.append(len(inputs))
        return inputs

    train(network(), halves(), loss, epochs=2, learning_rate=0.05, batch_size=32, augment=augment)

    assert seen == [32, 32, 32, 32]
