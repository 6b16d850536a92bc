import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_ray import compare
from cc_ray.compare.trade_offs.expressions import DEEPEST, parse
from cc_ray.errors import ModelNotFoundError, NotComparableError, ParameterError
from cc_ray.views import Views, open_views
from tests.compare.small import add_model, new_store


@pytest.fixture
def views(tmp_path: Path) -> Views:
    """Three models; the last one has no size."""
    store = new_store(tmp_path, directions={"accuracy": "higher", "size_bytes": "lower"})
    add_model(store, "good", metrics={"accuracy": 0.98, "size_bytes": 900_000})
    add_model(store, "large", metrics={"accuracy": 0.99, "size_bytes": 2_000_000})
    add_model(store, "unsized", metrics={"accuracy": 0.98})
    return open_views(tmp_path)


def met_by(views: Views, require: str) -> set[str]:
    found = compare.check(views, require).models.to_pylist()
    return {row["model_id"] for row in found if row["meets"]}


def test_each_model_stands_against_each_bound_and_those_that_fail_come_first(views: Views) -> None:
    found = compare.check(views, "accuracy >= 0.97 and size_bytes <= 1e6")

    assert (found.met_by, found.failed_by) == (1, 2)
    assert found.models["model_id"].to_pylist() == ["large", "unsized", "good"]
    assert found.models["lacks"].to_pylist() == [[], ["size_bytes"], []]
    assert [(row["bound"], row["value"], row["met"]) for row in found.bounds.to_pylist()] == [
        ("accuracy >= 0.97", 0.99, True),
        ("size_bytes <= 1000000", 2_000_000, False),
        ("accuracy >= 0.97", 0.98, True),
        ("size_bytes <= 1000000", None, None),
        ("accuracy >= 0.97", 0.98, True),
        ("size_bytes <= 1000000", 900_000, True),
    ]


@pytest.mark.parametrize(
    ("require", "expected"),
    [
        ("accuracy > 0.98", {"large"}),
        ("0.98 < accuracy", {"large"}),
        ("0.975 <= accuracy < 0.985 and size_bytes < 1e6", {"good"}),
        ("accuracy == .98 and size_bytes != 2e6", {"good"}),
        ("accuracy >= 0.985 or size_bytes <= 1e6", {"good", "large"}),
        # `and` binds closer than `or`.
        ("accuracy > 0.5 or accuracy > 0.5 and size_bytes < 0", {"good", "large", "unsized"}),
        ("(accuracy > 0.5 or accuracy > 0.5) and size_bytes < 0", set()),
        ("NOT (size_bytes > 1e6)", {"good"}),
        ("not not accuracy >= -1", {"good", "large", "unsized"}),
    ],
)
def test_bounds_are_joined(views: Views, require: str, expected: set[str]) -> None:
    assert met_by(views, require) == expected


def test_a_metric_that_a_model_lacks_decides_nothing(views: Views) -> None:
    assert "unsized" not in met_by(views, "size_bytes <= 1e6")
    assert "unsized" not in met_by(views, "not size_bytes <= 1e6")
    assert "unsized" in met_by(views, "accuracy > 0.9 or size_bytes <= 1e6")


def test_only_the_models_named_are_checked(views: Views) -> None:
    assert compare.check(views, "size_bytes <= 1e6", ["good"]).failed_by == 0
    with pytest.raises(ModelNotFoundError):
        compare.check(views, "size_bytes <= 1e6", ["nothing"])


def test_an_unknown_metric_names_the_nearest(views: Views) -> None:
    with pytest.raises(NotComparableError, match="did you mean 'accuracy'"):
        compare.check(views, "acuracy > 0.9")


def test_a_store_without_models_meets_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotComparableError, match="no model to check"):
        compare.check(open_views(new_store(tmp_path).root), "accuracy > 0.9")


@pytest.mark.parametrize(
    ("require", "said"),
    [
        ("", "its end where a metric or a number is expected"),
        ("accuracy", "a comparison such as"),
        ("accuracy >= ", "its end where a metric or a number"),
        ("accuracy => 0.9", "'=> 0.9' is not understood"),
        ("accuracy >= 97%", "'%' is not understood"),
        ("accuracy >= 0.9 size_bytes < 3", "'size_bytes' where 'and' or 'or'"),
        ("(accuracy >= 0.9", "where ')' is expected"),
        ("accuracy >= 0.9)", "where 'and' or 'or'"),
        ("accuracy >= loss", "does not compare a metric with a number"),
        ("1 < 2", "does not compare a metric with a number"),
        ("accuracy >= 0.9 and", "its end where"),
        ("__import__(os) > 1", "'(' where a comparison"),
        ("__import__('os').system('true') > 1", "is not understood"),
        ("accuracy.__class__ > 1", "'.__class__ > 1' is not understood"),
        ("accuracy > 0x10", "is not understood"),
        ("accuracy > 1 " + "and accuracy > 1 " * 200, "characters"),
        ("(" * (DEEPEST + 2) + "accuracy > 1" + ")" * (DEEPEST + 2), "brackets deep"),
        ("not " * (DEEPEST + 2) + "accuracy > 1", "brackets deep"),
    ],
)
def test_what_is_no_requirement_is_refused_with_the_place(require: str, said: str) -> None:
    with pytest.raises(ParameterError, match=re.escape(said)):
        parse(require)


@given(st.text(alphabet="accuracy<>=!()andornot 0123456789.e-+_'\"[]{}\n\x00é", max_size=200))
def test_any_text_is_understood_or_refused(text: str) -> None:
    try:
        requirement = parse(text)
    except ParameterError:
        return
    assert requirement.expression.met({}) is None
