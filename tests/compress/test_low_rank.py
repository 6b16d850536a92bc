from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cc_ray.compress import validated_step
from cc_ray.errors import InvalidRecipeError, NotApplicableError
from cc_ray.recipe import Step
from cc_ray.store.artifacts import load_model, save_model
from cc_ray.store.layout import Draft
from tests.compress.tiny import TASK, base_model, checks, outputs, run


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def low_rank_weight(rank: int, rows: int, columns: int) -> nn.Parameter:
    generator = torch.Generator().manual_seed(0)
    return nn.Parameter(torch.randn(rows, rank, generator=generator) @ torch.randn(rank, columns, generator=generator))


@pytest.mark.parametrize("kernels", ["whole", "separated"])
def test_what_has_a_low_rank_already_is_factored_exactly(kernels: str) -> None:
    model = base_model("cnn")
    convolution = model.get_submodule("first.0")
    weight = low_rank_weight(2, 12, 72) if kernels == "whole" else low_rank_weight(2, 36, 24)
    convolution.weight = nn.Parameter(
        weight.view(12, 8, 3, 3) if kernels == "whole" else weight.view(12, 3, 8, 3).permute(0, 2, 3, 1)
    )

    made = run("low_rank", model, by="energy", amount=0.9999, kernels=kernels, include=["first.0"]).model

    assert torch.allclose(outputs(made), outputs(model), atol=1e-5)
    assert [tuple(layer.get_parameter("weight").shape) for layer in made.get_submodule("first.0").children()] == (
        [(2, 8, 3, 3), (12, 2, 1, 1)] if kernels == "whole" else [(2, 8, 3, 1), (12, 2, 1, 3)]
    )


def test_each_layer_has_the_largest_rank_that_its_share_of_parameters_allows() -> None:
    model = base_model("cnn")

    made = run("low_rank", model, amount=0.5)

    told = {finding.layer: finding for finding in made.findings if finding.check == "rank_chosen"}
    assert (told["first.0"].found, told["first.0"].expected) == (12 * 72 // 2 // (12 + 72), 12)
    assert made.model.get_parameter("first.0.0.weight").shape[0] == told["first.0"].found
    assert parameters(made.model) < parameters(model)


def test_a_layer_that_would_not_get_smaller_stays_and_is_named() -> None:
    model = base_model("vit")

    made = run("low_rank", model, by="rank", amount=4)

    assert "'classifier'" in checks(made)["layers_skipped"]
    assert isinstance(made.model.get_submodule("classifier"), nn.Linear)
    assert all(layer.numel() > 0 for layer in made.model.parameters())


def test_errors_weighed_by_inputs_are_smaller_at_the_output_than_others() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4)).eval()

    def error(weighed_by: str) -> float:
        made = run("low_rank", model, by="rank", amount=4, weighed_by=weighed_by, include=["1"], instances=48).model
        fed = TASK.data("calibration").inputs.flatten(1)
        with torch.no_grad():
            difference: Tensor = made.get_submodule("1")(fed) - model.get_submodule("1")(fed)
        return float(difference.norm())

    assert error("inputs") < 0.9 * error("nothing")


@pytest.mark.parametrize("weighed_by", ["nothing", "inputs"])
@pytest.mark.parametrize("kernels", ["whole", "separated"])
@pytest.mark.parametrize("base", ["cnn", "vit"])
def test_the_file_has_the_factors(base: str, kernels: str, weighed_by: str, tmp_path: Path) -> None:
    made = run("low_rank", base_model(base), amount=0.6, kernels=kernels, weighed_by=weighed_by).model

    saved = save_model(Draft(tmp_path), made)
    loaded = load_model(Draft(tmp_path), saved.digest, TASK.build(base))

    assert torch.equal(outputs(loaded), outputs(made))
    assert save_model(Draft(tmp_path), loaded) == saved


def test_steps_after_it_work_on_the_factors() -> None:
    made = run("low_rank", base_model("cnn"), amount=0.5).model

    again = run("magnitude_pruning", made, sparsity=0.5).model

    assert (again.get_parameter("first.0.0.weight") == 0).any()
    assert run("restore", again, base_model("cnn"), include=["first.1"], from_step=0).model is not None
    with pytest.raises(NotApplicableError, match=r"'first.0.weight' is no longer"):
        run("restore", again, base_model("cnn"), include=["first"], from_step=0)


@pytest.mark.parametrize(("by", "amount", "said"), [("rank", 1.5, "whole number"), ("energy", 2, "smaller than 1")])
def test_an_amount_that_means_nothing_is_refused(by: str, amount: float, said: str) -> None:
    with pytest.raises(InvalidRecipeError, match=said):
        validated_step(Step("low_rank", {"by": by, "amount": amount}))
