import pytest
import torch
from torch import nn

from cc_ray.errors import NotApplicableError
from tests.compress.tiny import TASK, Residual, base_model, run, tensors


def test_statistics_are_the_averages_over_the_calibration_batches() -> None:
    before = base_model("cnn")
    assert isinstance(before, Residual)
    inputs = TASK.data("calibration").inputs

    after = run("calibrate", before, batch_size=16).model

    with torch.no_grad():
        hidden = before.stem[0](inputs).view(3, 16, 8, 8, 8)
    assert torch.allclose(after.get_buffer("stem.1.running_mean"), hidden.mean((1, 3, 4)).mean(0), atol=1e-6)
    variances = hidden.transpose(1, 2).flatten(2).var(2).mean(0)
    assert torch.allclose(after.get_buffer("stem.1.running_var"), variances, atol=1e-5)


def test_weights_and_momentum_stay() -> None:
    before = base_model("cnn")
    after = run("calibrate", before).model
    assert isinstance(after, Residual)

    changed = {name for name, tensor in tensors(before).items() if not torch.equal(tensor, tensors(after)[name])}
    assert {name.rpartition(".")[2] for name in changed} == {"running_mean", "running_var", "num_batches_tracked"}
    assert after.stem[1].momentum == 0.1


def test_dropout_stays_off() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.BatchNorm1d(64), nn.Linear(64, 4)).eval()

    one, two = (run("calibrate", model, seed=seed).model for seed in (0, 1))

    assert torch.equal(one.get_buffer("2.running_mean"), two.get_buffer("2.running_mean"))


def test_a_model_without_batch_norm_is_refused() -> None:
    with pytest.raises(NotApplicableError, match="no batch norm with running statistics"):
        run("calibrate", base_model("vit"))
