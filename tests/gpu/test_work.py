"""What a step does on a GPU that it holds. No Ray: `pytest -m gpu tests/gpu/test_work.py`."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cc_ray.compress import apply_step, operations
from cc_ray.errors import CcRayError, NotApplicableError
from cc_ray.evaluate.activations import activations
from cc_ray.evaluate.gpu_memory import gpu_memory
from cc_ray.evaluate.latency import time_batches, time_beside
from cc_ray.evaluate.predictions import predict
from cc_ray.recipe import Recipe, Step
from cc_ray.reports import Ladder, Listener, Report
from cc_ray.resources import Resources
from cc_ray.search.layer_times import stored_times, time_layers
from cc_ray.search.sensitivity import plan_probes
from cc_ray.store import Store
from cc_ray.store.artifacts import save_model
from cc_ray.store.layout import Draft
from cc_ray.tasks import Data, device_name, devices_used, holding, moved, repeatable
from cc_ray.tasks.digits import Digits
from cc_ray.tasks.training import train
from cc_ray.trial import ensure_task, load_model, run_latency, run_step
from tests.compress.test_conformance import NOTHING_TO_DO, Case, applied, assert_equal, cases
from tests.compress.tiny import TASK as TINY
from tests.compress.tiny import base_model, context, outputs, tensors

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]

DIGITS = Digits()
ALWAYS_FED = {
    "bias_correction",
    "calibrate",
    "distil",
    "fine_tune",
    "gptq_quantization",
    "taylor_pruning",
    "wanda_pruning",
}
"""Operations that cannot do without the GPU; others that read data may, and what reads none looks at weights alone."""
CASES = [case for case in cases() if case.base not in NOTHING_TO_DO.get(case.step.operation, ())]
WAYS = {
    "float": (),
    "simulated": (Step("uniform_quantization", {"bits": 5}),),
    "int8 weights": (Step("quantize_weights"),),
    "int8 weights and activations": (Step("quantize_dynamic"),),
}


@contextmanager
def on_the_gpu(gpus: float = 1.0) -> Iterator[str]:
    """As in a step that holds a GPU; gives its name."""
    with holding(gpus), repeatable():
        yield device_name(torch.device("cuda"))


def held(base: str, way: str) -> nn.Module:
    """A small model that holds its weights in one of the ways."""
    model = base_model(base)
    for step in WAYS[way]:
        model = apply_step(step, model, context(base)).model
    return model


def accuracy(model: nn.Module) -> float:
    return float(predict(DIGITS, model, DIGITS.data("evaluation")).correct.mean())


def places(model: nn.Module) -> set[str]:
    return {tensor.device.type for tensor in model.state_dict().values()}


@pytest.mark.parametrize("base", DIGITS.bases)
def test_a_base_model_learns_and_the_same_seed_gives_the_same_weights(base: str) -> None:
    with on_the_gpu() as name, devices_used() as used:
        first, second = (DIGITS.train(base, seed=3) for _ in range(2))

    assert used == {name}
    assert places(first) == {"cpu"}
    assert accuracy(first) > 0.95
    assert_equal(tensors(first), tensors(second))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_operation_gives_the_same_weights_twice_and_about_those_of_a_cpu(case: Case) -> None:
    try:
        cpu = applied(case)
    except NotApplicableError as error:
        pytest.skip(str(error))
    with on_the_gpu() as name:
        with devices_used() as used:
            first = applied(case)
        second = applied(case)

    assert used <= ({name} if operations[case.step.operation].reads else set())
    assert used or case.step.operation not in ALWAYS_FED
    assert places(first.model) == {"cpu"} and not first.model.training
    assert_equal(tensors(first.model), tensors(second.model))
    if used:
        assert (outputs(first.model) - outputs(cpu.model)).abs().mean() < 0.02
    else:
        assert_equal(tensors(first.model), tensors(cpu.model))


@pytest.mark.parametrize("base", ["cnn", "vit"])
@pytest.mark.parametrize("way", WAYS)
def test_answers_are_those_of_a_cpu_and_the_model_stays_as_it_was(way: str, base: str, tmp_path: Path) -> None:
    model, data = held(base, way), TINY.data("evaluation")
    before, cpu = save_model(Draft(tmp_path), model), predict(TINY, model, data)

    with on_the_gpu() as name, devices_used() as used:
        found = predict(TINY, model, data)

    assert used == {name}
    # An activation that is rounded the other way is off by a 127th of its row's largest.
    apart = 0.1 if "activations" in way else 1e-4
    assert np.abs(found.log_probabilities - cpu.log_probabilities).max() < apart
    assert places(model) == {"cpu"}
    assert save_model(Draft(tmp_path), model) == before
    assert np.array_equal(predict(TINY, model, data).log_probabilities, cpu.log_probabilities)


@pytest.mark.parametrize("way", WAYS)
def test_activations_are_those_of_a_cpu(way: str) -> None:
    model, parent, data = held("vit", way), base_model("vit", seed=1), TINY.data("evaluation")
    cpu = list(activations(TINY, model, data, parent))

    with on_the_gpu():
        found = list(activations(TINY, model, data, parent))

    assert [row["layer"] for row in found] == [row["layer"] for row in cpu]
    for mine, theirs in zip(found, cpu, strict=True):
        assert mine["values"] == pytest.approx(theirs["values"], abs=0.2 if "activations" in way else 1e-4)
        assert mine["shape"] == theirs["shape"]
        assert (mine["isolated_sqnr_db"] is None) == (theirs["isolated_sqnr_db"] is None)
        assert (mine["isolated_sqnr_db"] or 0.0) == pytest.approx(theirs["isolated_sqnr_db"] or 0.0, abs=0.5)


def halves() -> Data:
    inputs = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return Data(inputs, (inputs.mean((1, 2, 3)) > 0).long(), torch.arange(64))


def called(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(model(inputs), labels)


def test_what_a_gpu_computes_in_varying_order_is_refused_unless_the_task_lets_it_be() -> None:
    pooled = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 2))

    refused = r"on a GPU 'adaptive_avg_pool2d.*' gives other bits .* `repeatable = False`"
    with pytest.raises(CcRayError, match=refused), on_the_gpu():
        train(pooled, halves(), called, epochs=1, learning_rate=0.01)

    assert places(pooled) == {"cpu"}
    with holding(1), repeatable(strictly=False):
        train(pooled, halves(), called, epochs=1, learning_rate=0.01)


def test_settings_and_random_state_are_as_before() -> None:
    def settings() -> tuple[object, ...]:
        cudnn = torch.backends.cudnn
        return (
            torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled(),
            cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, cudnn.enabled,
        )  # fmt: skip

    torch.cuda.manual_seed(5)
    before, state, seeds = settings(), torch.get_rng_state(), torch.cuda.get_rng_state()

    with on_the_gpu():
        inside = settings()
        train(nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(64, 2)), halves(), called, epochs=2, learning_rate=1)

    assert inside == (True, False, True, False, False, True)
    assert settings() == before
    assert torch.equal(torch.get_rng_state(), state) and torch.equal(torch.cuda.get_rng_state(), seeds)


def test_a_share_of_a_gpu_bounds_the_memory_and_a_failed_step_leaves_none_behind() -> None:
    share = 1e9 / torch.cuda.get_device_properties(0).total_memory
    wide = nn.Sequential(nn.Flatten(), nn.Linear(64, 2_000_000), nn.Linear(2_000_000, 2))
    with on_the_gpu():
        predict(TINY, base_model("mlp"), TINY.data("evaluation"))
    before = torch.cuda.memory_allocated()

    said = r"GPU has too little memory for the step .*Ask for more of it by `gpus`"
    with pytest.raises(CcRayError, match=said), on_the_gpu(share):
        train(wide, halves(), called, epochs=1, learning_rate=0.01)

    assert places(wide) == {"cpu"}
    assert torch.cuda.memory_allocated() == before
    with on_the_gpu(0.5):
        train(wide, halves(), called, epochs=1, learning_rate=0.01)
    assert torch.cuda.memory_reserved() - torch.cuda.memory_allocated() < 2**25


def test_a_model_in_training_is_looked_at_where_it_is() -> None:
    seen: list[tuple[set[str], int]] = []

    def look(model: nn.Module, epoch: int) -> None:
        predict(DIGITS, model.eval(), DIGITS.data("calibration"))
        model.train()
        seen.append((places(model), epoch))

    with on_the_gpu():
        train(DIGITS.build("resnet"), DIGITS.data("train"), DIGITS.loss, epochs=2, learning_rate=0.01, after_epoch=look)

    assert seen == [({"cuda"}, 1), ({"cuda"}, 2)]


@pytest.mark.parametrize("way", WAYS)
def test_models_are_timed_on_the_gpu_beside_each_other(way: str) -> None:
    model, base = held("vit", way), base_model("vit")

    with holding(1):
        name = device_name(torch.device("cuda"))
        timing, batches = time_beside(TINY, model, base, budget_s=0.1), time_batches(TINY, model, budget_s=0.1)

    assert timing.device == batches.device == name
    assert len(timing.model_ms) == len(timing.base_ms) and (timing.model_ms > 0).all()
    assert batches.size == 48 and (batches.model_ms > 0).all()
    assert places(model) == places(base) == {"cpu"}


def test_layers_are_timed_on_the_gpu_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    ensure_task(store, DIGITS)
    base = Recipe("vit")
    run_step(store, DIGITS, base, 0)
    plan = plan_probes(store, base.model_ids(DIGITS.task_id)[0], "low_rank", (0.3, 0.6), pattern="mlp")

    on_gpu, on_cpu, again = time_layers(plan, store, gpus=1), time_layers(plan, store), time_layers(plan, store, gpus=1)

    assert (on_gpu.device, on_cpu.device) == (device_name(torch.device("cuda")), "cpu, 1 thread")
    assert on_gpu.timed == on_cpu.timed == again.reused == len(plan.layers) and again.times_ms == on_gpu.times_ms
    assert stored_times(store, plan).keys() == {on_gpu.device, on_cpu.device}
    assert all(len(times) == 2 and min(times) > 0 for times in on_gpu.times_ms.values())


def test_memory_is_that_of_the_weights_and_what_a_pass_needs() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4096), nn.Linear(4096, 4096), nn.Linear(4096, 4))
    weights = sum(4 * parameter.numel() for parameter in model.parameters())

    with holding(1):
        first, second = (gpu_memory(TINY, model) for _ in range(2))

    assert first is not None and first == second
    # A product may take a workspace of some megabytes.
    assert weights < first.peak_bytes < weights + 2**27
    assert gpu_memory(TINY, model) is None


RECIPE = Recipe(
    "resnet",
    (
        Step("magnitude_pruning", {"sparsity": 0.5}),
        Step("fine_tune", {"epochs": 1, "learning_rate": 0.005}),
        Step("quantize_weights"),
        Step("calibrate"),
    ),
)
PLACES = [0.5, 1, 0.5, 1, 1]
"""GPUs that each step holds."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A recipe whose steps and timings held a GPU or a half of one."""
    made = Store(tmp_path_factory.mktemp("gpu") / "store", create=True)
    ensure_task(made, DIGITS)
    for index, gpus in enumerate(PLACES):
        run_step(made, DIGITS, RECIPE, index, held=Resources(gpus=gpus))
        run_latency(made, DIGITS, RECIPE, index, held=Resources(gpus=gpus))
    return made


