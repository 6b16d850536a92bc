import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cc_ray.compress.pruning import lowest
from cc_ray.compress.targets import layer_weights
from tests.compress.tiny import base_model, checks, run, tensors


def sparsity(model: nn.Module) -> float:
    found = [target.tensor for target in layer_weights(model)]
    return 1 - sum(int(t.count_nonzero()) for t in found) / sum(t.numel() for t in found)


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=1, max_size=40), st.floats(0, 1))
def test_exactly_the_asked_count_is_chosen_and_none_above_one_that_stays(values: list[float], share: float) -> None:
    scores = torch.tensor(values)

    mask = lowest([scores[:3], scores[3:]], share)

    chosen = torch.cat(mask)
    assert int(chosen.sum()) == round(share * len(values))
    if chosen.any() and not chosen.all():
        assert scores[chosen].max() <= scores[~chosen].min()


def test_of_equal_scores_the_first_go() -> None:
    [mask] = lowest([torch.ones(2, 3)], 0.5)

    assert mask.tolist() == [[True, True, True], [False, False, False]]


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
