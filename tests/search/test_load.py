from pathlib import Path

import pytest

from cc_ray.errors import InvalidRecipeError, UnknownSearchSpaceError
from cc_ray.search.load import load_space, space_names

GOOD = """
from cc_ray.search import SearchSpace, recipe

def search_space():
    return SearchSpace("mine", "digits", [recipe("resnet")])
"""


def written(folder: Path, text: str) -> str:
    file = folder / "mine.py"
    file.write_text(text)
    return str(file)


def test_a_space_is_found_by_name_and_by_path(tmp_path: Path) -> None:
    assert load_space("digits").name == "digits"
    assert load_space(written(tmp_path, GOOD)).name == "mine"


def test_an_unknown_name_tells_those_that_exist() -> None:
    assert "digits" in space_names()
    with pytest.raises(UnknownSearchSpaceError, match="unknown search space 'digit': did you mean 'digits'"):
        load_space("digit")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1", r"mine.py has no function search_space\(\)"),
        ("def search_space(): return 3", r"search_space\(\) returned int, not a SearchSpace"),
        ("import no_such_library", "raised ModuleNotFoundError: No module named 'no_such_library' .*line 1"),
        ("def search_space():\n    return 1 / 0", r"raised ZeroDivisionError: division by zero \(mine.py, line 2\)"),
        ("def search_space(:", r"raised SyntaxError: invalid syntax \(mine.py, line 1\)"),
        ("raise ValueError('a\\n b')", r"raised ValueError: a b \(mine.py, line 1\)"),
        (GOOD.replace('"mine"', '"my space"'), "mine.py: search space: 'name' is 'my space'"),
    ],
)
def test_a_file_that_gives_no_space_says_why(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InvalidRecipeError, match=says):
        load_space(written(tmp_path, text))


def test_a_path_that_does_not_exist_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidRecipeError, match="there is no search-space file"):
        load_space(str(tmp_path / "none.py"))
