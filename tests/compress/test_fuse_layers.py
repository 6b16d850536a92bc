from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cc_ray.errors import NotApplicableError
from cc_ray.store.artifacts import load_model, save_model
from cc_ray.store.layout import Draft
from tests.compress.tiny import TASK, base_model, checks, outputs, run


def lively(model: nn.Module) -> nn.Module:
    """With statistics that are not those of no norm at all."""
    for norm in (module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)):
        generator = torch.Generator().manual_seed(0)
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.copy_(torch.randn(norm.num_features, generator=generator))
        norm.running_var.copy_(0.5 + torch.rand(norm.num_features, generator=generator))
    return model.eval()


def norms(model: nn.Module) -> int:
    return sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())


def test_outputs_stay_and_norms_are_gone(tmp_path: Path) -> None:
    model = lively(base_model("cnn"))

    outcome = run("fuse_layers", model)

    assert norms(outcome.model) == 0
    assert torch.allclose(outputs(outcome.model), outputs(model), atol=1e-5)
    assert checks(outcome)["norms_folded"].startswith("3 of 3 batch norms")
    assert "within" in checks(outcome)["outputs_compared"]
    saved = save_model(Draft(tmp_path), outcome.model)
    assert torch.equal(outputs(load_model(Draft(tmp_path), saved.digest, TASK.build("cnn"))), outputs(outcome.model))


class Skipping(nn.Module):
    """What the convolution puts out is read by the batch norm and by an addition."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(1, 4, 8), nn.BatchNorm2d(4)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden: Tensor = self.convolution(inputs)
        scores: Tensor = (self.norm(hidden) + hidden).flatten(1)
        return scores


class Twice(Skipping):
    """One convolution, called twice."""

    def forward(self, inputs: Tensor) -> Tensor:
        scores: Tensor = (self.norm(self.convolution(inputs)) + self.convolution(-inputs)).flatten(1)
        return scores


@pytest.mark.parametrize("kind", [Skipping, Twice])
def test_an_output_that_others_read_keeps_its_norm(kind: Any) -> None:
    with pytest.raises(NotApplicableError, match="whose output nothing else reads"):
        run("fuse_layers", lively(kind()))


def test_norms_after_linear_layers_are_folded_and_others_named() -> None:
    layers = [nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU()]
    model = lively(nn.Sequential(*layers, nn.Linear(16, 4)))

    outcome = run("fuse_layers", model)

    assert torch.allclose(outputs(outcome.model), outputs(model), atol=1e-5)
    assert (
        checks(outcome)["norms_folded"].startswith("1 of 2 batch norms")
        and "'1' stay" in checks(outcome)["norms_folded"]
    )
    assert all(parameter.requires_grad for parameter in outcome.model.parameters())
