import pytest
import torch
from torch import nn

from cc_ray.compress import apply_step
from cc_ray.evaluate.recovery import Unit, differing, put_back
from cc_ray.recipe import Step
from tests.compress.test_conformance import assert_equal
from tests.compress.tiny import base_model, context, outputs, run, tensors

MADE = {
    "float": ("magnitude_pruning", {"sparsity": 0.7, "scope": "layer", "include": ["*"]}),
    "simulated": ("uniform_quantization", {"bits": 3}),
    "quantized": ("quantize_weights", {}),
}


@pytest.mark.parametrize("base", ["cnn", "vit"])
@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_any_modules_put_back_answer_as_after_a_step_of_restore(made: tuple[str, dict[str, object]], base: str) -> None:
    parent = base_model(base)
    child = apply_step(Step(*made), parent, context(base)).model
    units = differing(child, parent).able
    before, chosen = outputs(child), units[::2]

    restored = run("restore", child, parent, include=[each for unit in chosen for each in unit.include]).model
    with put_back(child, parent, [path for unit in chosen for path in unit.modules]):
        found = outputs(child)
    with put_back(child, parent, [path for unit in units for path in unit.modules]):
        whole = outputs(child)

    assert torch.equal(found, outputs(restored))
    assert torch.equal(whole, outputs(base_model(base)))
    assert torch.equal(outputs(child), before)
    assert_equal(tensors(parent), tensors(base_model(base)))


def test_only_what_differs_is_a_unit() -> None:
    parent = base_model("cnn")
    child = run("magnitude_pruning", parent, sparsity=0.5, include=["head", "stem"]).model

    assert [unit.name for unit in differing(child, parent).able] == ["stem.0", "head"]
    assert differing(parent, parent).able == ()


def test_reshaped_modules_are_left_out_and_said() -> None:
    parent = base_model("cnn")
    child = run("channel_pruning", parent, ratio=0.5, include=["stem"]).model

    found = differing(run("magnitude_pruning", child, sparsity=0.5, include=["head"]).model, parent)

    assert [unit.name for unit in found.able] == ["head"]
    assert "stem.0" in found.left_out and "stem.1" in found.left_out


def test_modules_that_share_a_tensor_go_together() -> None:
    parent, child = (nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3), nn.Linear(3, 3)) for _ in range(2))
    for model in (parent, child):
        model[3].weight = model[0].weight

    found = differing(child, parent).able

    assert [unit.modules for unit in found] == [("0", "3"), ("2",)]


def test_a_module_above_others_is_named_by_its_tensors() -> None:
    parent, child = base_model("vit"), base_model("vit", seed=3)

    (found,) = (unit for unit in differing(child, parent).able if unit.name == "vit.embeddings")

    tensors = ("vit.embeddings.cls_token", "vit.embeddings.position_embeddings")
    assert found == Unit(("vit.embeddings",), tensors, "ViTEmbeddings")
