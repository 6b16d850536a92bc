"""Saved comparisons: what is kept, what is refused, and what the command line says of them."""

from pathlib import Path
from typing import Any, Final

import pytest
from typer.testing import CliRunner

from cc_ray import cli, compare
from cc_ray.comparisons import LONGEST_NAME, LONGEST_NOTE, LONGEST_QUERY, StoredComparisons
from cc_ray.errors import ParameterError
from cc_ray.store import Store
from cc_ray.views import open_views
from tests.compare.small import add_model, new_store

SHOWN: Final[dict[str, Any]] = {
    "page": "overview",
    "query": "?selection=aaa,gone",
    "models": ["aaa", "gone"],
    "base": None,
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = new_store(tmp_path)
    add_model(store, "aaa")
    return store


def listed(store: Store) -> list[dict[str, object]]:
    found: list[dict[str, object]] = compare.comparisons(open_views(store.root)).to_pylist()
    return found


def test_the_last_change_counts_and_the_rows_keep_the_others(store: Store) -> None:
    kept = StoredComparisons(store.root)
    first = kept.save(" Small \t enough\n", "Two\r\nlines\0", **SHOWN, user="ada")
    second = kept.save("Other", "", **SHOWN, user="")

    # Two people had it open at once.
    StoredComparisons(store.root).edit(first, "Small", "Ada's note", user="ada")
    kept.edit(first, "Tiny", "Bob's note", user="bob")

    rows = listed(store)
    assert [row["name"] for row in rows] == ["Tiny", "Other"]
    assert rows[0] | {"note": "Bob's note", "user": "bob", "gone": ["gone"]} == rows[0]
    notes = [row["note"] for row in store.read("comparisons").to_pylist() if row["comparison_id"] == first]
    assert sorted(notes) == ["Ada's note", "Bob's note", "Two\nlines"]

    kept.delete(first, user="ada")
    assert [row["comparison_id"] for row in listed(store)] == [second]
    with pytest.raises(ParameterError, match="deleted meanwhile"):
        kept.edit(first, "Again", "", user="bob")


@pytest.mark.parametrize(
    ("name", "note", "query", "told"),
    [
        (" \n ", "", "", "1 to 120"),
        ("n" * (LONGEST_NAME + 1), "", "", "121 characters"),
        ("name", "n" * (LONGEST_NOTE + 1), "", "4,001 characters"),
        ("name", "", "?" * (LONGEST_QUERY + 1), "select fewer"),
    ],
)
def test_what_does_not_fit_is_refused(store: Store, name: str, note: str, query: str, told: str) -> None:
    with pytest.raises(ParameterError, match=told):
        StoredComparisons(store.root).save(name, note, page="sql", query=query, models=[], base=None, user="")

    assert not listed(store)


def test_the_command_line_lists_them_and_shows_one(store: Store) -> None:
    def said(*words: str) -> str:
        ran = CliRunner().invoke(cli.app, ["comparisons", *words, "--store", str(store.root)])
        return ran.output if ran.exit_code == 0 else str(ran.exception)

    assert "No comparison is saved yet" in said()
    StoredComparisons(store.root).save("Small [b]", "First\nsecond", **SHOWN, user="ada")

    assert "Small [b]" in said() and "second" not in said()
    shown = said("small [B]")
    assert all(part in shown for part in ("by ada", "second", "not in the store any more", "?selection=aaa,gone"))
    assert "did you mean 'Small [b]'" in said("smal")
