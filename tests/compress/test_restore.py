import pytest
import torch

from cc_ray.errors import NotApplicableError
from cc_ray.store.artifacts import is_int8, scale_of
from tests.compress.tiny import base_model, checks, outputs, run, tensors

NORMS_AND_MORE = ["*layernorm*.weight", "*.mlp"]


def test_restoring_the_norms_mends_what_pruning_them_broke() -> None:
    base = base_model("vit")
    broken = run("magnitude_pruning", base, sparsity=0.3, scope="layer", include=NORMS_AND_MORE).model

    mended = run("restore", broken, base, include=["*layernorm*"])

    assert torch.equal(tensors(mended.model)["vit.layernorm.weight"], tensors(base)["vit.layernorm.weight"])
    assert torch.equal(
        tensors(mended.model)["vit.layers.0.mlp.fc1.weight"], tensors(broken)["vit.layers.0.mlp.fc1.weight"]
    )
    error = [(outputs(model) - outputs(base)).norm() for model in (broken, mended.model)]
    assert error[1] < error[0]
    assert mended.donors == (0,)
    assert "10 tensors" in checks(mended)["restored"]


def test_a_later_ancestor_can_give() -> None:
    base, middle = base_model("cnn"), base_model("cnn", seed=3)
    pruned = run("magnitude_pruning", middle, sparsity=0.9).model

    outcome = run("restore", pruned, base, middle, include=["head"], from_step=1)

    assert torch.equal(tensors(outcome.model)["head.weight"], tensors(middle)["head.weight"])
    assert outcome.donors == (1,)
    assert "after step 1" in checks(outcome)["restored"]


def test_a_tensor_alone_can_be_named() -> None:
    base, other = base_model("cnn"), base_model("cnn", seed=3)

    child = run("restore", other, base, include=["head.weight"]).model

    assert torch.equal(tensors(child)["head.weight"], tensors(base)["head.weight"])
    assert torch.equal(tensors(child)["head.bias"], tensors(other)["head.bias"])


def test_a_restored_layer_leaves_the_low_bit_grid() -> None:
    base = base_model("cnn")
    simulated = run("uniform_quantization", base, bits=2).model

    part = run("restore", simulated, base, include=["head"])
    whole = run("restore", simulated, base, include=["*"])

    assert scale_of(part.model.get_submodule("head")) is None
    assert part.representation == "simulated"
    assert whole.representation == "float"
    assert torch.equal(outputs(whole.model), outputs(base))


def test_quantized_layers_come_and_go() -> None:
    base = base_model("vit")
    quantized = run("quantize_weights", base).model

    back = run("restore", quantized, base, include=["classifier"])
    there = run("restore", base, quantized, include=["classifier"])

    assert not is_int8(back.model.get_parameter("classifier.weight"))
    assert back.representation == "quantized"
    assert is_int8(there.model.get_parameter("classifier.weight"))


def test_a_changed_shape_is_told_with_both_shapes() -> None:
    base = base_model("cnn")
    smaller = run("channel_pruning", base, ratio=0.5).model

    with pytest.raises(NotApplicableError, match=r"'stem.0.weight' has shape \(4, 1, 3, 3\), but \(8, 1, 3, 3\) after"):
        run("restore", smaller, base, include=["stem"])


def test_a_pattern_that_matches_nothing_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(NotApplicableError, match=r"include='encoder' matches no module; it has 'stem.0'"):
        run("restore", base_model("cnn"), include=["encoder"])


def test_one_of_several_patterns_that_matches_nothing_is_told() -> None:
    outcome = run("restore", base_model("cnn"), include=["head", "encoder"])

    assert "'encoder' matches nothing" in checks(outcome)["pattern_unmatched"]


def test_restoring_what_is_the_same_is_told() -> None:
    base = base_model("cnn")

    assert "restore changed nothing" in checks(run("restore", base, base, include=["head"]))["nothing_changed"]