def test_rows_say_what_was_done_where(store: Store) -> None:
    name = device_name(torch.device("cuda"))
    ids = RECIPE.model_ids(DIGITS.task_id)

    rows = {row["model_id"]: row for row in store.read("models").to_pylist()}
    assert [rows[model_id]["device"] for model_id in ids] == [name, "cpu", name, "cpu", name]
    runs = {(row["model_id"], row["kind"]): row for row in store.read("step_runs").to_pylist()}
    assert [runs[model_id, "step"]["gpus"] for model_id in ids] == PLACES
    assert {row["outcome"] for row in runs.values()} == {"published"}
    for model_id in ids:
        timed = {row["metric"]: row for row in store.read("metrics", keys={"latency": model_id}).to_pylist()}
        assert {row["device"] for row in timed.values()} == {name}
        assert {"latency_p50_ms", "speedup", "throughput_per_s", "peak_gpu_memory_bytes"} <= timed.keys()


def test_models_of_a_gpu_are_loaded_and_answer_on_a_cpu_as_they_were_measured(store: Store) -> None:
    data = DIGITS.data("evaluation")
    for model_id in RECIPE.model_ids(DIGITS.task_id):
        measured = store.read("predictions", keys={"step": model_id}).sort_by("instance")
        found = predict(DIGITS, load_model(store, model_id), data)

        order = np.argsort(found.instances)
        theirs = np.array(measured["probabilities"].to_pylist())
        assert np.abs(found.probabilities[order] - theirs).max() < 1e-3
        assert found.correct.mean() > 0.9


