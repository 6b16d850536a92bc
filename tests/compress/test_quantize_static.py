import pytest
import torch
from torch import nn

from cc_ray.compress.ranges import clipped_ranges, input_ranges
from cc_ray.compress.targets import layer_weights
from cc_ray.errors import NotApplicableError
from cc_ray.evaluate.metrics.peak_memory_bytes import Watch
from cc_ray.store.low_bit import StaticInt8
from cc_ray.tasks.arithmetic import Counter
from tests.compress.tiny import TASK, base_model, checks, context, outputs, run


def test_convolutions_and_linear_layers_compute_nearly_the_same_in_integers() -> None:
    model = base_model("cnn")

    outcome = run("quantize_static", model)

    assert outcome.representation == "quantized" and outcome.data_used == ("calibration",)
    weights = [module.weight for module in outcome.model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(weights) == 6 and all(isinstance(weight, StaticInt8) for weight in weights)
    error = (outputs(outcome.model) - outputs(model)).norm() / outputs(model).norm()
    assert 0 < error < 0.02


def test_what_is_seen_is_what_layers_take() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 4)).eval()
    inputs = TASK.data("calibration").inputs
    with torch.no_grad():
        hidden = model[2](model[1](inputs.flatten(1)))

    ranges = input_ranges(model, layer_weights(model), context("mlp"), 48)

    assert ranges["1"] == (float(inputs.min()), float(inputs.max()))
    assert ranges["3"] == (0.0, float(hidden.max()))


def test_an_outlier_is_cut_off_where_that_errs_less() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4)).eval()
    inputs = TASK.data("calibration").inputs.flatten()
    low, high = float(inputs.min()), float(inputs.max())

    def error(levels: int, ends: tuple[float, float]) -> float:
        step = (ends[1] - ends[0]) / levels
        return float((((inputs.clamp(*ends) / step).round() * step) - inputs).square().mean())

    for levels in (7, 15, 63):
        ((start, end),) = clipped_ranges(model, layer_weights(model), context("mlp"), 48, levels).values()
        best = min(error(levels, (share * low, share * high)) for share in torch.linspace(0.2, 1, 81).tolist())
        assert error(levels, (start, end)) < 1.15 * best
        assert start / low == pytest.approx(end / high)


def test_layers_of_other_kinds_stay_float_and_are_told() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding="same"), nn.ConvTranspose2d(4, 4, 3), nn.Flatten(), nn.Linear(400, 4)
    )

    outcome = run("quantize_static", model)

    assert "2 of 3 layers stay float: '0', '1'" in checks(outcome)["layers_skipped"]
    with pytest.raises(NotApplicableError, match=r"none of '0\.weight' is the weight of a linear layer or a convol"):
        run("quantize_static", model, include=["0"])


def test_layers_that_are_never_called_are_told() -> None:
    model = base_model("cnn")
    model.unused = nn.Linear(3, 3)

    assert "'unused'" in checks(run("quantize_static", model))["layers_unseen"]


def test_multiply_adds_are_those_of_the_float_model() -> None:
    counts = []
    for model in (base_model("cnn"), run("quantize_static", base_model("cnn")).model):
        with Counter() as counter:
            outputs(model)
        counts.append(counter.total)

    assert counts[0] == counts[1] > 0


def test_memory_is_counted_before_and_after_the_kernels_packed_the_weights() -> None:
    model, inputs = run("quantize_static", base_model("cnn")).model, TASK.data("evaluation").inputs[:1].clone()
    peaks = []
    for _ in range(2):
        with torch.no_grad(), Watch() as watch:
            watch.hold([*model.parameters(), *model.buffers(), inputs])
            TASK.logits(model, inputs)
        peaks.append(watch.peak)

    assert peaks[0] == peaks[1] > 0


def test_it_can_be_put_back() -> None:
    base = base_model("cnn")
    quantized = run("quantize_static", base).model

    part = run("restore", quantized, base, include=["first"])
    whole = run("restore", quantized, base, include=["*"])

    assert part.representation == "quantized" and whole.representation == "float"
    assert torch.equal(outputs(whole.model), outputs(base))
