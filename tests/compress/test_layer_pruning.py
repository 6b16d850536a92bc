from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cc_ray.compress import Context, apply_step
from cc_ray.errors import NotApplicableError
from cc_ray.recipe import Step
from cc_ray.store.artifacts import load_model, save_model
from cc_ray.store.layout import Draft
from tests.compress.tiny import TASK, base_model, outputs, run


class Block(nn.Module):
    """Adds to what it takes in."""

    def __init__(self, inward: int, outward: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(inward, outward, 3, padding=1), nn.ReLU(), nn.Conv2d(outward, outward, 1))
        self.shortcut = nn.Conv2d(inward, outward, 1) if inward != outward else nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        hidden: Tensor = self.body(inputs) + self.shortcut(inputs)
        return hidden


def stages() -> nn.Module:
    """A residual network of two stages; the first block of each changes the number of channels."""
    stage = [nn.Sequential(Block(width // 2, width), Block(width, width), Block(width, width)) for width in (4, 8)]
    return nn.Sequential(nn.Conv2d(1, 2, 1), *stage, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).eval()


def silenced(model: nn.Module, *paths: str) -> nn.Module:
    """Some blocks pass on what they take in."""
    for path in paths:
        for parameter in model.get_submodule(f"{path}.body.2").parameters():
            parameter.data.zero_()
    return model


@pytest.mark.parametrize("choice", ["influence", "last"])
def test_blocks_that_pass_on_go_and_the_others_keep_their_names(choice: str, tmp_path: Path) -> None:
    model = silenced(stages(), "1.1", "2.2") if choice == "influence" else silenced(stages(), "2.1", "2.2")

    made = run("layer_pruning", model, count=2, choice=choice).model

    assert torch.allclose(outputs(made), outputs(model))
    left = {path for path, module in made.named_modules() if isinstance(module, Block)}
    assert left == {"1.0", "1.2", "2.0", "2.1"} if choice == "influence" else {"1.0", "1.1", "1.2", "2.0"}
    saved = save_model(Draft(tmp_path), made)
    assert torch.equal(outputs(load_model(Draft(tmp_path), saved.digest, stages())), outputs(made))


def test_by_loss_goes_the_block_without_which_it_is_least() -> None:
    torch.manual_seed(0)
    model, data = stages(), TASK.data("calibration")

    made = run("layer_pruning", model, count=1, choice="loss", instances=48)

    def without(path: str) -> float:
        one = run("layer_pruning", model, count=1, choice="last", include=[path]).model
        return float(TASK.loss(one, data.inputs, data.labels).detach())

    losses = {path: without(path) for path in ("1.1", "1.2", "2.1", "2.2")}
    assert [f.layer for f in made.findings if f.check == "block_removed"] == [
        min(losses, key=lambda path: losses[path])
    ]


def test_blocks_that_change_the_shape_stay() -> None:
    halved = nn.Sequential(*(nn.Sequential(nn.Conv2d(1, 1, 2, 2), nn.ReLU(), nn.Conv2d(1, 1, 1)) for _ in range(2)))
    model = nn.Sequential(halved, nn.Flatten(), nn.Linear(4, 4)).eval()

    with pytest.raises(NotApplicableError, match="but only nothing put out what they take in"):
        run("layer_pruning", model, count=1)


def test_patterns_choose_and_too_many_are_refused_before_anything_runs() -> None:
    made = run("layer_pruning", stages(), count=1, include=["2"], exclude=["2.1"])

    assert [finding.layer for finding in made.findings if finding.check == "block_removed"] == ["2.2"]
    with pytest.raises(NotApplicableError, match=r"2 blocks are to go, and it has 1 that include='1.1'"):
        run("layer_pruning", stages(), count=2, include=["1.1"])
    with pytest.raises(NotApplicableError, match="it has 0"):
        run("layer_pruning", nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), count=1)


class Indexed(nn.Module):
    """Asks for its blocks by number."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(1, 1) for _ in range(3)])
        self.head = nn.Linear(64, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        for place in range(len(self.blocks)):
            inputs = self.blocks[place](inputs)
        scores: Tensor = self.head(inputs.flatten(1))
        return scores


def test_a_forward_that_needs_every_number_is_refused() -> None:
    with pytest.raises(NotApplicableError, match="asks for a block by its number"):
        run("layer_pruning", silenced(Indexed(), "blocks.1"), count=1)


def test_of_a_vision_transformer_a_block_goes(tmp_path: Path) -> None:
    model = base_model("vit")
    context = Context(TASK, 0, lambda index: model)

    made = apply_step(Step("layer_pruning", {"count": 1}), model, context)

    saved = save_model(Draft(tmp_path), made.model)
    assert torch.equal(outputs(load_model(Draft(tmp_path), saved.digest, TASK.build("vit"))), outputs(made.model))
