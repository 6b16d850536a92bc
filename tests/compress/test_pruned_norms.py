"""The debugging story of the source of `restore`: pruning a few normalisation weights ruins an encoder-decoder."""

import copy
from functools import cache

import torch
from torch import Tensor, nn

from cc_ray.compress import Context, Outcome, apply_step
from cc_ray.recipe import Step
from cc_ray.tasks import Data, Split
from cc_ray.tasks.training import train
from tests.compress.tiny import SIZES, Tiny, checks, tensors
from tests.seeds import drawn_from

EVERYTHING = ["*.weight"]
NORMS = ["*layer_norm*"]


class Spotting(Tiny):
    """Which of four tokens is hidden among others: the encoder-decoder's first word says it."""

    def data(self, split: Split) -> Data:
        generator = torch.Generator().manual_seed(0)
        labels = torch.randint(4, (192,), generator=generator)
        inputs = torch.randint(5, 16, (192, 6), generator=generator)
        inputs[torch.arange(192), torch.randint(6, (192,), generator=generator)] = labels + 1
        chosen = slice(*SIZES[split])
        return Data(inputs[chosen], labels[chosen], torch.arange(192)[chosen])

    def logits(self, model: nn.Module, inputs: Tensor) -> Tensor:
        said: Tensor = model(input_ids=inputs, decoder_input_ids=torch.zeros_like(inputs[:, :1])).logits
        return said[:, 0, 1:5]


TASK = Spotting()


@cache
def trained() -> nn.Module:
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(vocab_size=16, d_model=32, d_kv=8, d_ff=48, num_layers=1, num_heads=4, dropout_rate=0.0)
    with drawn_from(0):
        model: nn.Module = T5ForConditionalGeneration(config)
    return train(model, TASK.data("train"), TASK.loss, epochs=20, learning_rate=0.02, batch_size=32)


def step(model: nn.Module, operation: str, **parameters: object) -> Outcome:
    given = Context(TASK, 0, lambda index: copy.deepcopy(trained()))
    return apply_step(Step(operation, parameters), model, given)


def loss(model: nn.Module) -> float:
    data = TASK.data("evaluation")
    with torch.no_grad():
        return float(TASK.loss(model, data.inputs, data.labels))


def test_restoring_the_norms_mends_what_pruning_everything_broke() -> None:
    broken = step(trained(), "magnitude_pruning", sparsity=0.6, scope="layer", include=EVERYTHING)
    mended = step(broken.model, "restore", include=NORMS)

    assert "layer_norm" in checks(broken)["norm_pruned"]
    assert loss(broken.model) > 100 * loss(trained())
    assert loss(mended.model) < 10 * loss(trained())
    norms = sum(tensor.numel() for name, tensor in tensors(trained()).items() if "layer_norm" in name)
    assert f"with {norms} values" in checks(mended)["restored"]
    assert norms < 0.02 * sum(parameter.numel() for parameter in trained().parameters())


def test_leaving_the_norms_out_is_the_same_recipe_in_one_step() -> None:
    spared = step(trained(), "magnitude_pruning", sparsity=0.6, scope="layer", include=EVERYTHING, exclude=NORMS)
    mended = step(trained(), "magnitude_pruning", sparsity=0.6, scope="layer", include=EVERYTHING).model
    mended = step(mended, "restore", include=NORMS).model

    assert all(torch.equal(value, tensors(mended)[name]) for name, value in tensors(spared.model).items())
    assert "norm_pruned" not in checks(spared)


def test_the_embedding_that_both_halves_share_stays_shared() -> None:
    pruned = step(trained(), "magnitude_pruning", sparsity=0.5, include=["shared.weight"]).model

    embedding = pruned.get_parameter("shared.weight")
    assert (embedding == 0).float().mean() == 0.5
    for name in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight"):
        assert pruned.get_parameter(name) is embedding
