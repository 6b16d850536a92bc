"""The form in which models are compressed further, without a browser."""

import html
import re
from typing import Any

import pytest

from dashboards.branching.draft import Draft, DraftStep, read, turned
from dashboards.branching.form import form
from dashboards.branching.plan import plan
from dashboards.operating import WHOLE, Cost, Operation, Parameter, Planned, Step, Stored

SPARSITY = Parameter("sparsity", "number", "Share <b>of</b> weights.", True, None, "at least 0, below 1")
INCLUDE = Parameter("include", "array", "Only these.", False, [], "")
SCOPE = Parameter("scope", "string", "Which compete.", False, "global", "", ("global", "layer"))
EVEN = Parameter("even", "boolean", "Whether.", False, True, "")
EPOCHS = Parameter("epochs", "integer", "Passes.", False, 2, "at least 1")
LEVELS = Parameter("levels", "object", "Others.", False, {}, "")
STEPS = Parameter("steps", "array", "Several.", False, None, "", items="number")
PRUNE = Operation("prune", "Prunes.", (SPARSITY, INCLUDE, SCOPE, EVEN, EPOCHS, LEVELS, STEPS))
OPERATIONS = {"prune": PRUNE}


def drafted(**texts: str) -> Draft:
    return Draft([DraftStep("prune", {"sparsity": "0.5", **texts})])


def values(**texts: str) -> Any:
    branch, problems = read(drafted(**texts), OPERATIONS, ["m"])
    assert not problems
    return branch.steps[0].values


def test_texts_are_values_of_each_type_and_what_is_empty_keeps_its_default() -> None:
    assert values() == {"sparsity": (0.5,)}
    assert values(sparsity="0.3, .5,0.3") == {"sparsity": (0.3, 0.5)}
    assert values(include="a.b, c")["include"] == (["a.b", "c"],)
    assert values(scope="global,layer")["scope"] == ("global", "layer")
    assert values(even="no")["even"] == (False,)
    assert values(epochs="1, 2")["epochs"] == (1, 2)
    assert values(steps="4, 0.5")["steps"] == ([4.0, 0.5],)
    assert "levels" not in values(levels=" \n ")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("encoder.*: 0.5\n\n head.weight :.25", {"encoder.*": 0.5, "head.weight": 0.25}),
        ("granularity: group\nbits: 4\neven: no", {"granularity": "group", "bits": 4, "even": False}),
        ("stem: 0.1, 0.2, 3e-1\na:b: 1", {"stem": [0.1, 0.2, 0.3], "a:b": 1}),
        ('{"stem": [1, 2.5],\n "head": true}', {"stem": [1, 2.5], "head": True}),
        ("a: null\nb: [1]", {"a": "null", "b": "[1]"}),
        ("{}", {}),
    ],
)
def test_a_mapping_is_typed_line_by_line_or_as_json(text: str, meant: dict[str, Any]) -> None:
    assert values(levels=text)["levels"] == (meant,)


def test_a_value_that_the_store_has_is_asked_for_by_name() -> None:
    harms = Parameter("harms", "object", "By layer.", False, {}, "", stored="rows_of")

    def given(text: str, parameter: Parameter) -> Any:
        draft = Draft([DraftStep("allocate", {parameter.name: text})])
        branch, problems = read(draft, {"allocate": Operation("allocate", "", (parameter,))}, ["m"])
        return problems.get((0, parameter.name)) or branch.steps[0].values[parameter.name]

    assert given(" rows_of('loss', model='abc')\n", harms) == (Stored("rows_of('loss', model='abc')"),)
    assert given("stem: 1, 2", harms) == ({"stem": [1, 2]},)
    for text, parameter in (("times_of()", harms), ("rows_of", harms), ("rows_of()", LEVELS)):
        assert given(text, parameter) == f"'{text}' is no name: value"
    drawn = form(Draft([DraftStep("allocate")]), {"allocate": Operation("allocate", "", (harms,))}, {})
    assert "<small>one name: value a line, or JSON, or rows_of()</small>" in drawn


