import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from cc_ray import evaluate
from cc_ray.errors import UnknownMetricError
from cc_ray.evaluate import metric_definitions, metrics
from cc_ray.evaluate.answers.classes import Classes
from cc_ray.evaluate.metrics.peak_memory_bytes import Watch
from cc_ray.evaluate.predictions import predict
from cc_ray.schema import METRIC_DEFINITIONS
from cc_ray.store.tables import conform
from cc_ray.tasks.arithmetic import Counter
from cc_ray.tasks.digits import Digits
from tests.evaluate.tiny import Tiny, saved

UNITS_IN_NAMES = {"bytes": "_bytes", "ms": "_ms", "bits": "_bits", "instances/s": "_per_s"}


def measured(
    model: nn.Module, *, bits: int = 32, base: pa.Table | None = None
) -> dict[tuple[str, str], dict[str, Any]]:
    about: dict[str, Any] = {"model_id": "m", "artifact_size": 777, "weights": saved(model, bits=bits), "base": base}
    rows = evaluate.measure(Tiny(), model, predictions=answers(model), **about)["metrics"]
    return {(row["metric"], row["slice"]): row for row in rows}


def answers(model: nn.Module) -> Classes:
    found: Classes = predict(Tiny(), model, Tiny().data("evaluation"))
    return found


def predictions(model: nn.Module) -> pa.Table:
    return answers(model).table("m")


def flips(base: pa.Table, own: pa.Table) -> tuple[int, int]:
    """Instances lost and gained."""
    pairs = list(zip(base["correct"].to_pylist(), own["correct"].to_pylist(), strict=True))
    return pairs.count((True, False)), pairs.count((False, True))


def network(*rows: list[float]) -> nn.Module:
    model = Tiny().build("identity")
    with torch.no_grad():
        model.get_parameter("0.weight").copy_(torch.tensor(rows))
    return model


def multiply_adds(model: nn.Module, *inputs: Tensor) -> int:
    counter = Counter()
    with torch.no_grad(), counter:
        model(*inputs)
    return counter.total


def test_accuracy_with_wilsons_interval() -> None:
    row = measured(Tiny().build("identity"))["accuracy", "all"]
    z, n, share = 1.959964, 4, 0.75
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))

    assert (row["value"], row["n"], row["split"]) == (0.75, 4, "evaluation")
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((centre - reach, centre + reach), abs=1e-6)


def test_accuracy_drop_against_the_base_model_with_agresti_and_mins_interval() -> None:
    base = predictions(Tiny().build("identity"))
    own, other = Tiny().build("identity"), network([1.0, 0.0], [9.0, 1.0])
    lost, gained = flips(base, predictions(other))
    n, share = 4 + 2, (lost - gained) / (4 + 2)
    reach = 1.959964 * math.sqrt(((lost + gained + 1) / n - share**2) / n)

    same, row = (measured(model, base=base)["accuracy_drop", "all"] for model in (own, other))

    assert same["value"] == 0
    assert (row["value"], row["n"]) == ((lost - gained) / 4, 4)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((share - reach, share + reach), abs=1e-6)


def test_accuracy_and_loss_of_each_class() -> None:
    found = measured(Tiny().build("identity"))

    assert found["accuracy", "class:left"]["value"] == pytest.approx(2 / 3)
    assert found["accuracy", "class:right"]["value"] == 1
    assert found["loss", "class:right"]["value"] == pytest.approx(math.log(1 + math.exp(-3)))
    assert found["loss", "class:right"]["n"] == 1
    assert found["loss", "class:right"]["ci_low"] is None


def test_loss_is_the_mean_with_students_interval() -> None:
    row = measured(Tiny().build("identity"))["loss", "all"]
    losses = torch.tensor([math.log(1 + math.exp(gap)) for gap in (-2, 1, -3, -1)])
    reach = 3.182446 * losses.std() / 2

    assert row["value"] == pytest.approx(float(losses.mean()), abs=1e-6)
    # Cut off at 0: no loss is smaller.
    assert row["ci_low"] == 0 > losses.mean() - reach
    assert row["ci_high"] == pytest.approx(float(losses.mean() + reach), abs=1e-5)


