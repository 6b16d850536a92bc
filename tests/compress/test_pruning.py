from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.pytorch_utils import Conv1D

from cc_ray.compress.pruning import Pruning
from cc_ray.compress.steps import operation_of
from cc_ray.compress.targets import layer_weights
from cc_ray.errors import InvalidRecipeError, NotApplicableError
from cc_ray.recipe import Step
from cc_ray.store.artifacts import save_model
from cc_ray.store.layout import Draft
from tests.compress.tiny import base_model, checks, run, tensors
from tests.seeds import drawn_from


def sparsity(model: nn.Module) -> float:
    found = [target.tensor for target in layer_weights(model)]
    return 1 - sum(int(t.count_nonzero()) for t in found) / sum(t.numel() for t in found)


def test_magnitude_pruning_keeps_the_largest_weights_of_all_layers() -> None:
    before = base_model("cnn")
    after = run("magnitude_pruning", before, sparsity=0.6).model

    kept = torch.cat([t.tensor[t.tensor != 0].abs().flatten() for t in layer_weights(after)])
    old = torch.cat([t.tensor.abs().flatten() for t in layer_weights(before)])
    assert torch.equal(kept.sort().values, old.sort().values[-len(kept) :])
    assert sparsity(after) == pytest.approx(0.6, abs=1e-3)


@pytest.mark.parametrize("operation", ["magnitude_pruning", "random_pruning"])
def test_by_layer_each_layer_reaches_the_sparsity(operation: str) -> None:
    after = run(operation, base_model("vit"), sparsity=0.75, scope="layer").model

    for target in layer_weights(after):
        assert int((target.tensor == 0).sum()) == round(0.75 * target.tensor.numel())


@pytest.mark.parametrize("operation", ["magnitude_pruning", "random_pruning"])
def test_sparsity_is_final_zeros_of_before_count(operation: str) -> None:
    once = run(operation, base_model("cnn"), sparsity=0.4)
    twice = run(operation, once.model, sparsity=0.5)

    assert sparsity(twice.model) == pytest.approx(0.5, abs=1e-3)
    old, new = tensors(once.model), tensors(twice.model)
    assert all(bool((new[name][old[name] == 0] == 0).all()) for name in old)


def test_norms_and_biases_are_left_alone_unless_named() -> None:
    before = base_model("cnn")
    spared = run("magnitude_pruning", before, sparsity=0.9)
    missed = run("magnitude_pruning", before, sparsity=0.1, include=["*.weight"])
    hit = run("magnitude_pruning", before, sparsity=0.5, scope="layer", include=["*.weight"])

    assert torch.equal(tensors(spared.model)["stem.1.weight"], tensors(before)["stem.1.weight"])
    assert "norm_pruned" not in checks(spared) | checks(missed)
    assert "'stem.1.weight'" in checks(hit)["norm_pruned"]


def test_a_parent_that_is_sparser_already_is_told_with_both_numbers() -> None:
    sparse = run("magnitude_pruning", base_model("cnn"), sparsity=0.8).model

    outcome = run("magnitude_pruning", sparse, sparsity=0.3)

    [finding] = [finding for finding in outcome.findings if finding.check == "sparsity_differs"]
    assert finding.expected == 0.3
    assert finding.found == pytest.approx(0.8, abs=1e-3)
    assert "the parent was sparser already" in finding.message
    assert "nothing_changed" in checks(outcome)


def test_random_pruning_depends_on_the_seed_alone() -> None:
    one, two = (run("random_pruning", base_model("cnn"), sparsity=0.5, seed=seed).model for seed in (1, 2))

    assert not torch.equal(tensors(one)["head.weight"], tensors(two)["head.weight"])


def test_pruning_a_simulated_model_stays_on_the_grid() -> None:
    simulated = run("uniform_quantization", base_model("cnn"), bits=3).model

    outcome = run("magnitude_pruning", simulated, sparsity=0.7)

    assert outcome.representation == "simulated"
    assert sparsity(outcome.model) == pytest.approx(0.7, abs=1e-3)


def test_by_row_each_output_reaches_the_sparsity() -> None:
    after = run("magnitude_pruning", base_model("vit"), sparsity=0.75, scope="row").model

    for target in layer_weights(after):
        zeros = (target.tensor.flatten(1) == 0).sum(1)
        assert set(zeros.tolist()) == {0.75 * target.tensor[0].numel()}


def test_transposed_layers_have_their_outputs_along_the_other_axis() -> None:
    model = nn.Sequential(nn.Flatten(), Conv1D(8, 64)).eval()

    rows = run("magnitude_pruning", model, sparsity=0.5, scope="row").model.get_parameter("1.weight")
    blocks = run("magnitude_pruning", model, sparsity=0.5, semi_structured="2:4").model.get_parameter("1.weight")

    assert set((rows == 0).sum(0).tolist()) == {32}
    assert set((blocks.T.reshape(-1, 4) == 0).sum(1).tolist()) == {2}


