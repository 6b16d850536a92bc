from typing import Any

import torch
from torch import nn

from cc_ray.compress.quantization_aware_fine_tuning import Rounded
from cc_ray.compress.rounding import grid_of
from cc_ray.compress.targets import layer_weights
from cc_ray.compress.uniform_quantization import UniformQuantization
from cc_ray.store.artifacts import scale_of
from tests.compress.tiny import TASK, base_model, run

LEARN: dict[str, Any] = {"epochs": 8, "learning_rate": 0.02, "batch_size": 16}


def loss(model: nn.Module) -> float:
    data = TASK.data("train")
    with torch.no_grad():
        return float(TASK.loss(model, data.inputs, data.labels))


def test_a_rounded_model_learns_what_rounding_took() -> None:
    model = base_model("mlp")

    rounded = run("uniform_quantization", model, bits=2).model
    aware = run("quantization_aware_fine_tuning", model, bits=2, **LEARN)

    assert aware.representation == "simulated"
    assert loss(aware.model) < 0.1 * loss(rounded)
    for target in layer_weights(aware.model):
        assert max(len(row.unique()) for row in target.tensor) <= 3
        assert scale_of(target.module) is not None
        assert type(target.module) is nn.Linear, "nothing of the training is left"


def test_the_gradient_passes_the_rounding() -> None:
    weight = torch.randn(4, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
    made, factors = UniformQuantization(bits=3), torch.arange(24.0).view(4, 6)

    rounded = Rounded(made, (4, 1))(weight)
    torch.autograd.backward((rounded * factors).sum())

    assert torch.equal(weight.grad, factors)  # type: ignore[arg-type]
    expected = grid_of(weight.detach(), (4, 1), 3, symmetric=True).rounded(weight.detach())
    assert torch.allclose(rounded, expected, atol=1e-6)


def test_zeros_stay_zero() -> None:
    sparse = run("magnitude_pruning", base_model("cnn"), sparsity=0.5).model

    child = run("quantization_aware_fine_tuning", sparse, bits=4, epochs=1, learning_rate=0.02).model

    for old, new in zip(layer_weights(sparse), layer_weights(child), strict=True):
        assert not new.tensor[old.tensor == 0].any()
        assert not torch.equal(old.tensor, new.tensor)
