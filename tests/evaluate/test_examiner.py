"""Models measured on few instances while their step is under way."""

from functools import cache

import pytest
import torch
from torch import Tensor, nn

from cc_ray.compress import Context, apply_step
from cc_ray.errors import StoppedEarlyError
from cc_ray.evaluate import Examiner
from cc_ray.evaluate.predictions import predict
from cc_ray.recipe import Step
from cc_ray.reports import Ladder, Listener, Report
from cc_ray.tasks.digits import Digits

TASK = Digits()
TUNE = Step("fine_tune", {"epochs": 3})


class Counting(nn.Module):
    """Notes how many instances each call answers."""

    def __init__(self) -> None:
        super().__init__()
        self.net = model()
        self.asked: list[int] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.asked.append(len(inputs))
        return self.net(inputs)  # type: ignore[no-any-return]


@cache
def model() -> nn.Module:
    return TASK.build("resnet")


def examiner(heard: list[Report], ladder: Ladder, metric: str = "accuracy") -> Examiner:
    return Examiner(TASK, Listener(metric, ladder, heard.append), parent_bytes=7)


def test_a_ladder_answers_every_evaluation_instance_once_and_gives_what_predict_gives() -> None:
    heard: list[Report] = []
    counting, data = Counting().eval(), TASK.data("evaluation")

    found = examiner(heard, Ladder(100, (0.25, 0.5))).climb(counting, 99)

    parts = [round(0.25 * len(data)), round(0.5 * len(data))]
    assert [(report.split, report.n) for report in heard] == [
        ("calibration", 100), ("evaluation", parts[0]), ("evaluation", parts[1]),
    ]  # fmt: skip
    assert sum(counting.asked) == 100 + len(data)
    assert {(report.epoch, report.size_bytes) for report in heard} == {(0, 99)}
    whole = predict(TASK, counting, data)
    assert (found.instances == whole.instances).all() and (found.labels == whole.labels).all()
    assert torch.allclose(
        torch.from_numpy(found.log_probabilities), torch.from_numpy(whole.log_probabilities), atol=1e-5
    )


def test_a_ladder_without_rungs_asks_for_nothing_but_the_evaluation_split() -> None:
    heard: list[Report] = []

    found = examiner(heard, Ladder(0, ())).climb(model(), 1)

    assert not heard and len(found.labels) == len(TASK.data("evaluation"))


def test_training_reports_each_epoch_and_comes_to_the_same_weights() -> None:
    heard: list[Report] = []
    watching = examiner(heard, Ladder(50, ()), "loss")

    silent = apply_step(TUNE, model(), Context(TASK, 0, lambda index: model()))
    watched = apply_step(TUNE, model(), Context(TASK, 0, lambda index: model(), after_epoch=watching.after_epoch))

    assert [(report.epoch, report.split, report.n, report.size_bytes) for report in heard] == [
        (1, "calibration", 50, 7), (2, "calibration", 50, 7), (3, "calibration", 50, 7),
    ]  # fmt: skip
    assert heard[-1].value < heard[0].value and watching.reported
    states = [outcome.model.state_dict() for outcome in (silent, watched)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert silent.data_used == ("train",) and watched.data_used == ("calibration", "train")


def test_a_listener_ends_the_step() -> None:
    def hear(report: Report) -> None:
        raise StoppedEarlyError("enough")

    ending = Examiner(TASK, Listener("accuracy", Ladder(), hear), 7)

    with pytest.raises(StoppedEarlyError, match="enough"):
        apply_step(TUNE, model(), Context(TASK, 0, lambda index: model(), after_epoch=ending.after_epoch))