def test_counts_of_parameters_and_zeros() -> None:
    found = measured(network([1.0, 0.0], [0.0, 0.0]))

    assert found["num_parameters", "all"]["value"] == 6
    assert found["num_nonzero_parameters", "all"]["value"] == 1
    # Three of four weights; the two biases, zero as well, do not count.
    assert found["sparsity", "all"]["value"] == 0.75


def test_size_and_bits() -> None:
    found = measured(Tiny().build("identity"), bits=8)

    assert found["size_bytes", "all"]["value"] == 777
    assert found["effective_bits", "all"]["value"] == 8


def test_multiply_adds_of_a_linear_layer() -> None:
    assert measured(Tiny().build("identity"))["multiply_adds", "all"]["value"] == 4
    assert multiply_adds(nn.Linear(30, 7), torch.zeros(1, 30)) == 210


def test_multiply_adds_of_convolutions() -> None:
    image = torch.zeros(1, 4, 8, 8)

    assert multiply_adds(nn.Conv2d(4, 6, 3, padding=1), image) == 8 * 8 * 6 * 4 * 9
    assert multiply_adds(nn.Conv2d(4, 6, 3, stride=2, padding=1), image) == 4 * 4 * 6 * 4 * 9
    assert multiply_adds(nn.Conv2d(4, 4, 3, padding=1, groups=4), image) == 8 * 8 * 4 * 9
    assert multiply_adds(nn.ConvTranspose2d(4, 6, 2, stride=2), image) == 8 * 8 * 4 * 6 * 4


class Products(nn.Module):
    """Every way to write the product of (3, 4) and (4, 5): 60 multiply-adds each."""

    def forward(self, left: Tensor, right: Tensor) -> None:
        left @ right
        torch.matmul(left, right)
        left.matmul(right)
        torch.mm(left, right)
        left.mm(right)
        torch.bmm(left[None], right[None])
        torch.addmm(torch.zeros(5), left, right)


def test_multiply_adds_of_matrix_products() -> None:
    assert multiply_adds(Products(), torch.zeros(3, 4), torch.zeros(4, 5)) == 7 * 60


class Attention(nn.Module):
    """Attention of 2 heads of width 8 from 5 queries to 6 keys."""

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(query, key, key)


def test_multiply_adds_of_attention() -> None:
    query, key = torch.zeros(1, 2, 5, 8), torch.zeros(1, 2, 6, 8)
    tokens = torch.zeros(1, 5, 16)
    module = nn.MultiheadAttention(16, 2, batch_first=True).eval()

    assert multiply_adds(Attention(), query, key) == 2 * 5 * 6 * 8 * 2
    assert multiply_adds(module, tokens, tokens, tokens) == 4 * 5 * 16 * 16 + 2 * 5 * 5 * 16


def test_multiply_adds_agree_with_torchs_own_count() -> None:
    model, image = Digits().build("resnet"), Digits().data("evaluation").inputs[:1]

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(image)

    assert 2 * multiply_adds(model, image) == counter.get_total_flops()


def test_multiply_adds_fall_with_the_channels_that_are_cut_out() -> None:
    torch_pruning = pytest.importorskip("torch_pruning")
    model = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.ReLU(), nn.Conv2d(4, 2, 3, bias=False))
    image = torch.zeros(1, 1, 8, 8)
    whole = multiply_adds(model, image)

    graph = torch_pruning.DependencyGraph().build_dependency(model, example_inputs=image)
    graph.get_pruning_group(model[0], torch_pruning.prune_conv_out_channels, idxs=[0, 1]).prune()

    assert whole == 36 * 4 * 9 + 16 * 2 * 4 * 9
    assert multiply_adds(model, image) == 36 * 2 * 9 + 16 * 2 * 2 * 9


