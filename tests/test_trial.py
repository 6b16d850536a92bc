import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn

from cc_ray import trial
from cc_ray.compare import lint, models
from cc_ray.compress import Context, Operation, operations, validated_recipe
from cc_ray.errors import ModelNotFoundError, TrialFailedError
from cc_ray.quiet import at_work, beside_others, no_new_steps
from cc_ray.recipe import Recipe, Step
from cc_ray.store import Store
from cc_ray.tasks.digits import Digits
from cc_ray.views import open_views

TASK = Digits()


def canonical(*steps: Step) -> Recipe:
    return validated_recipe(Recipe("resnet", steps), TASK.bases)


PRUNE = Step("magnitude_pruning", {"sparsity": 0.5})
ROUND = Step("uniform_quantization", {"bits": 4})


def test_a_trial_leaves_every_model_of_its_recipe_measured_and_timed(digits_store: Store) -> None:
    recipe = canonical(PRUNE, ROUND)

    result = trial.run_trial(digits_store, TASK, recipe, study_id="s")

    ids = recipe.model_ids(TASK.task_id)
    assert tuple(step.model_id for step in result.steps) == ids
    assert [step.reused for step in result.steps] == [True, False, False]
    for model_id in ids:
        assert digits_store.read("metrics", keys={"step": model_id}).num_rows
        assert digits_store.read("metrics", keys={"latency": model_id}).num_rows
        assert digits_store.read("predictions", keys={"step": model_id}).num_rows == len(TASK.data("evaluation"))


def test_the_model_rows_tell_how_it_came_to_be(digits_store: Store) -> None:
    recipe = canonical(PRUNE)

    model_id = trial.run_trial(digits_store, TASK, recipe, study_id="s").model_id

    row = digits_store.read("models", keys={"step": model_id}).to_pylist()[0]
    assert (row["operation"], row["base"], row["step_index"]) == ("magnitude_pruning", "resnet", 1)
    assert (row["study_id"], row["name"], row["representation"]) == ("s", str(recipe), "float")
    edges = digits_store.read("lineage", keys={"step": model_id}).to_pylist()
    assert edges == [{"child": model_id, "parent": recipe.model_ids(TASK.task_id)[0], "role": "parent"}]


def test_restored_weights_make_their_ancestor_a_donor(digits_store: Store) -> None:
    recipe = canonical(PRUNE, Step("restore", {"include": ["classifier"], "from_step": 0}))

    model_id = trial.run_trial(digits_store, TASK, recipe).model_id

    base, parent, _ = recipe.model_ids(TASK.task_id)
    edges = digits_store.read("lineage", keys={"step": model_id}).to_pylist()
    assert {(edge["role"], edge["parent"]) for edge in edges} == {("parent", parent), ("donor", base)}


def test_nothing_runs_twice(digits_store: Store) -> None:
    trial.run_trial(digits_store, TASK, canonical(PRUNE))
    before = digits_store.version()

    result = trial.run_trial(digits_store, TASK, canonical(PRUNE))

    assert all(step.reused for step in result.steps)
    assert digits_store.version() == before


def test_a_loaded_model_answers_as_it_was_measured(digits_store: Store) -> None:
    model_id = trial.run_trial(digits_store, TASK, canonical(PRUNE, ROUND)).model_id

    model = trial.load_model(digits_store, model_id)

    with torch.no_grad():
        found = TASK.logits(model, TASK.data("evaluation").inputs).argmax(1).tolist()
    measured = digits_store.read("predictions", keys={"step": model_id}).to_pylist()
    by_instance = {row["instance"]: row["prediction"] for row in measured}
    assert [by_instance[i] for i in TASK.data("evaluation").instances.tolist()] == found


def test_a_model_that_is_not_there_cannot_be_loaded(digits_store: Store) -> None:
    with pytest.raises(ModelNotFoundError, match="no model 'abc'"):
        trial.load_model(digits_store, "abc")