def test_steps_leave_no_memory_behind(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    ensure_task(store, DIGITS)
    left = []
    for seed in range(3):
        recipe = Recipe("resnet", (Step("fine_tune", {"epochs": 1}),), seed=seed)
        for index in (0, 1):
            run_step(store, DIGITS, recipe, index, held=Resources(gpus=0.5))
        left.append((torch.cuda.memory_allocated(), torch.cuda.memory_reserved()))

    assert left[0] == left[1] == left[2]
    # The workspaces of cuBLAS, which a process keeps.
    assert left[0][1] < 2**27


def test_a_step_that_may_be_stopped_reports_from_the_gpu(store: Store) -> None:
    heard: list[Report] = []
    recipe = Recipe("resnet", (Step("fine_tune", {"epochs": 2, "learning_rate": 0.002}),))

    run_step(
        store, DIGITS, recipe, 1, held=Resources(gpus=1), listener=Listener("accuracy", Ladder(), heard.append)
    )  # fmt: skip

    assert [report.epoch for report in heard] == [1, 2]
    assert all(report.value > 0.8 for report in heard)


UNSEEN = """
from cc_ray.errors import TrialFailedError
from tests.gpu.test_work import *
store = Store({root!r}, create=True)
ensure_task(store, DIGITS)
try:
    run_step(store, DIGITS, RECIPE, 0, held=Resources(gpus=1))
except TrialFailedError as error:
    print(error.cause)
"""


def test_a_gpu_that_torch_does_not_see_fails_the_step_with_a_word_of_what_to_do(tmp_path: Path) -> None:
    code = UNSEEN.format(root=str(tmp_path / "store"))
    hidden = os.environ | {"CUDA_VISIBLE_DEVICES": ""}

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=hidden, check=False)

    assert "the step holds 1 GPU, but torch" in ran.stdout, ran.stderr
    assert "sees none: `nvidia-smi` on that machine" in ran.stdout


def test_nothing_is_moved_where_no_gpu_is_held() -> None:
    model = base_model("mlp")

    with holding(0), repeatable(), devices_used() as used, moved(model) as device:
        assert device == torch.device("cpu") and places(model) == {"cpu"}

    assert used == {"cpu"}
    assert not torch.are_deterministic_algorithms_enabled()
