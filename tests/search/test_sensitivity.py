import json
import math
import os
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cc_ray import cli, compare
from cc_ray.compress import operations, validated_recipe
from cc_ray.compress.magnitude_pruning import MagnitudePruning
from cc_ray.errors import (
    CcRayError,
    InvalidRecipeError,
    ModelNotFoundError,
    NotApplicableError,
    UnknownMetricError,
    UnknownOperationError,
)
from cc_ray.evaluate.sensitivity import Bench
from cc_ray.evaluate.stored_model import StoredModel
from cc_ray.recipe import Recipe, Step
from cc_ray.resources import Resources
from cc_ray.search.sensitivity import ProbePlan, ProbeProgress, level_parameter, measure, plan_probes, run_probes
from cc_ray.store import Store
from cc_ray.tasks.digits import Digits
from cc_ray.trial import run_step
from cc_ray.views import open_views

TASK = Digits()
BASE = Recipe("resnet").model_ids(TASK.task_id)[0]
LAYERS = 10
"""Linear layers and convolutions of the residual network."""


def planned(store: Store, *levels: float, operation: str = "magnitude_pruning", **options: Any) -> ProbePlan:
    return plan_probes(store, BASE, operation, levels, **options)


def rows(store: Store) -> list[dict[str, Any]]:
    """What was measured, without what differs from time to time."""
    found = store.read("sensitivity").sort_by([("layer", "ascending"), ("level", "ascending"), ("metric", "ascending")])
    listed: list[dict[str, Any]] = found.drop_columns(["duration_s", "at"]).to_pylist()
    return listed


@pytest.mark.usefixtures("ray_cluster")
def test_with_ray_comes_out_what_comes_out_without_and_what_a_step_makes(digits_store: Store) -> None:
    plan = planned(digits_store, 0.5, 0.9, pattern="STEM|classifier")
    seen: list[ProbeProgress] = []

    summary = run_probes(plan, digits_store, on_progress=seen.append)

    assert (summary.measured, summary.reused, summary.failures, summary.stopped) == (4, 0, (), None)
    assert plan.layers == ("stem.0", "classifier") and plan.parameter == "sparsity"
    assert (seen[-1].layers_done, seen[-1].layers_total, seen[-1].pace.remaining_s) == (2, 2, 0.0)
    bench = Bench(StoredModel.find(digits_store, BASE))
    alone = [row for probe in plan.probes for row in bench.measure(probe)]
    found = rows(digits_store)
    assert len(found) == len(alone) == 4 * len(StoredModel.find(digits_store, BASE).judged_by)
    for row in alone:
        assert {name: row.get(name) for name in found[0]} in found

    step = Step("magnitude_pruning", {"sparsity": 0.9, "include": ["stem.0"]})
    made = run_step(digits_store, TASK, validated_recipe(Recipe("resnet", (step,)), TASK.bases), 1).model_id
    for row in digits_store.read("metrics", keys={"step": made}).to_pylist():
        if (row["split"], row["slice"]) == ("evaluation", "all"):
            (probed,) = (r for r in found if (r["layer"], r["level"], r["metric"]) == ("stem.0", 0.9, row["metric"]))
            assert (probed["value"], probed["ci_low"], probed["n"]) == (row["value"], row["ci_low"], row["n"])
    (layer,) = (r for r in digits_store.read("layers", keys={"step": made}).to_pylist() if r["layer"] == "stem.0")
    assert probed["weight_sqnr_db"] == pytest.approx(layer["sqnr_db"])
    assert math.isfinite(probed["output_sqnr_db"])


@pytest.mark.usefixtures("ray_cluster")
def test_what_is_known_is_not_measured_again_and_two_sessions_share_the_work(digits_store: Store) -> None:
    run_probes(planned(digits_store, 0.5), digits_store)
    version = digits_store.version()

    again = run_probes(planned(digits_store, 0.5), digits_store)

    assert (again.measured, again.reused) == (0, LAYERS) and digits_store.version() == version
    with ThreadPoolExecutor() as pool:
        both = list(pool.map(lambda _: run_probes(planned(digits_store, 0.5, 0.8), digits_store), range(2)))
    assert all(summary.reused >= LAYERS and not summary.failures for summary in both)
    assert len(digits_store.keys("sensitivity")) == 2 * LAYERS
    accuracy = [row for row in rows(digits_store) if row["metric"] == "accuracy"]
    assert len(accuracy) == 2 * LAYERS
    assert all(row["difference"] == row["value"] - row["model_value"] for row in accuracy)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_ctrl_c_keeps_what_is_done_and_the_next_run_goes_on(digits_store: Store) -> None:
    plan = planned(digits_store, *(place / 16 for place in range(1, 16)))
    before = signal.getsignal(signal.SIGINT)

    def interrupt(now: ProbeProgress) -> None:
        if now.pace.done:
            os.kill(os.getpid(), signal.SIGINT)

    stopped = run_probes(plan, digits_store, on_progress=interrupt)

    assert stopped.stopped == "stopped by SIGINT" and 0 < stopped.measured < len(plan.probes)
    assert signal.getsignal(signal.SIGINT) is before
    rest = run_probes(plan, digits_store)
    assert rest.measured + rest.reused == len(plan.probes) and rest.reused >= stopped.measured