def test_a_mapping_has_a_field_of_several_lines() -> None:
    drawn = form(drafted(levels="</textarea>\nb: 1"), OPERATIONS, {})

    assert drawn.count("<textarea") == 1 == drawn.count("</textarea>")
    assert "\n&lt;/textarea&gt;\nb: 1</textarea><small>one name: value a line, or JSON</small>" in drawn


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("sparsity", "", "is needed"),
        ("sparsity", "half", "'half' is no number"),
        ("sparsity", "nan", "'nan' is no number"),
        ("epochs", "1.5", "'1.5' is no whole number"),
        ("epochs", "9" * 30, "is no whole number"),
        ("even", "perhaps", "neither yes nor no"),
        ("sparsity", ",".join("0.1" for _ in range(99)), "99 values; at most 50"),
        ("levels", "0.5", "'0.5' is no name: value"),
        ("levels", "stem:", "'stem:' is no name: value"),
        ("levels", "stem: 1, ,", "'stem: 1, ,' is no name: value"),
        ("levels", "stem: 1\nstem: 2", "'stem' is named twice"),
        ("levels", '{"stem": 1, "stem": 2}', "'stem' is named twice"),
        ("levels", '{"stem": 1', "no JSON: expecting ',' delimiter in line 1, column 11"),
        ("levels", '{"stem": NaN}', "NaN is no number"),
        ("levels", '{"stem": 1e999}', "1e999 is no number"),
        ("steps", "0.5, half", "'half' is no number"),
        ("levels", '{"a":' * 799, "no mapping is as deep|expecting"),
        ("levels", "a: 1\n" * 999, "4,995 characters; at most 4,000"),
    ],
)
def test_what_cannot_be_understood_is_told_where_it_stands(name: str, text: str, said: str) -> None:
    draft = drafted(**{name: text})

    _, problems = read(draft, OPERATIONS, ["m"])
    drawn = form(draft, OPERATIONS, problems)

    assert list(problems) == [(0, name)] and re.search(said, problems[0, name])
    assert f'id="wrong-0-{name}">{html.escape(problems[0, name])}<' in drawn


def test_models_steps_and_seeds_are_asked_for() -> None:
    assert "Select the models" in read(Draft(), OPERATIONS, [])[1][WHOLE, ""]
    assert "Add a step" in read(Draft(), OPERATIONS, ["m"])[1][WHOLE, ""]
    draft = drafted()
    draft.seeds, draft.name = "0, 7", " mine "
    branch, problems = read(draft, OPERATIONS, ["m", "n"])
    assert (branch.models, branch.seeds, branch.name, problems) == (("m", "n"), (0, 7), "mine", {})
    draft.seeds = "-1"
    assert "from 0 on" in read(draft, OPERATIONS, ["m"])[1][WHOLE, "seeds"]


def test_options_are_turned_on_and_off_and_none_is_the_default() -> None:
    both = turned(SCOPE, "", "layer")
    assert both == "global,layer"
    assert turned(SCOPE, both, "global") == "layer"
    assert turned(SCOPE, "layer", "layer") == ""


def test_whole_numbers_may_be_options() -> None:
    size = Parameter("size", "integer", "Of a group.", False, 32, "", ("32", "64"))
    draft = Draft([DraftStep("group", {"size": turned(size, "", "64")})])

    branch, problems = read(draft, {"group": Operation("group", "Groups.", (size,))}, ["m"])

    assert not problems and branch.steps[0].values == {"size": (32, 64)}


def test_steps_change_places_and_the_form_escapes() -> None:
    draft = Draft([DraftStep("prune", {"sparsity": '"><img>'}), DraftStep("prune", {"sparsity": "2"})])
    assert "<img" not in form(draft, OPERATIONS, {(0, "sparsity"): "<i>"})
    assert "<b>of</b>" not in form(draft, OPERATIONS, {})

    draft.move(1)
    draft.move(0)

    assert [step.texts["sparsity"] for step in draft.steps] == ["2", '"><img>']


def test_a_plan_says_what_it_takes_and_starts_only_where_something_is_left() -> None:
    planned = Planned(
        study="s", trials=2, models=5, known=2, to_make=3, estimated_s=75, estimated_bytes=2_000_000, gpu_hours=0.5,
        costs=(Cost("prune", 4, 3, 2.0, False), Cost("base", 1, 0, 2.0, True)), command="cc-ray branch m",
    )  # fmt: skip

    said = plan(planned, starting=False)

    for text in ("3</b> models", "Known already</dt><dd>2", "1 min 15 s", "2.00 MB", "0.5", "cc-ray branch m"):
        assert text in said
    assert 'data-do="branch-start"' in said and "base" not in said
    assert "branch-start" not in plan(planned, starting=True)
    assert "nothing is left to run" in plan(Planned(study="s"), starting=False)
    assert "&lt;b&gt;" in plan(Planned({(WHOLE, ""): "<b>"}), starting=False)
    assert "Planning" in plan(None, starting=False)


def test_a_step_may_be_asked_for_without_values() -> None:
    branch, _ = read(Draft([DraftStep("prune")]), {"prune": Operation("prune", "", (SCOPE,))}, ["m"])

    assert branch.steps == (Step("prune", {}),)
