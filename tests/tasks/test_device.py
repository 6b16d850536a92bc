"""The device that a step works on, where there is no GPU; `tests/gpu` has the rest."""

import pytest
import torch
from torch import nn

from cc_ray.errors import CcRayError, TrialFailedError
from cc_ray.evaluate.gpu_memory import gpu_memory
from cc_ray.recipe import Recipe, Step
from cc_ray.resources import Resources
from cc_ray.store import Store
from cc_ray.tasks import devices_used, holding, moved, repeatable
from cc_ray.tasks.digits import Digits
from cc_ray.trial import run_latency, run_step

TASK = Digits()
TUNE = Recipe("resnet", (Step("fine_tune", {"epochs": 1}),))
SAID = r"CUDA build of the same version on every node|`nvidia-smi` on that machine"
without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="torch sees a CUDA device")


def test_without_a_gpu_models_work_on_the_cpu_and_stay_as_they_are() -> None:
    model = nn.Linear(2, 2)
    weight = model.weight

    with holding(0), repeatable(), devices_used() as used, moved(model) as device:
        assert device == torch.device("cpu")

    assert model.weight is weight
    assert used == {"cpu"}
    assert not torch.are_deterministic_algorithms_enabled()
    assert gpu_memory(TASK, model) is None


def test_what_moves_no_model_used_no_device() -> None:
    with devices_used() as used:
        pass

    assert used == set()


def test_a_model_without_tensors_can_be_moved() -> None:
    with moved(nn.Identity(), nn.Flatten()) as device:
        assert device == torch.device("cpu")


@without_gpu
@pytest.mark.parametrize("gpus", [0.25, 1, 2])
def test_a_gpu_that_torch_does_not_see_is_an_error_that_says_what_to_do(gpus: float) -> None:
    with (
        pytest.raises(CcRayError, match=rf"the step holds {gpus:g} GPU, but torch .* Or ask for no GPU"),
        holding(gpus),
    ):
        raise AssertionError("nothing runs")


@without_gpu
def test_a_step_that_holds_such_a_gpu_fails_before_it_does_anything(digits_store: Store) -> None:
    _, tuned = TUNE.model_ids(TASK.task_id)

    with pytest.raises(TrialFailedError, match=SAID):
        run_step(digits_store, TASK, TUNE, 1, held=Resources(gpus=1))

    assert not digits_store.has("step", tuned)
    (run,) = (row for row in digits_store.read("step_runs").to_pylist() if row["model_id"] == tuned)
    assert (run["outcome"], run["gpus"]) == ("failed", 1.0) and "the step holds 1 GPU" in run["reason"]


@without_gpu
def test_timing_on_such_a_gpu_fails_and_on_the_cpu_it_does_not(digits_store: Store) -> None:
    run_step(digits_store, TASK, TUNE, 1)

    with pytest.raises(TrialFailedError, match=SAID):
        run_latency(digits_store, TASK, TUNE, 1, held=Resources(gpus=0.5))

    assert not run_latency(digits_store, TASK, TUNE, 1).reused


@without_gpu
def test_a_cpu_says_so_in_the_rows(digits_store: Store) -> None:
    run_step(digits_store, TASK, TUNE, 1)

    assert {row["device"] for row in digits_store.read("models").to_pylist()} == {"cpu"}
