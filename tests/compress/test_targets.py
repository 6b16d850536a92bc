import pytest
from torch import nn

from cc_ray.compress.magnitude_pruning import MagnitudePruning
from cc_ray.errors import NotApplicableError
from tests.compress.tiny import base_model, context


def names(model: nn.Module, **patterns: tuple[str, ...]) -> list[str]:
    made = MagnitudePruning.model_validate({"sparsity": 0.5, **patterns})
    return [target.name for target in made.targets(model)]


def encoder() -> nn.Module:
    block = nn.ModuleDict({"project": nn.Linear(4, 4), "norm": nn.LayerNorm(4), "convolve": nn.Conv1d(4, 4, 1)})
    return nn.ModuleDict({"embed": nn.Embedding(5, 4), "encoder": nn.ModuleList([block]), "head": nn.Linear(4, 5)})


def test_without_patterns_norms_embeddings_and_biases_stay_out() -> None:
    assert names(encoder()) == ["encoder.0.project.weight", "encoder.0.convolve.weight", "head.weight"]


def test_a_pattern_over_modules_stands_for_all_below_and_still_spares_norms() -> None:
    expected = ["encoder.0.project.weight", "encoder.0.convolve.weight"]

    assert names(encoder(), include=("encoder",)) == expected
    assert names(encoder(), include=("enc*",)) == expected
    assert names(encoder(), exclude=("head",)) == expected


def test_norms_embeddings_and_biases_are_reached_by_naming_the_tensor() -> None:
    assert names(encoder(), include=("*.norm.weight",)) == ["encoder.0.norm.weight"]
    assert names(encoder(), include=("embed.weight", "head.bias")) == ["embed.weight", "head.bias"]
    assert len(names(encoder(), include=("*.weight",))) == 5


def test_exclude_wins_over_include() -> None:
    assert names(encoder(), include=("encoder",), exclude=("*.project",)) == ["encoder.0.convolve.weight"]


def test_a_weight_that_an_embedding_shares_is_the_embedding_s() -> None:
    model = encoder()
    assert isinstance(model, nn.ModuleDict)
    model["head"].weight = model["embed"].weight

    assert "head.weight" not in names(model)
    assert "embed.weight" in names(model, include=("*.weight",))


def test_a_layer_that_two_places_share_comes_once() -> None:
    shared = nn.Linear(4, 4)

    assert names(nn.Sequential(shared, nn.ReLU(), shared)) == ["0.weight"]


def test_transposed_linear_layers_are_layers() -> None:
    from transformers.pytorch_utils import Conv1D

    model = nn.Sequential(Conv1D(6, 4), nn.ConvTranspose1d(4, 6, 1), nn.Linear(4, 6))
    found = MagnitudePruning(sparsity=0.5).targets(model)

    assert [target.name for target in found] == ["0.weight", "1.weight", "2.weight"]
    assert [target.tensor.shape[target.channel_axis] for target in found] == [6, 6, 6]


def test_a_model_that_is_one_layer_is_a_target() -> None:
    assert names(nn.Linear(2, 2)) == ["weight"]


def test_patterns_that_leave_nothing_are_an_error_with_the_names_there_are() -> None:
    with pytest.raises(NotApplicableError, match=r"include='encoder.9' and exclude=nothing leave no layer.*'head'"):
        names(encoder(), include=("encoder.9",))
    with pytest.raises(NotApplicableError, match="no linear layer and no convolution"):
        names(nn.LayerNorm(4))


def test_a_pattern_that_matches_nothing_is_a_finding() -> None:
    place = context("cnn")

    MagnitudePruning(sparsity=0.5, include=("stem", "steem")).targets(base_model("cnn"), place)

    assert [(finding.check, finding.severity) for finding in place.findings] == [("pattern_unmatched", "warning")]
    assert "'steem'" in place.findings[0].message


def test_order_and_repetition_of_patterns_mean_nothing() -> None:
    one = MagnitudePruning(sparsity=0.5, include=("b", "a", "b"))

    assert one == MagnitudePruning(sparsity=0.5, include=("a", "b"))