@pytest.mark.parametrize("operation", ["magnitude_pruning", "random_pruning", "wanda_pruning", "sparsegpt_pruning"])
def test_of_four_neighbouring_inputs_two_stay(operation: str) -> None:
    outcome = run(operation, base_model("cnn"), sparsity=0.5, semi_structured="2:4")

    for path, target in {target.path: target for target in layer_weights(outcome.model)}.items():
        if path in ("stem.0", "second.0"):
            assert target.tensor.all(), "one input channel is no block"
        else:
            blocks = target.tensor.movedim(1, -1).reshape(-1, 4)
            assert set((blocks != 0).sum(1).tolist()) == {2}
    assert "2 of the tensors" in checks(outcome)["targets_left_out"]
    assert "'stem.0.weight' has a number of inputs (1) that 4 does not divide" in checks(outcome)["targets_left_out"]
    assert "sparsity_differs" not in checks(outcome)


def test_a_model_without_blocks_is_refused_before_it_is_trained() -> None:
    made = operation_of(Step("magnitude_pruning", {"sparsity": 0.5, "semi_structured": "8:16", "include": ["head"]}))

    with pytest.raises(
        NotApplicableError, match=r"'head.weight' has a number of inputs \(12\) that 16 does not divide"
    ):
        made.suit(base_model("cnn"))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"semi_structured": "1:4"}, r"1:4 makes a share of 0.75 zero: give sparsity=0.75"),
        ({"semi_structured": "4:4"}, r"of 4 weights fewer than 4 may stay, as in '2:4'"),
        ({"semi_structured": "half"}, r"should match pattern"),
        ({"semi_structured": "2:4", "levels": {"head": 0.1}}, r"leave levels out"),
        ({"levels": {"head": 1.0}}, r"less than 1"),
        ({"levels": {"": 0.1}}, r"at least 1 character"),
    ],
)
def test_what_does_not_fit_together_is_refused(said: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidRecipeError, match=message):
        operation_of(Step("magnitude_pruning", {"sparsity": 0.5, **said}))


def test_a_third_need_not_be_written_out() -> None:
    outcome = run("magnitude_pruning", base_model("cnn"), sparsity=0.667, semi_structured="1:3", include=["head"])

    assert sparsity_of(outcome.model, "head") == pytest.approx(2 / 3)
    assert "sparsity_differs" not in checks(outcome)


@pytest.mark.parametrize("scope", ["global", "layer", "row"])
def test_levels_give_layers_shares_of_their_own(scope: str) -> None:
    levels = {"head": 0.25, "second.*": 0.75, "second.3": 0.0, "s*": 0.9}
    outcome = run("magnitude_pruning", base_model("cnn"), sparsity=0.5, scope=scope, levels=levels)

    found = {path: sparsity_of(outcome.model, path) for path in ("head", "second.0", "second.3", "stem.0")}
    assert found["head"] == 0.25
    assert found["second.0"] == 0.75
    assert found["second.3"] == 0.0, "a layer's own path goes before patterns"
    assert "sparsity_differs" not in checks(outcome)
    if scope == "global":
        zeros = {path: sparsity_of(outcome.model, path) * size for path, size in {"stem.0": 72, "shortcut": 96}.items()}
        assert round(sum(zeros.values())) == round(0.9 * (72 + 96)), "what shares a level competes"
    else:
        assert found["stem.0"] == pytest.approx(0.9, abs=0.01)


def test_levels_that_name_nothing_are_told() -> None:
    outcome = run("magnitude_pruning", base_model("cnn"), sparsity=0.5, levels={"stem.1": 0.1, "hat": 0.2})

    said = [finding.message for finding in outcome.findings if finding.check == "level_unused"]
    assert len(said) == 2 and "'hat' names none of the targeted tensors" in said[0]


def test_the_saved_file_shrinks_though_nothing_runs_faster(tmp_path: Path) -> None:
    model = base_model("vit")
    whole = save_model(Draft(tmp_path), model)
    sparse = save_model(Draft(tmp_path), run("magnitude_pruning", model, sparsity=0.75).model)
    blocks = save_model(Draft(tmp_path), run("magnitude_pruning", model, sparsity=0.75, semi_structured="1:4").model)

    # A float takes four bytes and the mark of what is zero a bit; names of the parts take some, too.
    least = 0.7 * sum(target.tensor.numel() for target in layer_weights(model)) * (4 * 0.75 - 1 / 8)
    assert whole.size_bytes - sparse.size_bytes > least
    assert whole.size_bytes - blocks.size_bytes > least
    assert not Pruning.realised_on


def test_an_embedding_goes_when_asked_and_what_is_tied_stays_tied() -> None:
    model = small_llama()

    pruned = run("magnitude_pruning", model, sparsity=0.5, include=["model.embed_tokens.weight"]).model

    embedding = pruned.get_parameter("model.embed_tokens.weight")
    assert (embedding == 0).float().mean() == 0.5
    assert pruned.get_parameter("lm_head.weight") is embedding
    assert all(target.tensor.all() for target in layer_weights(pruned))


def test_what_takes_no_numbers_cannot_be_weighed_by_its_inputs() -> None:
    include = ["model.embed_tokens.weight"]
    for operation in ("wanda_pruning", "sparsegpt_pruning"):
        with pytest.raises(NotApplicableError, match=r"'model.embed_tokens.weight' is of a kind whose"):
            run(operation, small_llama(), sparsity=0.5, include=include)


def sparsity_of(model: nn.Module, path: str) -> float:
    return float((model.get_parameter(f"{path}.weight") == 0).float().mean())


def small_llama() -> nn.Module:
    config = LlamaConfig(
        vocab_size=20, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, tie_word_embeddings=True,
    )  # fmt: skip
    with drawn_from(0):
        model: nn.Module = LlamaForCausalLM(config)
    return model.eval()
