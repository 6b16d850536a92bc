from dataclasses import replace
from typing import Any

import pytest

from cc_ray import compare
from cc_ray.errors import InvalidRecipeError
from cc_ray.recipe import Recipe, Step
from cc_ray.search import SearchSpace, branch, choice, either, in_any_order, optional, recipe, rows_of, step
from cc_ray.search.agenda import take_stock
from cc_ray.search.matching import answers_for
from cc_ray.search.sampling import canonical
from cc_ray.search.sensitivity import measure, plan_probes
from cc_ray.search.space import RecipeSpace, StepSpace
from cc_ray.search.written import read_step, write_step
from cc_ray.store import Store
from cc_ray.tasks.digits import Digits
from cc_ray.trial import run_trial
from cc_ray.views import open_views

TASK = Digits()
BASE = Recipe("resnet").model_ids(TASK.task_id)[0]


def allocate(**more: Any) -> StepSpace:
    asked = {"applied": "uniform_quantization", "levels": [2, 4], "budget": 3, "harms": rows_of("loss")}
    return step("allocate", **{**asked, **more})


def space(*forms: RecipeSpace, **fields: Any) -> SearchSpace:
    return SearchSpace("measured", "digits", forms, **{"baselines": False, **fields})


def probe(store: Store, *levels: float, **options: Any) -> None:
    plan = plan_probes(store, BASE, "uniform_quantization", levels, **{"split": "calibration", **options})
    assert set(measure((str(store.root), BASE, plan.split), plan.probes)) == {""}


def test_rows_become_part_of_the_step_and_of_its_identity(digits_store: Store) -> None:
    probe(digits_store, 2, 4)
    mine = space(recipe("resnet", [allocate(budget=choice(3, 3.5))]))
    assert SearchSpace.from_json(mine.to_json()) == mine

    agenda = take_stock(mine, digits_store)

    found = agenda.to_run[0].steps[0].parameters
    rows = compare.sensitivity(open_views(digits_store.root), "loss", [BASE], split="calibration").to_pylist()
    by_place = {(row["pattern"], row["level"]): row["difference"] for row in rows}
    assert (found["metric"], found["measured_on"]) == ("loss", "calibration")
    assert len(found["harms"]) == 10
    for layer, harms in found["harms"].items():
        assert harms == pytest.approx([by_place[layer, 2], by_place[layer, 4]])
    assert "harms=10 rows " in str(agenda.to_run[0])
    # Rows of other levels change nothing; others of these would be another step.
    probe(digits_store, 8)
    assert take_stock(mine, digits_store).to_run == agenda.to_run
    doubled = {layer: [2 * harm for harm in harms] for layer, harms in found["harms"].items()}
    other = Recipe("resnet", (Step("allocate", {**found, "harms": doubled}),))
    assert other.model_ids(TASK.task_id)[1] != agenda.to_run[0].model_ids(TASK.task_id)[1]
    guided = take_stock(replace(mine, method="tpe", samples=2), digits_store).space
    assert all(answers_for(guided, one) is not None for one in agenda.to_run)


def test_the_step_goes_by_the_rows_and_its_model_says_so(digits_store: Store) -> None:
    probe(digits_store, 2, 4)
    (made,) = take_stock(space(recipe("resnet", [allocate(include=["stages", "classifier"])])), digits_store).to_run

    model_id = run_trial(digits_store, TASK, made).model_id

    harms = made.steps[0].parameters["harms"]
    assert harms and not any(layer.startswith("stem") for layer in harms)
    (row,) = (each for each in digits_store.read("models").to_pylist() if each["model_id"] == model_id)
    assert row["data_used"] == ["calibration"]
    lint = compare.lint(open_views(digits_store.root)).to_pylist()
    assert not [each for each in lint if each["check"] == "evaluation_data_used"]
    messages = [each["message"] for each in digits_store.read("findings").to_pylist() if each["model_id"] == model_id]
    assert any("of loss, by rows of `cc-ray sensitivity` on the calibration split" in said for said in messages)


def test_noise_in_the_scores_counts_where_no_metric_is_named(digits_store: Store) -> None:
    probe(digits_store, 2, 4)
    (by_noise,) = take_stock(space(recipe("resnet", [allocate(harms=rows_of())])), digits_store).to_run
    (by_accuracy,) = take_stock(space(recipe("resnet", [allocate(harms=rows_of("accuracy"))])), digits_store).to_run

    assert by_noise.steps[0].parameters["metric"] == "output_noise"
    # Fewer bits are more noise, in every layer; a metric that is better when higher harms by falling.
    assert all(two > four > 0 for two, four in by_noise.steps[0].parameters["harms"].values())
    rows = compare.sensitivity(open_views(digits_store.root), "accuracy", [BASE], split="calibration").to_pylist()
    harms = by_accuracy.steps[0].parameters["harms"]
    for row in rows:
        place = int(row["level"] == 4)
        assert harms[row["pattern"]][place] == pytest.approx(-row["difference"])
        noise = by_noise.steps[0].parameters["harms"][row["pattern"]][place]
        assert noise == pytest.approx(10 ** (-row["output_sqnr_db"] / 10))