def test_a_step_that_raises_says_which_and_why_and_leaves_a_row(digits_store: Store) -> None:
    recipe = canonical(PRUNE, Step("magnitude_pruning", {"sparsity": 0.5, "include": ["no_such_layer"]}))

    with pytest.raises(TrialFailedError, match="no_such_layer") as caught:
        trial.run_trial(digits_store, TASK, recipe)

    assert caught.value.step.startswith("magnitude_pruning(include=no_such_layer")
    _, parent, failed = recipe.model_ids(TASK.task_id)
    assert digits_store.has("step", parent) and not digits_store.has("step", failed)
    runs = {row["model_id"]: row for row in digits_store.read("step_runs").to_pylist()}
    assert runs[failed]["outcome"] == "failed" and "no_such_layer" in runs[failed]["reason"]
    assert "no_such_layer" in runs[failed]["traceback"] and "Traceback" in runs[failed]["traceback"]


def test_a_step_records_how_far_its_answers_lie_from_base_and_parent(digits_store: Store) -> None:
    recipe = canonical(PRUNE)
    result = trial.run_step(digits_store, TASK, recipe, 1)

    rows = digits_store.read("predictions", keys={"step": result.model_id})
    base = digits_store.read("predictions", keys={"step": recipe.model_ids(TASK.task_id)[0]})

    assert rows["kl_from_base"].null_count == rows["mse_from_parent"].null_count == 0
    # The parent is the base model here.
    assert rows["kl_from_base"].equals(rows["kl_from_parent"])
    assert base["kl_from_base"].null_count == base.num_rows


