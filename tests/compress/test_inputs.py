import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from cc_ray.compress import Context
from cc_ray.compress.bias_correction import _mean
from cc_ray.compress.inputs import (
    _columns,
    has_inputs,
    input_moments,
    squared_inputs,
    weight_matrix,
    without_padding,
)
from cc_ray.compress.ranges import clipped_ranges, input_ranges
from cc_ray.compress.targets import layer_weights
from cc_ray.tasks import Data, Split
from tests.compress.tiny import Tiny, TinyText, base_model
from tests.seeds import drawn_from


class Given(Tiny):
    """A task of which the calibration split is what a layer takes."""

    def data(self, split: Split) -> Data:
        return Data(INPUTS, torch.zeros(len(INPUTS), dtype=torch.int64), torch.arange(len(INPUTS)))

    def logits(self, model: nn.Module, inputs: Tensor) -> Tensor:
        outputs: Tensor = model(inputs)
        return outputs.flatten(1)


INPUTS = torch.randn(70, 4, 6, 6, generator=torch.Generator().manual_seed(3))


def layers(seed: int) -> dict[str, nn.Module]:
    """One of each kind that is fed, with weights drawn from a seed."""
    with drawn_from(seed):
        return {
            "linear": nn.Linear(6, 3, bias=False),
            "transposed": Conv1D(3, 6),
            "conv": nn.Conv2d(4, 6, 3, padding=(1, 0), stride=2, bias=False),
            "grouped": nn.Conv2d(4, 6, 3, padding="same", dilation=2, groups=2, bias=False),
            "reflected": nn.Conv2d(4, 2, (3, 1), padding=(1, 0), padding_mode="reflect", bias=False),
            "flat": nn.Sequential(nn.Flatten(2), nn.Conv1d(4, 2, 5, padding=2, stride=3, bias=False)),
        }


LAYERS = layers(0)


@pytest.mark.parametrize("kind", LAYERS)
def test_moments_tell_the_mean_square_of_what_a_layer_puts_out(kind: str) -> None:
    model = copy.deepcopy(LAYERS[kind])
    context = Context(Given(), 0, lambda index: model)
    (target,) = layer_weights(model)
    with torch.no_grad():
        outputs = model(INPUTS)
        channels = outputs.movedim(-1 if kind in {"linear", "transposed"} else 1, 0).flatten(1)

        moments = input_moments(model, [target], context, len(INPUTS))[target.path]
        squares = squared_inputs(model, [target], context, len(INPUTS))[target.path]
        weight = weight_matrix(target)

        assert has_inputs(target)
        torch.testing.assert_close(
            torch.einsum("grc,gcd,grd->gr", weight, moments, weight).flatten(), channels.square().mean(1)
        )
        torch.testing.assert_close(moments.diagonal(dim1=1, dim2=2), squares)


def test_only_so_many_instances_are_asked() -> None:
    model = nn.Linear(6, 3)
    few, same = (
        squared_inputs(model, layer_weights(model), Context(Given(), 0, lambda index: model), count)[""]
        for count in (10, 10)
    )

    torch.testing.assert_close(few[0], INPUTS[:10].square().mean((0, 1, 2)))
    assert torch.equal(few, same)


class Sentences(TinyText):
    """A task whose instances may be padded further than they are."""

    extra: int = 0
    """Places of padding more."""

    def data(self, split: Split) -> Data:
        data = super().data(split)
        return replace(data, inputs=nn.functional.pad(data.inputs, (0, self.extra)))

    def places(self, inputs: Tensor) -> tuple[Tensor, ...]:
        return (inputs != 0,)


@pytest.mark.parametrize("measure", [squared_inputs, input_moments, input_ranges, partial(clipped_ranges, levels=255)])
def test_padding_counts_nowhere(measure: Callable[..., dict[str, Any]]) -> None:
    # Padding stands behind all that a decoder looks at: what is real comes out alike.
    model = base_model("language")
    targets = layer_weights(model)

    found, more = (
        measure(model, targets, Context(Sentences(extra=extra), 0, lambda index: model), 48) for extra in (0, 4)
    )

    assert found.keys() == more.keys()
    for path, values in found.items():
        torch.testing.assert_close(torch.as_tensor(more[path]), torch.as_tensor(values))


