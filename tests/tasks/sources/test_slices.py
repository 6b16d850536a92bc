import pyarrow as pa
import pytest
from pydantic import BaseModel, ValidationError

from cc_ray.errors import InvalidRecipeError
from cc_ray.tasks.sources import Slice, members

COLUMNS = pa.table({"age": [20, 40, None], "sex": ["f", "m", None], "id": [1, 2, 3]})


class Asked(BaseModel):
    slices: tuple[Slice, ...]


def test_slices_are_values_ranges_and_conditions() -> None:
    asked = Asked.model_validate(
        {
            "slices": [
                "sex",
                {"column": "age", "edges": [20, 30.5]},
                {"name": "young men", "where": "age < 50 and sex == 'm'"},
            ]
        }
    )

    assert members(asked.slices, COLUMNS, ["a", "b", "a"]) == [
        ["class:a", "sex:f", "age:20..30.5"],
        ["class:b", "sex:m", "age:>=30.5", "young men"],
        ["class:a"],
    ]


@pytest.mark.parametrize(
    ("item", "says"),
    [
        ("race", "no column 'race'; there are: age, sex, id"),
        ({"column": "sex", "edges": [1]}, "column 'sex' is string: only numbers have ranges"),
        ({"name": "none", "where": "age > 100"}, "slice 'none': no evaluation instance meets"),
    ],
)
def test_a_slice_that_does_not_suit_the_data_says_so(item: object, says: str) -> None:
    asked = Asked.model_validate({"slices": [item]})

    with pytest.raises(InvalidRecipeError, match=says):
        members(asked.slices, COLUMNS)


def test_too_many_values_ask_for_ranges() -> None:
    with pytest.raises(InvalidRecipeError, match=r"has 201 different values.*cut it into ranges"):
        members(["id"], pa.table({"id": range(201)}))


@pytest.mark.parametrize("item", [{"column": "age", "edges": [2, 1]}, {"name": "a", "where": "import os"}, {"x": 1}])
def test_what_is_no_slice_is_refused_before_data_are_read(item: object) -> None:
    with pytest.raises(ValidationError):
        Asked.model_validate({"slices": [item]})
