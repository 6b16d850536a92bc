"""Times of layers: measured once, kept in the store, and gone by where a step is to keep to a latency budget."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from cc_ray import cli
from cc_ray.compress import validated_recipe
from cc_ray.errors import InvalidRecipeError
from cc_ray.recipe import Recipe, Step
from cc_ray.search import SearchSpace, branch, choice, recipe, rows_of, step, times_of
from cc_ray.search.agenda import take_stock
from cc_ray.search.layer_times import KIND, TimesSummary, time_layers
from cc_ray.search.sensitivity import measure, plan_probes
from cc_ray.search.space import RecipeSpace, StepSpace
from cc_ray.search.written import read_step, write_step
from cc_ray.store import Store
from cc_ray.tasks.digits import Digits
from cc_ray.trial import run_trial

TASK = Digits()
BASE = Recipe("resnet").model_ids(TASK.task_id)[0]
STAGE = r"stages\.2"


def timed(store: Store, *levels: float, **options: Any) -> TimesSummary:
    return time_layers(plan_probes(store, BASE, "low_rank", levels or (0.3, 0.6), pattern=STAGE, **options), store)


def allocate(**more: Any) -> StepSpace:
    asked = {"applied": "low_rank", "levels": [0.3, 0.6], "include": ["stages.2"], "instances": 32, **more}
    return step("allocate", **{"unit": "latency_ms", "budget": 1000, "times_ms": times_of(), **asked})


def space(*forms: RecipeSpace) -> SearchSpace:
    return SearchSpace("timed", "digits", forms, baselines=False)


def elsewhere(store: Store, device: str, factor: float) -> None:
    """Publish the rows of the store again, as another machine measured them."""
    rows = [row | {"device": device, "time_ms": factor * row["time_ms"]} for row in store.read(KIND).to_pylist()]
    store.publish(KIND, device[-3:], {KIND: rows})


def test_layers_are_timed_once_and_kept(digits_store: Store) -> None:
    first, again = timed(digits_store), timed(digits_store)

    assert (first.timed, first.reused, again.timed, again.reused) == (3, 0, 0, 3)
    assert first.device == "cpu, 1 thread" and again.times_ms == first.times_ms
    rows = digits_store.read(KIND).to_pylist()
    assert {(row["layer"], row["level"]) for row in rows} == {
        (layer, level) for layer in ("stages.2.conv1", "stages.2.conv2", "stages.2.shortcut.0") for level in (0.3, 0.6)
    }
    for row in rows:
        assert (row["operation"], row["parameter"], row["device"]) == ("low_rank", "amount", first.device)
        assert row["time_ms"] == first.times_ms[row["layer"]][(0.3, 0.6).index(row["level"])] > 0
        assert row["model_time_ms"] > 0
    assert first.together_ms(1) == pytest.approx(sum(row["time_ms"] for row in rows if row["level"] == 0.6))
    assert timed(digits_store, 0.3).timed == 3, "other levels are timed in turns of their own"


def test_times_become_part_of_the_step_which_keeps_to_its_budget(digits_store: Store) -> None:
    found = timed(digits_store)
    rows = digits_store.read(KIND).to_pylist()
    own = {row["layer"]: row["model_time_ms"] for row in rows}
    mine = space(recipe("resnet", [allocate(may_stay=True, budget=choice(999, 1000))]))
    assert SearchSpace.from_json(mine.to_json()) == mine

    both = take_stock(mine, digits_store).to_run
    given = both[0].steps[0].parameters["times_ms"]

    assert len(both) == 2 and given.keys() == found.times_ms.keys()
    for layer, times in given.items():
        assert times == pytest.approx([*found.times_ms[layer], own[layer]], rel=1e-3)
    least = sum(min(times) for times in given.values())
    (tight,) = take_stock(space(recipe("resnet", [allocate(may_stay=True, budget=1.01 * least)])), digits_store).to_run
    model_id = run_trial(digits_store, TASK, tight).model_id
    said = {row["check"]: row for row in digits_store.read("findings").to_pylist() if row["model_id"] == model_id}
    assert least <= said["levels_allocated"]["found"] <= 1.01 * least


def test_noise_and_time_are_looked_up_together(digits_store: Store) -> None:
    timed(digits_store)
    plan = plan_probes(digits_store, BASE, "low_rank", (0.3, 0.6), pattern=STAGE, split="calibration")
    assert set(measure((str(digits_store.root), BASE, "calibration"), plan.probes)) == {""}

    (made,) = take_stock(space(recipe("resnet", [allocate(harms=rows_of())])), digits_store).to_run

    found = made.steps[0].parameters
    assert found["harms"].keys() == found["times_ms"].keys() and found["metric"] == "output_noise"


def test_a_device_is_named_where_layers_were_timed_on_several(digits_store: Store) -> None:
    timed(digits_store)
    for device, factor in (("cuda: One", 0.5), ("cuda: Two", 0.25)):
        elsewhere(digits_store, device, factor)

    def given(asked: Any) -> Any:
        (made,) = take_stock(space(recipe("resnet", [allocate(times_ms=asked)])), digits_store).to_run
        return made.steps[0].parameters["times_ms"]["stages.2.conv1"][0]

    assert given(times_of("cuda: Two")) == pytest.approx(given(times_of("cuda: One")) / 2, rel=1e-3)
    assert given(times_of()) > given(times_of("cuda: One"))
    with pytest.raises(InvalidRecipeError, match="layers were timed on 'cuda: One' and 'cuda: Two'; name one"):
        given(times_of("cuda"))


def test_what_is_missing_or_not_to_be_known_is_told(digits_store: Store) -> None:
    timed(digits_store, 0.3)
    for more, said in (
        ({}, rf"times_of\(\.\.\.\): 3 of 6 rows are not .* at 0.6.*`cc-ray layer-times {BASE} --operation low_rank"),
        ({"times_ms": times_of("cuda")}, r"6 of 6 rows .* --levels 0\.3,0\.6 --gpu`"),
        ({"levels": choice([0.3], [0.6])}, r"times_of\(\.\.\.\): which rows are wanted is open \(levels\)"),
        (
            {"times_ms": {}, "harms": times_of()},
            r"allocate was given harms; it is for allocate\(times_ms=\.\.\.\) alone",
        ),
        ({"times_ms": rows_of()}, r"allocate was given times_ms; it is for allocate\(harms=\.\.\.\) alone"),
    ):
        with pytest.raises(InvalidRecipeError, match=said):
            take_stock(space(recipe("resnet", [allocate(**more)])), digits_store)
    with pytest.raises(InvalidRecipeError, match="is 0; allowed: a text"):
        times_of(0)  # type: ignore[arg-type]
    of_base = allocate(levels=[0.3, 0.3], times_ms=times_of(model=BASE))
    assert take_stock(space(branch(BASE, [of_base])), digits_store).to_run


def test_times_are_asked_for_in_typed_steps_too() -> None:
    read = read_step("allocate(applied='low_rank', levels=[0.3, 0.6], times_ms=times_of('cuda', model='abc'))")

    assert read.parameters["times_ms"] == times_of("cuda", model="abc") and read_step(write_step(read)) == read


def cc_ray(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["cc-ray", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


def test_the_verb_says_what_layers_take_together_and_writes_json(
    digits_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CC_RAY_STORE", str(digits_store.root))
    options = ("--operation", "low_rank", "--set", "by=rank", "--levels", "1,2", "--pattern", r"stages\.0")

    assert cc_ray(monkeypatch, "layer-times", BASE[:8], *options, "--output", tmp_path / "times.json") == 0

    said = capfd.readouterr().err
    assert "2 layers timed (cpu, 1 thread). One after the other they take 0.0" in said
    assert "as they are" in said and "at amount 1" in said and "at amount 2" in said
    times_ms = json.loads((tmp_path / "times.json").read_text())
    assert set(times_ms) == {"stages.0.conv1", "stages.0.conv2"}
    assert all(len(times) == 2 and min(times) > 0 for times in times_ms.values())
    given = {"applied": "low_rank", "settings": {"by": "rank"}, "levels": [1, 2], "include": ["stages.0"]}
    budget = {"unit": "latency_ms", "budget": 1000, "times_ms": times_ms}
    validated_recipe(Recipe("resnet", (Step("allocate", {**given, **budget}),)), TASK.bases)
    assert cc_ray(monkeypatch, "layer-times", BASE[:8], *options, "--output", tmp_path / "no" / "file") == 2
    assert "cannot write to" in capfd.readouterr().err
    assert cc_ray(monkeypatch, "layer-times", BASE[:8], *options, "--gpu") == 2
    assert "holds 1 GPU, but torch" in capfd.readouterr().err