@pytest.mark.usefixtures("ray_cluster")
def test_a_measurement_holds_what_the_operation_or_the_task_asks_for(
    digits_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Digits, "resources", Resources(cpus=2))
    assert planned(digits_store, 0.5).asked == Resources(cpus=2)
    monkeypatch.setattr(MagnitudePruning, "resources", Resources(gpus=1))

    with pytest.raises(CcRayError, match="asks for 1 CPU, 1 GPU, which no node of the cluster has"):
        run_probes(planned(digits_store, 0.5), digits_store)


def test_a_layer_that_the_operation_cannot_compress_alone_says_why(digits_store: Store) -> None:
    plan = planned(digits_store, 0.5, operation="channel_pruning", pattern=r"stages\.0")

    assert measure((str(digits_store.root), BASE, "evaluation"), plan.probes) == ["", ""]

    accuracy = {row["layer"]: row for row in rows(digits_store) if row["metric"] == "accuracy"}
    assert accuracy["stages.0.conv1"]["value"] < 1 and accuracy["stages.0.conv1"]["reason"] is None
    assert accuracy["stages.0.conv1"]["weight_sqnr_db"] is None
    assert accuracy["stages.0.conv2"]["value"] is None and "no channels" in accuracy["stages.0.conv2"]["reason"]


def test_layers_are_judged_on_calibration_instances_beside_what_is_known_of_the_evaluation_split(
    digits_store: Store,
) -> None:
    plans = [planned(digits_store, 0.9, pattern="classifier", split=split) for split in ("evaluation", "calibration")]

    for plan in plans:
        assert measure((str(digits_store.root), BASE, plan.split), plan.probes) == [""]

    views = open_views(digits_store.root)
    found = [compare.sensitivity(views, "loss", [BASE], split=plan.split).to_pylist() for plan in plans]
    assert [len(each) for each in found] == [1, 1] and found[0][0]["value"] != found[1][0]["value"]
    judged = {row["metric"]: row["n"] for row in rows(digits_store) if row["split"] == "calibration"}
    assert judged["accuracy"] == len(TASK.data("calibration")) and "accuracy_drop" not in judged


def test_an_operation_without_a_level_has_one_row_a_layer(digits_store: Store) -> None:
    plan = planned(digits_store, operation="quantize_weights")

    measure((str(digits_store.root), BASE, "evaluation"), plan.probes)

    (row,) = (row for row in rows(digits_store) if row["metric"] == "accuracy")
    assert (row["layer"], row["parameter"], row["level"]) == ("classifier", None, None)
    assert row["weight_sqnr_db"] > 30


