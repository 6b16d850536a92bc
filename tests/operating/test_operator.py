"""What the dashboard has done for its operators, on a small real Ray; jobs are only noted."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from cc_ray.errors import CcRayError, InvalidRecipeError
from cc_ray.jobs import Job
from cc_ray.operating.operator import StudyOperator
from cc_ray.recipe import Recipe
from cc_ray.search.branched import branched
from cc_ray.search.records import write_study
from cc_ray.search.sensitivity import measure, plan_probes
from cc_ray.search.space import rows_of
from cc_ray.search.written import read_step
from cc_ray.store import Store
from cc_ray.tasks.digits import Digits
from dashboards.operating import WHOLE, Branch, Step, Stored

TASK_ID = Digits().task_id
BASE = Recipe("resnet").model_ids(TASK_ID)[0]
PRUNE = Step("magnitude_pruning", {"sparsity": (0.3, 0.5), "include": (["stem"],), "levels": ({"stem": 0.2},)})


class NotedJobs:
    """Jobs that never run."""

    def __init__(self) -> None:
        self.started: dict[str, list[str]] = {}
        self.stopped: list[str] = []

    def start(self, study: str, verb: Sequence[str]) -> Job:
        self.started[study] = list(verb)
        return self.job(study)

    def find(self, study: str) -> Job | None:
        return self.job(study) if study in self.started else None

    def log(self, job: Job) -> str:
        return f"log of {job.study}"

    def stop(self, job: Job) -> None:
        self.stopped.append(job.study or "")

    def job(self, study: str) -> Job:
        state = "stopped" if study in self.stopped else "running"
        return Job(f"{study}-1", state, study, None, None, "", None, None, None, None)


@pytest.fixture
def jobs(ray_cluster: None) -> NotedJobs:
    return NotedJobs()


def test_operations_are_told_with_all_that_a_form_needs(jobs: NotedJobs, digits_store: Store) -> None:
    found = {each.name: each for each in StudyOperator(str(digits_store.root), jobs).operations()}

    prune = {each.name: each for each in found["magnitude_pruning"].parameters}
    assert next(iter(prune)) == "sparsity"
    assert (prune["sparsity"].type, prune["sparsity"].allowed, prune["sparsity"].required) == (
        "number", "at least 0, below 1", True,
    )  # fmt: skip
    assert prune["scope"].options == ("global", "layer", "row") and "compete" in prune["scope"].meaning
    assert prune["include"].type == "array"
    assert (prune["levels"].type, prune["levels"].required) == ("object", False)
    allocate = {each.name: each.type for each in found["allocate"].parameters}
    assert [allocate[name] for name in ("levels", "settings", "harms", "times_ms")] == ["array", *["object"] * 3]
    assert next(each.items for each in found["allocate"].parameters if each.name == "levels") == "number"
    (size,) = (each for each in found["quantize_int4"].parameters if each.name == "group_size")
    assert (size.type, size.options, size.default) == ("integer", ("32", "64", "128", "256"), 128)


def test_a_plan_is_what_would_run_and_the_job_runs_just_that(jobs: NotedJobs, digits_store: Store) -> None:
    operator = StudyOperator(str(digits_store.root), jobs)
    branch = Branch((BASE,), (PRUNE, Step("calibrate")))

    planned = operator.plan(branch)
    study = operator.start(branch, "Ann; rm -rf /")

    assert (planned.trials, planned.known, planned.to_make, planned.problems) == (2, 1, 4, {})
    assert study == planned.study == "resnet-magnitude_pruning-calibrate"
    verb = jobs.started[study]
    assert verb[:2] == ["branch", BASE] and verb[-1] == "--by=Ann; rm -rf /"
    steps = [read_step(each.removeprefix("--step=")) for each in verb if each.startswith("--step=")]
    assert steps[0].parameters["levels"] == {"stem": 0.2}
    assert branched(digits_store, [BASE], steps, name=study).recipes[0].slots
    assert "already" in operator.plan(Branch((BASE,), (PRUNE,), name=study)).problems[WHOLE, "name"]


def test_what_the_store_knows_of_layers_is_looked_up_for_the_plan(jobs: NotedJobs, digits_store: Store) -> None:
    operator = StudyOperator(str(digits_store.root), jobs)
    told = {each.name: {one.name: one.stored for one in each.parameters} for each in operator.operations()}
    assert (told["allocate"]["harms"], told["allocate"]["times_ms"]) == ("rows_of", "times_of")

    def asked(call: str, **more: Any) -> Branch:
        given = {
            "applied": ("uniform_quantization",),
            "levels": ([2, 4],),
            "budget": (3, 3.5),
            "harms": (Stored(call),),
        }
        return Branch((BASE,), (Step("allocate", {**given, **more}),))

    lacking = operator.plan(asked("rows_of()")).problems[WHOLE, ""]
    assert f"20 of 20 rows are not in {digits_store.root}" in lacking and f"`cc-ray sensitivity {BASE}" in lacking
    for levels in (2, 4):
        plan = plan_probes(digits_store, BASE, "uniform_quantization", [levels], split="calibration")
        assert set(measure((str(digits_store.root), BASE, "calibration"), plan.probes)) == {""}
    planned = operator.plan(asked("rows_of('loss')"))
    operator.start(asked("rows_of('loss')"), "Ann")

    assert (planned.trials, planned.to_make, planned.problems) == (2, 2, {})
    (written,) = (each for each in jobs.started[planned.study] if each.startswith("--step="))
    assert read_step(written.removeprefix("--step=")).parameters["harms"] == rows_of("loss")
    for wrong, place, said in (
        (asked("rows_of(3)"), (0, "harms"), "rows_of: metric"),
        (asked("rows_of('loss'"), (0, "harms"), "'rows_of('loss'' cannot be read; allowed: rows_of(...)"),
        (asked("rows_of(open('x'))"), (0, "harms"), "cannot be read"),
        (asked("rows_of()", levels=([2, 99],)), (WHOLE, ""), "bits=99"),
        (asked("rows_of()", levels=([2, 4], [3, 4])), (WHOLE, ""), "which rows are wanted is open"),
    ):
        problems = operator.plan(wrong).problems
        assert said in problems.get(place, ""), problems


def test_what_is_wrong_is_told_by_place_and_never_started(jobs: NotedJobs, digits_store: Store) -> None:
    operator = StudyOperator(str(digits_store.root), jobs)
    wrong = Branch((BASE,), (Step("magnitude_pruning", {"sparsity": (0.5, 1.5)}), Step("uniform_quantization")))

    problems = operator.plan(wrong).problems

    assert problems[0, "sparsity"] == "1.5: input should be less than 1" and problems[1, "bits"] == "is needed"
    assert "no model 'gone'" in operator.plan(Branch(("gone",), (Step("calibrate"),))).problems[WHOLE, ""]
    levels = Step("magnitude_pruning", {"sparsity": (0.5,), "levels": ({"stem": "much"},)})
    long = Step("magnitude_pruning", {"sparsity": (0.5,), "levels": ({"stem" * 1000: 0.5},)})
    told = operator.plan(Branch((BASE,), (levels, long))).problems
    assert "much" in told[0, "levels"] and "characters to say; allowed: at most 4,000" in told[1, ""]
    many = Step("magnitude_pruning", {"sparsity": tuple(number / 100 for number in range(50))})
    assert "125,000 recipes; at most 2,000" in operator.plan(Branch((BASE,), (many,) * 3)).problems[WHOLE, ""]
    assert "allowed: letters" in operator.plan(Branch((BASE,), (PRUNE,), name="a b")).problems[WHOLE, ""]
    with pytest.raises(InvalidRecipeError, match="less than 1"):
        operator.start(wrong, "Ann")
    assert not jobs.started


def test_a_study_is_asked_to_stop_and_its_job_only_where_it_has_not_begun(jobs: NotedJobs, digits_store: Store) -> None:
    operator = StudyOperator(str(digits_store.root), jobs)
    with pytest.raises(CcRayError, match="no study 'begun'"):
        operator.resume("begun", "Ann")
    begin(digits_store, "begun")
    operator.resume("begun", "Ann", retry_failed=True)
    jobs.start("waits", [])

    for study in ("begun", "waits"):
        operator.stop(study, "Ann")
    operator.stop("begun", "Ann", "some trial")

    assert jobs.started["begun"] == ["resume", "--by=Ann", "--retry-failed", "--", "begun"]
    assert jobs.stopped == ["waits"]
    rows = digits_store.read("requests").sort_by("at").to_pylist()
    assert [(row["study_id"], row["trial_id"], row["by"]) for row in rows] == [
        ("begun", None, "Ann"), ("waits", None, "Ann"), ("begun", "some trial", "Ann"),
    ]  # fmt: skip


def test_the_cluster_is_told_as_ray_has_it(jobs: NotedJobs, digits_store: Store) -> None:
    operator = StudyOperator(str(digits_store.root), jobs)

    found = operator.cluster()

    assert found.problem == ""
    assert found.running is None and found.nodes[0].total["CPU"] == 2
    assert operator.cluster() is found
    assert operator.log("nothing") == "" and operator.job("nothing") is None


def begin(store: Store, name: str) -> None:
    space = branched(store, [BASE], [read_step("calibrate")], name=name)
    now = datetime.now(UTC)
    write_study(store, space, TASK_ID, "running", now, {}, now)