def test_rows_of_the_evaluation_split_count_as_a_use_of_it(digits_store: Store) -> None:
    probe(digits_store, 2, 4, split="evaluation")
    asked = allocate(harms=rows_of("accuracy", split="evaluation"))
    (made,) = take_stock(space(recipe("resnet", [asked])), digits_store).to_run

    model_id = run_trial(digits_store, TASK, made).model_id

    lint = compare.lint(open_views(digits_store.root)).to_pylist()
    assert [each["model_id"] for each in lint if each["check"] == "evaluation_data_used"] == [model_id]


def test_rows_are_of_the_model_that_the_step_is_given(digits_store: Store) -> None:
    probe(digits_store, 2, 4)
    first = step("magnitude_pruning", sparsity=0.5)
    after = canonical(Recipe("resnet", (Step("magnitude_pruning", {"sparsity": 0.5}),)))
    pruned = run_trial(digits_store, TASK, after).model_id

    for form in (recipe("resnet", [first, allocate()]), branch(pruned, [allocate()])):
        with pytest.raises(InvalidRecipeError, match=f"20 of 20 rows are not in .*sensitivity {pruned} --operation"):
            take_stock(space(form), digits_store)
    of_base = allocate(harms=rows_of("loss", model=BASE))
    for form in (branch(pruned, [of_base]), recipe("resnet", [optional(first), of_base])):
        assert all(len(one.steps[-1].parameters["harms"]) == 10 for one in take_stock(space(form), digits_store).to_run)


def test_what_is_missing_is_told_with_the_command_that_measures_it(digits_store: Store) -> None:
    probe(digits_store, 2)
    said = (
        r"10 of 20 rows are not in .* \('stem.0' at 4, .*, \.\.\.\); measure them first: `cc-ray sensitivity "
        rf"{BASE} --operation uniform_quantization --levels 2,4 --set=symmetric=false --metric loss --split calib"
    )
    probe(digits_store, 2, fixed={"symmetric": False})
    with pytest.raises(InvalidRecipeError, match=said):
        take_stock(space(recipe("resnet", [allocate(settings={"symmetric": False})])), digits_store)
    with pytest.raises(InvalidRecipeError, match=r"does not hold the model .* yet; make it by running recipes"):
        take_stock(space(recipe("vit", [allocate()])), digits_store)
    with pytest.raises(InvalidRecipeError, match="there is no store yet"):
        take_stock(space(recipe("resnet", [allocate()])), None)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (
            [allocate(applied=choice("uniform_quantization", "gptq_quantization"))],
            r"is open \(applied\); give one value",
        ),
        ([step("allocate", harms=rows_of("loss"))], "no applied, no levels"),
        ([allocate(levels=4)], "levels=4: input should be a valid array"),
        ([allocate(applied="fine_tune")], "applied='fine_tune' has no level"),
        ([step("uniform_quantization", bits=rows_of("loss"))], "was given bits; it is for allocate"),
        ([optional(step("calibrate")), allocate()], "the steps before are open, and so is the model; name one"),
        ([either(step("calibrate"), step("fine_tune", epochs=1)), allocate()], "name one"),
        ([in_any_order(step("calibrate"), allocate())], "name one"),
    ],
)
def test_rows_that_nobody_can_name_are_refused(digits_store: Store, steps: Any, said: str) -> None:
    with pytest.raises(InvalidRecipeError, match=said):
        take_stock(space(recipe("resnet", steps)), digits_store)


def test_rows_are_asked_for_in_typed_steps_too() -> None:
    typed = "allocate(applied='uniform_quantization', levels=[2, 4], budget=[3, 3.5], harms=rows_of('loss'))"

    read = read_step(typed)

    assert read.parameters["harms"] == rows_of("loss") and read_step(write_step(read)) == read
    for wrong in ("rows_of('')", "rows_of('loss', of=1)", "rows_of(3)", "rows_of('loss', split='train')", "open('x')"):
        with pytest.raises(InvalidRecipeError):
            read_step(f"allocate(harms={wrong})")