def test_of_two_that_make_one_model_the_second_is_told_so(digits_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = canonical(PRUNE)
    trial.run_step(digits_store, TASK, recipe, 1)
    # Another process looked just before the first one published.
    monkeypatch.setattr(trial._Job, "reused", lambda _: None)

    result = trial.run_step(digits_store, TASK, recipe, 1)

    assert result.reused
    outcomes = [
        row["outcome"] for row in digits_store.read("step_runs").to_pylist() if row["model_id"] == result.model_id
    ]
    assert sorted(outcomes) == ["discarded", "published"]


def test_who_waits_for_a_turn_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    told: list[bool] = []
    waits = threading.Event()

    def tell(came: bool) -> None:
        told.append(came)
        waits.set()

    with beside_others(tell):
        pass
    assert told == []

    def make() -> None:
        with beside_others(tell):
            assert told == [False, True]

    with no_new_steps():
        other = threading.Thread(target=make)
        other.start()
        assert waits.wait(30) and told == [False]
    other.join()
    assert told == [False, True]


def test_timing_waits_for_steps_and_steps_wait_for_timing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    inside: list[str] = []
    crowd: list[list[str]] = []
    guard = threading.Lock()

    @contextmanager
    def quiet() -> Iterator[None]:
        with no_new_steps(), at_work(alone=True):
            yield

    def work(name: str, timing: bool) -> None:
        for _ in range(20):
            with quiet() if timing else beside_others():
                with guard:
                    inside.append(name)
                    crowd.append(list(inside))
                with guard:
                    inside.remove(name)

    threads = [
        threading.Thread(target=work, args=(f"{timing}{n}", timing)) for timing in (True, False) for n in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(crowd) == 80
    assert all(len(names) == 1 for names in crowd if any(name.startswith("True") for name in names))


KILLED = """
import os, signal, sys
from cc_ray.recipe import Recipe
from cc_ray.store import Store
from cc_ray.tasks.digits import Digits
from cc_ray.trial import run_step
from tests.test_trial import PRUNE, canonical
import cc_ray.store.folder as folder
import cc_ray.store.tables as tables

def die(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)

{sabotage}
run_step(Store(sys.argv[1]), Digits(), canonical(PRUNE), 1)
"""
BEFORE_THE_RENAME = "folder.rename_unless_there = die"
AMONG_THE_FILES = """
write = tables.write
def second(table, path, written=[]):
    written.append(path)
    die() if len(written) == 3 else write(table, path)
tables.write = second
"""


@pytest.mark.parametrize("sabotage", [BEFORE_THE_RENAME, AMONG_THE_FILES], ids=["before the rename", "among the files"])
def test_a_process_killed_while_it_publishes_leaves_nothing_half_visible(digits_store: Store, sabotage: str) -> None:
    recipe = canonical(PRUNE)
    model_id = recipe.model_ids(TASK.task_id)[1]
    models = digits_store.read("models").num_rows

    code = subprocess.run([sys.executable, "-c", KILLED.format(sabotage=sabotage), digits_store.root], check=False)

    assert code.returncode == -9
    assert not digits_store.has("step", model_id)
    assert digits_store.read("models").num_rows == models
    assert digits_store.read("metrics", keys={"step": model_id}).num_rows == 0
    assert list(digits_store.layout.partial.iterdir())
    assert not trial.run_trial(digits_store, TASK, recipe).steps[1].reused
    assert digits_store.sweep(older_than_s=0) == 1
    assert digits_store.read("models").num_rows == models + 1


class Peek(Operation):
    """Looks at what it will be judged on."""

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        assert len(context.task.data("calibration")) and len(context.task.data("evaluation"))
        return model


Peek.name = "peek"


def test_a_model_says_which_data_its_step_read(digits_store: Store) -> None:
    tune = Step("fine_tune", {"epochs": 1})

    result = trial.run_trial(digits_store, TASK, canonical(PRUNE, Step("calibrate"), tune))

    used = {row["model_id"]: row["data_used"] for row in digits_store.read("models").to_pylist()}
    assert [used[step.model_id] for step in result.steps] == [["train"], [], ["calibration"], ["train"]]


def test_an_operation_that_peeks_at_evaluation_data_is_reported(
    digits_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(operations._members, "peek", Peek)

    result = trial.run_trial(digits_store, TASK, canonical(Step("peek"), PRUNE))

    _, peeked, pruned = (step.model_id for step in result.steps)
    found = lint(open_views(digits_store.root)).to_pylist()
    said = {row["model_id"]: row["message"] for row in found if row["check"] == "evaluation_data_used"}
    assert said.keys() == {peeked, pruned}
    assert said[peeked].startswith('peek read the split "evaluation"')
    assert said[pruned].startswith(f"it was made from {peeked}")


def test_the_task_says_that_its_splits_are_disjoint(digits_store: Store) -> None:
    (row,) = digits_store.read("tasks").to_pylist()

    assert json.loads(row["splits"]) == {
        "train": {"instances": 1095, "in_evaluation": 0},
        "calibration": {"instances": 198, "in_evaluation": 0},
        "evaluation": {"instances": 504},
    }


def test_a_teacher_is_an_edge_of_the_lineage(digits_store: Store) -> None:
    recipe = canonical(PRUNE, Step("distil", {"epochs": 1}))

    trial.run_step(digits_store, TASK, recipe, 1)
    trial.run_step(digits_store, TASK, recipe, 2)

    base, pruned, distilled = recipe.model_ids(TASK.task_id)
    lineage = digits_store.read("lineage").to_pylist()
    assert {(row["parent"], row["role"]) for row in lineage if row["child"] == distilled} == {
        (pruned, "parent"),
        (base, "teacher"),
    }


def test_whether_a_saving_is_realised_is_told_of_each_model(digits_store: Store) -> None:
    allocated = Step("allocate", {"applied": "uniform_quantization", "levels": [2, 8], "budget": 5, "instances": 8})
    steps = (PRUNE, ROUND, allocated, Step("channel_pruning", {"ratio": 0.5}), Step("quantize_weights"))
    for step in steps:
        trial.run_step(digits_store, TASK, canonical(step), 1)

    found = {row["operation"]: row["realised"] for row in models(open_views(digits_store.root)).to_pylist()}

    assert found == {
        None: True, "magnitude_pruning": False, "uniform_quantization": False, "allocate": False,
        "channel_pruning": True, "quantize_weights": True,
    }  # fmt: skip
