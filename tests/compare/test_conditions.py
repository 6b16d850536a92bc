from pathlib import Path

import numpy as np
import pytest

from cc_ray.compare.behaviour.conditions import LONGEST, fulfilling, plain
from cc_ray.errors import QueryError
from cc_ray.views import Views, open_views
from tests.compare.drawn import add_answers, add_instances
from tests.compare.small import answers, new_store

LABELS = [0, 0, 1, 2]
SLICES = [["dark"], ["dark", "left"], [], ["left"]]
SHOWN = [b"why is it so", b"How?", b"why", b"100 % sure"]


@pytest.fixture
def views(tmp_path: Path) -> Views:
    store = new_store(tmp_path)
    add_instances(store, LABELS, SLICES, SHOWN)
    add_answers(store, "base", np.array(LABELS, np.int32), np.array(answers([0, 1, 1, 2], confidence=0.8)))
    return open_views(tmp_path)


@pytest.mark.parametrize(
    ("condition", "instances"),
    [
        ("label = 0", [0, 1]),
        ("NOT correct", [1]),
        ("'left' IN slices AND label IN (1, 2)", [3]),
        ("list_contains(slices, 'dark') OR true_probability BETWEEN 0.7 AND 0.9", [0, 1, 2, 3]),
        ("input LIKE '%why%' AND length(input) > 5", [0]),
        ("lower(input) = 'how?'", [1]),
        ("abs(margin) > 0.1 AND -margin > 0", [1]),
        ("prediction <> label AND entropy IS NOT NULL", [1]),
        ("instance % 2 = 1 -- every other", [1, 3]),
        ("label_name = '2'", [3]),
    ],
)
def test_a_plain_condition_chooses_instances(views: Views, condition: str, instances: list[int]) -> None:
    assert fulfilling(views, "base", plain(condition)).tolist() == instances


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("", "not one SQL expression"),
        ("label = 1; DROP TABLE models", "not one SQL expression"),
        ("label = 1 FROM models", "not one SQL expression"),
        ("instance IN (SELECT instance FROM predictions)", "has a subquery in it"),
        ("EXISTS (SELECT 1)", "has a subquery in it"),
        ("length(range(10000000000)) > 1", "'range' is not allowed"),
        ("read_text('/etc/passwd') = ''", "'read_text' is not allowed"),
        ("repeat('x', 1000000000) = input", "'repeat' is not allowed"),
        ("getenv('HOME') = ''", "'getenv' is not allowed"),
        ("count(*) > 1", "is not allowed"),
        ("brightness > 3", "no column 'brightness'"),
        ("predictions.label = 3", "no column 'predictions.label'"),
        ("label = ?", "has a parameter in it"),
        ("list_contains([x + 1 FOR x IN slices], 'a')", "'list_apply' is not allowed"),
        ("x" * (LONGEST + 1), "characters. Allowed"),
    ],
)
def test_whatever_does_more_than_compare_columns_is_refused(condition: str, said: str) -> None:
    with pytest.raises(QueryError, match=said.replace("(", r"\(").replace(")", r"\)")):
        plain(condition)


def test_a_condition_that_is_neither_true_nor_false_is_refused(views: Views) -> None:
    with pytest.raises(QueryError, match="a condition that is int32, not true or false"):
        fulfilling(views, "base", plain("label"))
