"""Every question of the catalogue, asked with texts as the command line and the web write them."""

import inspect
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest

from cc_ray import compare
from cc_ray.compare.catalogue import QUESTIONS, Question, question
from cc_ray.errors import ModelNotFoundError, NotComparableError, ParameterError
from cc_ray.views import Views, open_views
from tests.benchmarks.make_store import make_store
from tests.compare.small import new_store

NO_QUESTIONS = {
    "comparison": "one row of `comparisons`, found as people name it",
    "matching": "chooses modules by a pattern: a part of other questions",
    "time_left": "tells of a moment: programs have `studies` and `trials`",
    "resolve": "finds a model by what people call it: every door does so with each parameter",
}
OTHER_COLUMNS = {
    "calibration": "a metric is three columns",
    "differences": "a variable is a column",
    "efficiency": "a metric is several columns",
    "models": "a metric is three columns",
    "trials": "a metric is a column",
}


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Views:
    return open_views(make_store(tmp_path_factory.mktemp("asked") / "store", models=8, instances=60).root)


@pytest.fixture(scope="module")
def family(views: Views) -> list[str]:
    """Identities of the models of one base model, that first."""
    found = views.sql("SELECT model_id FROM models WHERE base = 'resnet' ORDER BY step_index")
    return [str(model_id) for model_id in found["model_id"].to_pylist()]


def plausible(views: Views, family: list[str]) -> dict[str, list[str]]:
    """A value of each parameter that a question may need."""
    (path,) = views.sql("SELECT min(layer) AS layer FROM activations WHERE model_id = ?", [family[1]])["layer"]
    return {
        "ids": family[1:3],
        "compressed_ids": family[1:3],
        "base_ids": family[:1],
        "model": family[1:2],
        "other": family[2:3],
        "base": family[:1],
        "objectives": ["accuracy:higher", "size_bytes:lower"],
        "metric": ["accuracy"],
        "at_most": ["size_bytes:1e12"],
        "require": ["accuracy >= 0.5"],
        "study": [compare.studies(views)["study_id"][0].as_py()],
        "path": [path.as_py()],
    }


def given_to(asked: Question, values: Mapping[str, list[str]]) -> dict[str, list[str]]:
    wanted = {p.name for p in asked.parameters if p.required} | {"at_most", "base"}
    return {p.name: values[p.name] for p in asked.parameters if p.name in wanted}


def listed(text: str) -> list[str]:
    """The names after `Columns:` up to the first remark, what stands in brackets left out."""
    found = re.search(r"^Columns: (.*?)(?:\n\n|\Z)", text, re.DOTALL | re.MULTILINE)
    plain = found[1] if found else ""
    while re.search(r"\([^()]*\)", plain):
        plain = re.sub(r"\([^()]*\)", "", plain)
    names = re.split(r",|\band\b", re.split(r"[.;:<`]", plain)[0])
    return [name.strip() for name in names if re.fullmatch(r"[a-z][a-z0-9_]*", name.strip())]


# These models predict classes; test_generation.py and test_tokens.py ask of those that generate text.
OF_TEXT = ("generation", "texts", "token_losses", "hurt_tokens", "perplexity_by_position")
OF_CLASSES = [asked for asked in QUESTIONS if asked.name not in OF_TEXT]


@pytest.mark.parametrize("asked", OF_CLASSES, ids=lambda asked: asked.name)
def test_every_question_answers_with_the_columns_that_it_lists(
    asked: Question, views: Views, family: list[str]
) -> None:
    answer = asked.ask(views, given_to(asked, plausible(views, family)))

    assert all(isinstance(table, pa.Table) for table in answer.tables.values())
    assert answer.tables or answer.facts
    columns = listed(asked.description)
    table = next(iter(answer.tables.values()), None)
    if columns and table is not None:
        assert columns == table.column_names[: len(columns)]
        if asked.name not in OTHER_COLUMNS:
            described = set(re.findall(r"\w+", asked.description))
            assert [name for name in table.column_names if name not in described] == []


def test_every_question_is_in_the_catalogue() -> None:
    functions = {name for name in compare.__all__ if inspect.isfunction(getattr(compare, name))}
    takes_views = {name for name in functions if "views" in inspect.signature(getattr(compare, name)).parameters}

    assert takes_views == {asked.name for asked in QUESTIONS} | NO_QUESTIONS.keys()


@pytest.mark.parametrize("asked", QUESTIONS, ids=lambda asked: asked.name)
def test_every_question_says_what_it_asks_and_what_its_parameters_mean(asked: Question) -> None:
    assert asked.summary.endswith((".", "?"))
    assert [parameter.name for parameter in asked.parameters if not parameter.meaning] == []


@pytest.mark.parametrize("base", ["@parent", "@base"])
def test_each_models_own_parent_and_base_are_bases(views: Views, family: list[str], base: str) -> None:
    found = question("behaviours").ask(views, {"ids": family[1:3], "base": [base]}).tables["table"]

    assert found.num_rows > 0


def test_ranges_name_models_as_people_do(views: Views, family: list[str]) -> None:
    given = {"ids": family[1:2], "base": family[:1]}
    counts = [
        question("instances").ask(views, {**given, "between": [f"{model}:0..1000"]}).facts["count"]
        for model in (family[1], family[1][:8])
    ]

    assert counts[0] == counts[1] > 0
    with pytest.raises(ModelNotFoundError):
        question("instances").ask(views, {**given, "between": ["nothing-like-it:0..1"]})


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("frnt", {}, "did you mean 'front'"),
        ("front", {}, "needs objectives"),
        ("front", {"objectivs": ["accuracy"]}, "no parameter 'objectivs'"),
        ("front", {"objectives": ["accuracy"], "at_most": ["size_bytes"]}, "metric:number"),
        ("front", {"objectives": ["accuracy"], "at_most": ["size_bytes:big"]}, "'big'"),
        ("nearest", {"model": ["a", "b"]}, "one value, 2 were given"),
        ("transition_matrix", {"model": ["@parent"], "base": ["@parent"], "by_label": ["perhaps"]}, "true or false"),
        ("insights", {"limit": ["many"]}, "whole number"),
    ],
)
def test_what_cannot_be_understood_is_refused(views: Views, name: str, given: dict[str, list[str]], said: str) -> None:
    with pytest.raises(ParameterError, match=re.escape(said)):
        question(name).ask(views, given)


def test_a_store_without_models_is_asked_without_harm(tmp_path: Path) -> None:
    empty = open_views(new_store(tmp_path / "store").root)

    for asked in QUESTIONS:
        if not any(parameter.required for parameter in asked.parameters):
            with suppress(NotComparableError):
                asked.ask(empty, {})