def test_an_error_fails_its_layer_and_no_other(digits_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    apply = MagnitudePruning.apply

    def break_down(self: MagnitudePruning, model: Any, context: Any) -> Any:
        if "classifier" in self.include:
            raise ZeroDivisionError("nothing left")
        return apply(self, model, context)

    monkeypatch.setattr(MagnitudePruning, "apply", break_down)
    plan = planned(digits_store, 0.5, pattern="stem|classifier")

    wanted = ["", "ZeroDivisionError: nothing left"]
    assert measure((str(digits_store.root), BASE, "evaluation"), plan.probes) == wanted
    assert {row["layer"] for row in rows(digits_store)} == {"stem.0"}


@pytest.mark.parametrize(
    ("operation", "levels", "options", "error", "said"),
    [
        ("magnitude_prunning", [0.5], {}, UnknownOperationError, "did you mean 'magnitude_pruning'"),
        ("magnitude_pruning", [0.5, 1.5], {}, InvalidRecipeError, "sparsity=1.5: input should be less than 1"),
        ("magnitude_pruning", [], {}, InvalidRecipeError, "give levels of magnitude_pruning's sparsity"),
        ("magnitude_pruning", [0.5], {"pattern": "nowhere"}, InvalidRecipeError, "The layers are 'stem.0'"),
        ("magnitude_pruning", [0.5], {"pattern": "("}, InvalidRecipeError, "no regular expression"),
        ("magnitude_pruning", [0.5], {"parameter": "bits"}, InvalidRecipeError, "no number 'bits' to vary: sparsity"),
        ("magnitude_pruning", [0.5], {"metric": "acuracy"}, UnknownMetricError, "did you mean 'accuracy'"),
        ("magnitude_pruning", [0.5], {"metric": "size_bytes"}, UnknownMetricError, "accuracy"),
        ("magnitude_pruning", [0.5], {"fixed": {"scoop": "layer"}}, InvalidRecipeError, "did you mean 'scope'"),
        ("magnitude_pruning", [0.5], {"fixed": {"include": ["a"]}}, InvalidRecipeError, "--pattern"),
        ("magnitude_pruning", [0.5], {"fixed": {"sparsity": 0.1}}, InvalidRecipeError, "--levels"),
        ("uniform_quantization", [2.5], {}, InvalidRecipeError, "bits=2.5"),
        ("fine_tune", [1], {}, InvalidRecipeError, "fine_tune works on whole models"),
        ("quantize_weights", [8], {}, InvalidRecipeError, "leave --levels out"),
        ("magnitude_pruning", [0.5], {"split": "train"}, InvalidRecipeError, "evaluation or calibration, not on 'tra"),
        (
            "magnitude_pruning",
            [0.5],
            {"split": "calibration", "metric": "accuracy_drop"},
            UnknownMetricError,
            "accuracy",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused_before_any_work(
    digits_store: Store, operation: str, levels: Sequence[float], options: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        plan_probes(digits_store, BASE, operation, levels, **options)


def test_models_that_do_not_suit_are_refused(digits_store: Store) -> None:
    recipe = validated_recipe(Recipe("resnet", (Step("quantize_weights"),)), TASK.bases)
    quantized = run_step(digits_store, TASK, recipe, 1).model_id

    with pytest.raises(ModelNotFoundError, match="holds no weights of a model 'abcd'"):
        plan_probes(digits_store, "abcd", "magnitude_pruning", [0.5])
    with pytest.raises(InvalidRecipeError, match="works on models whose weights are float or simulated, not quantized"):
        plan_probes(digits_store, quantized, "magnitude_pruning", [0.5])


@pytest.mark.parametrize(
    ("operation", "name"),
    [("magnitude_pruning", "sparsity"), ("uniform_quantization", "bits"), ("channel_pruning", "ratio"),
     ("quantize_weights", None)],
)  # fmt: skip
def test_the_level_is_found_among_the_fields(operation: str, name: str | None) -> None:
    assert level_parameter(operations[operation]) == name


def test_of_several_numbers_one_has_to_be_named() -> None:
    with pytest.raises(InvalidRecipeError, match=r"several numbers \(epochs, learning_rate, batch_size, warm_up\)"):
        level_parameter(operations["fine_tune"])
    assert level_parameter(operations["fine_tune"], "epochs") == "epochs"


def cc_ray(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["cc-ray", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


@pytest.mark.usefixtures("ray_cluster")
def test_the_verb_draws_layers_by_levels_worst_first_and_writes_rows(
    digits_store: Store, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CC_RAY_STORE", str(digits_store.root))
    verb = ("sensitivity", BASE[:8], "--operation", "uniform_quantization", "--levels", "8,2")

    assert cc_ray(monkeypatch, *verb) == 0
    drawn, said = capfd.readouterr()
    assert cc_ray(monkeypatch, *verb, "--format", "json") == 0
    listed = json.loads(capfd.readouterr().out)

    assert "20 measurements" in said
    assert "bits 8" in drawn and "bits 2" in drawn and "points" in drawn
    places = [drawn.index(layer) for layer in dict.fromkeys(row["pattern"] for row in listed)]
    assert len(places) == LAYERS and places == sorted(places)
    worst = [min(row["difference"] for row in listed if row["pattern"] == layer) for layer in (
        dict.fromkeys(row["pattern"] for row in listed))]  # fmt: skip
    assert worst == sorted(worst)
    assert compare.sensitivity(open_views(digits_store.root), "loss", [BASE]).num_rows == 2 * LAYERS


def test_the_verb_says_what_is_wrong_in_one_line(
    digits_store: Store, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CC_RAY_STORE", str(digits_store.root))
    verb = ("sensitivity", BASE[:8], "--operation", "magnitude_pruning", "--levels")

    for wrong, told in (("0.5,high", "'high' is no number"), ("2", "sparsity=2")):
        assert cc_ray(monkeypatch, *verb, wrong) == 2
        error = capfd.readouterr().err
        assert told in error and error.count("\n") == 1


def test_no_layer_to_work_on_is_told(digits_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cc_ray.compress.int8.TorchaoInt8.converts", lambda self, target: False)

    with pytest.raises(NotApplicableError, match="only kind that runs as int8"):
        planned(digits_store, operation="quantize_weights")
