"""What every task keeps to, whoever wrote it: runs over all that is registered, entry points included."""

import json
from itertools import combinations

import pytest
import torch

from cc_ray.schema import INSTANCES
from cc_ray.tasks import SPLITS, Split, Task, splits_used, task_from_json, tasks


@pytest.fixture(params=[name for name, _ in tasks.items()], scope="module")
def task(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Task:
    return tasks[request.param].example(tmp_path_factory.mktemp(request.param))


def test_a_base_model_answers(task: Task) -> None:
    data = task.data("calibration")
    inputs, labels = data.inputs[:4], data.labels[:4]
    for base in task.bases:
        model = task.build(base)

        loss = task.loss(model, inputs, labels)
        torch.autograd.backward(loss)

        assert not model.training
        assert loss.shape == ()
        assert torch.isfinite(loss)
        assert any(parameter.grad is not None for parameter in model.parameters())


def test_it_is_the_same_once_written_and_read(task: Task) -> None:
    again = task_from_json(json.loads(json.dumps(task.to_json())))

    assert again == task
    assert again.task_id == task.task_id


def test_instances_are_those_of_the_evaluation_split(task: Task) -> None:
    rows = task.instances()

    assert rows["instance"].to_pylist() == task.data("evaluation").instances.tolist()
    assert set(rows["task_id"].to_pylist()) == {task.task_id}
    assert all(rows["payload"].to_pylist())
    assert rows.schema == INSTANCES.schema


@pytest.mark.parametrize(("left", "right"), list(combinations(SPLITS, 2)))
def test_no_instance_is_in_two_splits(task: Task, left: Split, right: Split) -> None:
    one, other = task.data(left), task.data(right)

    assert not set(one.instances.tolist()) & set(other.instances.tolist())
    assert not {each.numpy().tobytes() for each in one.inputs} & {each.numpy().tobytes() for each in other.inputs}


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_that_is_read_is_seen(task: Task, split: Split) -> None:
    with splits_used() as used:
        task.data(split)

    assert used == {split}


def test_to_look_at_the_instances_is_to_read_the_evaluation_split(task: Task) -> None:
    with splits_used() as used:
        task.instances()

    assert used == {"evaluation"}


def test_to_identify_a_task_is_not_to_use_its_data(task: Task) -> None:
    with splits_used() as used:
        assert task.task_id

    assert not used


def test_what_was_read_before_and_after_does_not_count(task: Task) -> None:
    task.data("train")
    with splits_used() as outer:
        with splits_used() as inner:
            task.data("calibration")
        task.data("train")
    task.data("evaluation")

    assert (inner, outer) == ({"calibration"}, {"train"})
