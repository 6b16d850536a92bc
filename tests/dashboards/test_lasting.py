"""Files that browsers keep."""

from dashboards.components import Html
from dashboards.lasting import files, lasting


def test_another_text_has_another_address() -> None:
    first, same, other = lasting("a", "js"), lasting("a", "js"), lasting("b", "js")

    assert first == same != other
    assert files[first.rpartition("/")[2]] == "a"


def test_a_component_that_nobody_serves_holds_its_code() -> None:
    assert Html("text").get_root().esm == files[Html.address.rpartition("/")[2]]
