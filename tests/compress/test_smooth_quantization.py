import pytest
import torch
from torch import Tensor, nn

from cc_ray.compress.base import Finding
from cc_ray.store.artifacts import scale_of
from tests.compress.tiny import TASK, base_model, outputs, run


class Gated(nn.Module):
    """A norm that two layers take, one a gate, and a layer after their product; the channels differ much in size."""

    def __init__(self, *, norm_goes_elsewhere: bool = False) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(64)
        self.gate, self.up, self.down = nn.Linear(64, 32), nn.Linear(64, 32), nn.Linear(32, 4)
        self.elsewhere = norm_goes_elsewhere
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            self.norm.weight.copy_(torch.logspace(-1, 1, 64)[torch.randperm(64, generator=generator)])
            for layer in (self.gate, self.up, self.down):
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) / 8)

    def forward(self, inputs: Tensor) -> Tensor:
        normed = self.norm(inputs.flatten(1))
        scores: Tensor = self.down(nn.functional.silu(self.gate(normed)) * self.up(normed))
        return scores + normed[:, :4] if self.elsewhere else scores


def moved(model: nn.Module, bits: int = 3) -> tuple[nn.Module, Finding]:
    outcome = run("smooth_quantization", model, bits=bits)
    (finding,) = [each for each in outcome.findings if each.check == "factors_moved"]
    return outcome.model, finding


def test_outputs_come_closer_than_by_rounding() -> None:
    gated = Gated().eval()
    model = nn.Sequential(nn.Flatten(), gated.norm, gated.up).eval()

    plain = run("uniform_quantization", model, bits=3).model
    smooth, _ = moved(model)

    errors = [(outputs(child) - outputs(model)).norm() for child in (plain, smooth)]
    assert errors[1] < 0.95 * errors[0]


def test_a_layer_after_a_product_takes_the_factors_of_one_side() -> None:
    _, finding = moved(Gated().eval())

    assert finding.found == 3, "gate and up take the norm's factors, down takes those of up"


def test_before_the_rounding_the_model_answers_as_it_did() -> None:
    model = Gated().eval()

    smooth, _ = moved(model, bits=8)

    factors = model.get_parameter("norm.weight") / smooth.get_parameter("norm.weight")
    assert factors.max() > 2 * factors.min() > 0
    for name in ("gate", "up"):
        scale = scale_of(smooth.get_submodule(name))
        assert scale is not None
        rows = smooth.get_parameter("up.bias") / model.get_parameter("up.bias") if name == "up" else torch.ones(32)
        exact = model.get_parameter(f"{name}.weight") * factors * rows[:, None]
        assert ((smooth.get_parameter(f"{name}.weight") - exact).abs() <= 0.51 * scale).all()


def test_factors_are_taken_back_where_channels_go_elsewhere_too() -> None:
    model = Gated(norm_goes_elsewhere=True).eval()

    smooth, finding = moved(model)

    assert torch.equal(smooth.get_parameter("norm.weight"), model.get_parameter("norm.weight"))
    assert finding.found == 1, "down alone: its inputs go nowhere else"


def test_factors_do_not_pass_what_bends() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.GELU(), nn.Linear(32, 4)).eval()

    smooth, finding = moved(model)

    assert finding.found == 0 and finding.severity == "warning"
    assert torch.equal(smooth.get_parameter("1.bias"), model.get_parameter("1.bias"))


@pytest.mark.parametrize("bits", [3, 4])
def test_a_transformer_of_another_family_is_understood(bits: int) -> None:
    model = base_model("vit")

    smooth, finding = moved(model, bits)

    assert finding.found is not None and finding.found >= 8, "queries, keys, values and feed-forward layers of both"
    assert TASK.logits(smooth, TASK.data("evaluation").inputs).isfinite().all()