class Convolving(nn.Module):
    """Convolutions over tokens: each sees what stands beside a token, every second one, and what is left of it."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(16, 6, padding_idx=0)
        self.beside = nn.Conv1d(6, 8, 3, padding=1, bias=False)
        self.grouped = nn.Conv1d(8, 8, 5, padding="same", dilation=2, groups=2, bias=False)
        self.second = nn.Conv1d(8, 4, 2, stride=2, bias=False)
        self.lm_head = nn.Linear(4, 16)

    def forward(self, tokens: Tensor) -> Tensor:
        real = (tokens != 0)[:, None]
        hidden = self.beside(self.embedding(tokens).mT).relu() * real
        hidden = self.second((self.grouped(hidden).relu() + 1) * real)
        scores: Tensor = self.lm_head(hidden.mean(-1))
        return scores


class Tokens(Given):
    """Sentences of even length, padded to the longest and further."""

    extra: int = 0
    """Places of padding more."""

    def data(self, split: Split) -> Data:
        chance = torch.Generator().manual_seed(5)
        lengths = torch.randint(1, 5, (48, 1), generator=chance) * 2
        tokens = torch.randint(1, 16, (48, 8), generator=chance) * (torch.arange(8) < lengths)
        inputs = nn.functional.pad(tokens, (0, self.extra))
        return Data(inputs, torch.zeros(48, dtype=torch.int64), torch.arange(48))

    def places(self, inputs: Tensor) -> tuple[Tensor, ...]:
        return (inputs != 0,)


@pytest.mark.parametrize("measure", [squared_inputs, input_moments, input_ranges, partial(clipped_ranges, levels=255)])
def test_padding_counts_in_no_convolution_over_tokens(measure: Callable[..., dict[str, Any]]) -> None:
    with drawn_from(1):
        model = Convolving().eval()
    targets = [target for target in layer_weights(model) if isinstance(target.module, nn.Conv1d)]

    found, more = (measure(model, targets, Context(Tokens(extra=extra), 0, lambda _: model), 48) for extra in (0, 6))

    assert found.keys() == more.keys() == {"beside", "grouped", "second"}
    for path, values in found.items():
        torch.testing.assert_close(torch.as_tensor(more[path]), torch.as_tensor(values))


def test_windows_count_by_their_middle_and_outputs_by_their_place() -> None:
    with drawn_from(2):
        layer = nn.Conv1d(2, 3, 3, padding=1, bias=False)
        values = torch.randn(2, 2, 5)
    real = torch.tensor([[True, True, True, False, False], [True, False, False, False, False]])
    with torch.no_grad():
        outputs = layer(values)

        columns = _columns(layer, values, (real,))

        kept = without_padding(layer, outputs, (real,))
        torch.testing.assert_close((weight_matrix(layer_weights(layer)[0])[0] @ columns[0]).T, kept)
        torch.testing.assert_close(_mean(layer, outputs, (real,)), kept.mean(0))
        torch.testing.assert_close(_mean(layer, outputs, ()), outputs.mean((0, 2)))
        assert kept.shape == (4, 3) and without_padding(layer, values, (real,)).shape == (4, 2)
        assert without_padding(layer, values, (real[:, :4],)) is values


def test_sequences_of_two_lengths_are_told_apart_and_convolutions_of_two_axes_keep_all() -> None:
    long, short = torch.tensor([[True, True, False], [True, False, False]]), torch.tensor([[True, False], [True, True]])
    layer = nn.Linear(1, 1)
    values = torch.arange(6.0)[:, None]

    def left(module: nn.Module, given: Tensor) -> list[float]:
        return without_padding(module, given, (long, short)).flatten().tolist()

    assert left(layer, values.view(2, 3, 1)) == left(layer, values) == [0, 1, 3]
    assert left(layer, values[:4].view(2, 2, 1)) == [0, 2, 3]
    assert left(layer, values[:2]) == [0, 1], "one value of each instance"
    assert left(nn.Conv1d(1, 1, 1), values.view(2, 1, 3)) == [0, 1, 3]
    assert left(nn.Conv2d(2, 1, 1), values.view(1, 2, 3)) == list(range(6))