@pytest.mark.parametrize("config", ["Int8DynamicActivationInt8WeightConfig", "Int8WeightOnlyConfig"])
def test_multiply_adds_of_a_quantized_model_are_those_of_the_model_it_was_made_from(config: str) -> None:
    from torchao import quantization

    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 16))
    quantization.quantize_(model, getattr(quantization, config)())

    assert multiply_adds(model, torch.zeros(1, 32)) == 32 * 64 + 64 * 16


def peak(model: nn.Module, inputs: Tensor) -> int:
    watch = Watch()
    with torch.no_grad(), watch:
        watch.hold([*model.parameters(), inputs])
        model(inputs)
    return watch.peak


def test_peak_memory_is_that_of_weights_and_of_what_lives_at_once() -> None:
    wide = nn.Sequential(nn.Linear(8, 1000, bias=False), nn.ReLU(), nn.Linear(1000, 4, bias=False))
    weights, inputs = 4 * (8 * 1000 + 1000 * 4), torch.zeros(1, 8)

    # The first layer's result and the second's, of which it is the only input; what came of a layer goes with it.
    assert peak(wide, inputs) == weights + 4 * (8 + 1000 + 1000)
    assert peak(nn.Sequential(wide[0], wide[2]), inputs) == weights + 4 * (8 + 1000 + 4)
    assert peak(nn.Sequential(wide[0], nn.ReLU(inplace=True), wide[2]), inputs) == weights + 4 * (8 + 1000 + 4)


def test_peak_memory_counts_what_is_shared_once() -> None:
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    second.weight = first.weight

    assert peak(nn.Sequential(first, second), torch.zeros(1, 4)) == 4 * (16 + 4 + 4 + 4)
    assert measured(Tiny().build("identity"))["peak_memory_bytes", "all"]["value"] == 4 * (6 + 2 + 2)


def test_peak_memory_of_a_quantized_model_counts_its_bytes_and_what_it_makes_on_the_way() -> None:
    from torchao import quantization

    model = nn.Sequential(nn.Linear(512, 512, bias=False))
    plain = peak(model, torch.zeros(1, 512))
    quantization.quantize_(model, quantization.Int8WeightOnlyConfig())
    inputs = torch.zeros(1, 512)

    watch = Watch()
    with torch.no_grad(), watch:
        watch.hold([*model.parameters(), inputs])
        held = watch.peak
        model(inputs)

    assert 512 * 512 < held < 1.1 * 512 * 512 < plain
    assert watch.peak > held + 4 * 512


def test_every_metric_is_defined_in_a_file_of_its_name() -> None:
    folder = Path(str(evaluate.__file__)).parent / "metrics"

    assert set(metrics) == {file.stem for file in folder.glob("*.py")} - {"__init__", "base"}


@pytest.mark.parametrize("row", metric_definitions(), ids=lambda row: str(row["metric"]))
def test_every_definition_is_whole(row: dict[str, Any]) -> None:
    assert conform(METRIC_DEFINITIONS, [row]).num_rows == 1
    assert row["direction"] in {"higher", "lower", "none"}
    assert row["format"] in {"percent", "bytes", "count", "ms", "bits", "number"}
    assert row["meaning"].endswith(".") and row["label"]
    assert (row["format"] == "percent") == (row["max"] == 1.0)
    assert row["metric"].endswith(UNITS_IN_NAMES.get(row["unit"], ""))
    assert row["unit"] in {"", "nats", *UNITS_IN_NAMES}


def test_the_metrics_shown_first() -> None:
    primary = {row["metric"] for row in metric_definitions(Tiny()) if row["primary"]}

    assert primary == {"accuracy", "size_bytes", "latency_p50_ms", "sparsity", "multiply_adds"}


def test_every_value_is_within_the_bounds_of_its_definition() -> None:
    bounds = {row["metric"]: (row["min"], row["max"]) for row in metric_definitions()}

    for (name, _), row in measured(Tiny().build("identity")).items():
        low, high = bounds[name]
        assert low <= row["value"] <= (math.inf if high is None else high)


def test_an_unknown_metric_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownMetricError, match="did you mean 'accuracy'"):
        metrics["acuracy"]
