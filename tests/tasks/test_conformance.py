"""What every task keeps to, whoever wrote it: runs over all that is registered, entry points included."""

from itertools import combinations

import pytest

from cc_ray.tasks import SPLITS, Split, Task, splits_used, tasks


@pytest.fixture(params=[name for name, _ in tasks.items()])
def task(request: pytest.FixtureRequest) -> Task:
    return tasks[request.param]()


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
