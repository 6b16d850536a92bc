from typing import Any

import pytest
import torch
from torch import nn

from cc_ray.compress import apply_step, validated_recipe
from cc_ray.compress.distil import Distil
from cc_ray.errors import InvalidRecipeError, NotApplicableError
from cc_ray.recipe import Recipe, Step
from tests.compress.tiny import base_model, checks, context, outputs, run, task_for, tensors

LEARN: dict[str, Any] = {"epochs": 5, "learning_rate": 0.01, "batch_size": 16}


def gap(model: nn.Module, teacher: nn.Module) -> float:
    """Mean KL divergence from the teacher's answers, in nats."""
    mine, own = (outputs(each).log_softmax(-1) for each in (model, teacher))
    return float(nn.functional.kl_div(mine, own, reduction="none", log_target=True).sum(-1).mean())


@pytest.mark.parametrize("base", ["plain", "vit", "language"])
def test_a_pruned_model_comes_close_to_its_teacher_and_keeps_its_zeros(base: str) -> None:
    teacher = base_model(base)
    sparse = apply_step(Step("magnitude_pruning", {"sparsity": 0.7}), teacher, context(base)).model

    step = Step("distil", {**LEARN, "soft_share": 1.0, "temperature": 2.0})
    outcome = apply_step(step, sparse, context(base, teacher))

    assert gap(outcome.model, teacher) < 0.7 * gap(sparse, teacher)
    assert outcome.teachers == (0,) and outcome.donors == ()
    for name, old in tensors(sparse).items():
        if old.dim() > 1:
            assert not tensors(outcome.model)[name][old == 0].any()


def test_without_a_soft_share_it_is_fine_tuning() -> None:
    base, other = base_model("cnn"), base_model("cnn", seed=1)

    tuned = run("fine_tune", base, epochs=1).model
    distilled = run("distil", base, other, epochs=1, soft_share=0.0).model

    assert all(map(torch.equal, tensors(tuned).values(), tensors(distilled).values()))


def test_hidden_outputs_come_close_where_shapes_agree() -> None:
    teacher = base_model("cnn")
    pruned = run("magnitude_pruning", teacher, sparsity=0.6).model

    def hidden(model: nn.Module) -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = model.get_submodule("stem")(task_for(model).data("evaluation").inputs)
        return found

    ways: tuple[dict[str, Any], ...] = ({}, {"hidden": ["stem"], "hidden_weight": 10.0})
    errors = [
        (hidden(run("distil", pruned, teacher, **LEARN, **more).model) - hidden(teacher)).square().mean()
        for more in ways
    ]
    assert errors[1] < 0.5 * errors[0]


def test_outputs_of_other_shapes_are_left_out_and_told() -> None:
    teacher = base_model("cnn")
    smaller = run("channel_pruning", teacher, ratio=0.5).model

    outcome = run("distil", smaller, teacher, epochs=1, hidden=["stem", "head", "nowhere"])

    assert "1 modules are not compared" in checks(outcome)["hidden_not_compared"]
    assert "'nowhere' matches nothing" in checks(outcome)["pattern_unmatched"]


def test_padding_takes_no_part() -> None:
    model = base_model("language")
    padded = task_for(model).data("train").labels == -100
    assert padded.any()
    scores = torch.randn(*padded.shape, 24, generator=torch.Generator().manual_seed(0))
    other = scores.clone()
    other[padded] += torch.arange(24.0)

    labels = task_for(model).data("train").labels
    assert Distil(epochs=1)._divergence(other, scores, labels) == pytest.approx(0.0, abs=1e-6)


def test_what_cannot_be_is_refused_before_any_trial() -> None:
    with pytest.raises(InvalidRecipeError, match="distil asks for the model after step 0, but nothing was changed"):
        validated_recipe(Recipe("cnn", (Step("distil", {"epochs": 1}),)), ["cnn"])
    with pytest.raises(NotApplicableError, match=r"hidden='nowhere' matches no module\. Its modules are 'stem'"):
        run("distil", base_model("cnn"), epochs=1, hidden=["nowhere"])
