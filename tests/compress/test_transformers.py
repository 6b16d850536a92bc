"""Operations that change architectures, on transformers of several kinds."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cc_ray.errors import NotApplicableError
from cc_ray.store.artifacts import load_model, save_model
from cc_ray.store.layout import Draft
from tests.compress.transformers import WORDS_TASK, build, outputs, run

CASES = [
    ("low_rank", {"amount": 0.5}),
    ("low_rank", {"by": "energy", "amount": 0.6, "weighed_by": "inputs"}),
    ("layer_pruning", {"count": 1}),
    ("layer_pruning", {"count": 1, "choice": "loss"}),
    ("head_pruning", {"ratio": 0.5}),
    ("head_pruning", {"ratio": 0.5, "importance": "taylor"}),
    ("neuron_pruning", {"ratio": 0.5}),
    ("neuron_pruning", {"ratio": 0.5, "importance": "taylor"}),
    ("neuron_pruning", {"ratio": 0.5, "importance": "activation"}),
]


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert", "t5"])
@pytest.mark.parametrize(("operation", "told"), CASES, ids=lambda value: str(value))
def test_they_get_smaller_run_and_come_back(name: str, operation: str, told: dict[str, object], tmp_path: Path) -> None:
    model = build(name)

    made = run(operation, model, **told)

    assert parameters(made.model) < parameters(model)
    assert not {finding.check for finding in made.findings if finding.severity == "error"}
    saved = save_model(Draft(tmp_path), made.model)
    loaded = load_model(Draft(tmp_path), saved.digest, build(name))
    assert torch.equal(outputs(loaded), outputs(made.model))
    assert save_model(Draft(tmp_path), loaded) == saved


def shut(model: nn.Module, layer: str, columns: list[int]) -> None:
    """Make what a layer takes in at some places mean nothing."""
    weight = model.get_submodule(layer).get_parameter("weight")
    axis = int(type(model.get_submodule(layer)).__name__ == "Conv1D")
    weight.data.movedim(1 - axis, 0)[columns] = 0


@pytest.mark.parametrize(
    ("name", "outward", "width"),
    [
        ("gpt2", "transformer.h.{}.attn.c_proj", 4),
        ("bert", "bert.encoder.layer.{}.attention.output.dense", 4),
        ("llama", "model.layers.{}.self_attn.o_proj", 8),
    ],
)
def test_heads_that_nobody_reads_go_without_loss(name: str, outward: str, width: int) -> None:
    model = build(name)
    groups = 16 // width
    for block in range(3):
        shut(model, outward.format(block), list(range(width)))

    made = run("head_pruning", model, ratio=1 / groups, importance="taylor").model

    assert torch.allclose(outputs(made), outputs(model), atol=1e-6)
    assert made.get_submodule(outward.format(0)).get_parameter("weight").numel() == 16 * (16 - width)


@pytest.mark.parametrize("importance", ["taylor", "activation"])
@pytest.mark.parametrize(
    ("name", "outward", "width"),
    [
        ("gpt2", "transformer.h.{}.mlp.c_proj", 64),
        ("bert", "bert.encoder.layer.{}.output.dense", 24),
        ("llama", "model.layers.{}.mlp.down_proj", 24),
    ],
)
def test_neurons_that_nobody_reads_go_without_loss(name: str, outward: str, width: int, importance: str) -> None:
    model = build(name)
    gone = list(range(1, width, 2))
    for block in range(3):
        shut(model, outward.format(block), gone)

    made = run("neuron_pruning", model, ratio=0.5, importance=importance)

    assert torch.allclose(outputs(made.model), outputs(model), atol=1e-6)
    kept = made.kept[f"{outward.format(0)}.weight"]
    assert list(range(0, width, 2)) in kept


def test_a_block_that_changes_nothing_goes_first_and_caches_move_up() -> None:
    model = build("llama")
    for inner in ("self_attn.o_proj", "mlp.down_proj"):
        model.get_submodule(f"model.layers.1.{inner}").get_parameter("weight").data.zero_()

    made = run("layer_pruning", model, count=1).model

    assert torch.allclose(outputs(made), outputs(model), atol=1e-6)
    attentions = {
        path: vars(module)["layer_idx"] for path, module in made.named_modules() if "layer_idx" in vars(module)
    }
    assert attentions == {"model.layers.0.self_attn": 0, "model.layers.2.self_attn": 1}
    given: list[Any] = [made, model]
    answers = [one.generate(WORDS_TASK.data("train").inputs[:2, :4], max_new_tokens=4) for one in given]
    assert torch.equal(*answers), "with a cache of keys and values, too"


@pytest.mark.parametrize("importance", ["norm", "taylor"])
def test_heads_that_share_position_biases_go_together(importance: str) -> None:
    model = build("t5")
    unread = {"encoder": {"SelfAttention": 1}, "decoder": {"SelfAttention": 2, "EncDecAttention": 0}}
    attentions = {path: module for path, module in model.named_modules() if path.endswith("Attention")}
    for path, attention in attentions.items():
        head = unread[path.split(".")[1]][path.split(".")[-1]]
        rows = slice(4 * head, 4 * head + 4)
        for name in ("q", "k", "v"):
            attention.get_parameter(f"{name}.weight").data[rows] /= 100
        attention.get_parameter("o.weight").data[:, rows] = 0

    made = run("head_pruning", model, ratio=0.25, importance=importance)

    assert len(attentions) == 7
    assert torch.allclose(outputs(made.model), outputs(model), atol=1e-6)
    biases = "transformer.encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    assert made.model.get_parameter(biases).shape == (32, 3)
    assert made.kept[biases][1] == [0, 2, 3]
    asked = WORDS_TASK.data("train").inputs[:2]
    assert made.model(input_ids=asked).logits.shape == (2, 4)


def test_heads_that_go_together_are_chosen_together() -> None:
    with pytest.raises(NotApplicableError, match=r"block\.0.* go together, .* leave .*block\.1"):
        run("head_pruning", build("t5"), ratio=0.5, exclude=["transformer.encoder.block.1.*"])
    made = run("head_pruning", build("t5"), ratio=0.5, include=["transformer.encoder.*"])
    assert made.model.get_parameter("transformer.encoder.block.2.layer.0.SelfAttention.q.weight").shape == (8, 16)
    assert made.model.get_parameter("transformer.decoder.block.1.layer.0.SelfAttention.q.weight").shape == (16, 16)


def test_a_block_that_makes_what_others_need_stays() -> None:
    with pytest.raises(NotApplicableError, match=r"4 blocks are to go, and it has 3"):
        run("layer_pruning", build("t5"), count=4)
