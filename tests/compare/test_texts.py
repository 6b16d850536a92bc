from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_ray.compare import behaviours, generates, texts, word_changes
from cc_ray.errors import NotComparableError
from cc_ray.evaluate.answers.numbers import Numbers
from cc_ray.recipe import Recipe
from cc_ray.store import Store
from cc_ray.views import Views, open_views
from tests.compare.small import add_model, answers, model_row, new_store
from tests.compare.test_generation import TEXTS, logged


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", create=True)


@pytest.fixture
def ids(store: Store) -> list[str]:
    return [
        logged(store, "net", TEXTS),
        logged(store, "pruned", ["dog!", "1999", "A dog barked", "blue"], parent="net", operation="pruning"),
    ]


def shown(store: Store, ids: list[str], **choices: str) -> list[int]:
    found = texts(open_views(store.root), ids[1:], ids[0], **choices)  # type: ignore[arg-type]
    assert found.count == len(found.table)
    instances: list[int] = found.table["instance"].to_pylist()
    return instances


def test_a_row_has_every_models_text_and_how_it_follows_from_the_bases(store: Store, ids: list[str]) -> None:
    row = texts(open_views(store.root), ids, ids[0]).table.to_pylist()[0]

    base, pruned = row["answers"]
    assert (row["payload"], row["references"]) == (b"Who?", ["The cat"])
    assert (base["model_id"], base["text"], base["correct"]) == (ids[0], "cat!", True)
    assert base["changes"] == [{"kind": "same", "words": "cat!"}]
    assert pruned["changes"] == [{"kind": "removed", "words": "cat!"}, {"kind": "added", "words": "dog!"}]


@pytest.mark.parametrize(
    ("only", "instances"),
    [
        ("all", [0, 1, 2, 3]),
        ("changed", [0, 3]),
        ("flipped", [0, 3]),
        ("lost", [0]),
        ("gained", [3]),
        ("wrong", [0, 2]),
    ],
)
def test_instances_are_chosen_by_what_happened(store: Store, ids: list[str], only: str, instances: list[int]) -> None:
    assert shown(store, ids, only=only) == instances


def test_the_largest_change_of_f1_comes_first(store: Store, ids: list[str]) -> None:
    assert shown(store, ids, sort="change")[:2] == [0, 3]


def test_pages_tell_how_many_there_are(store: Store, ids: list[str]) -> None:
    views = open_views(store.root)

    page, beyond = (texts(views, ids, ids[0], limit=3, offset=offset) for offset in (3, 6))

    assert (page.table["instance"].to_pylist(), page.count) == ([3], 4)
    assert (len(beyond.table), beyond.count) == (0, 4)


def test_models_of_classes_are_told_from_those_of_text(tmp_path: Path, store: Store, ids: list[str]) -> None:
    classes = new_store(tmp_path / "classes")
    model = add_model(classes, "net", labels=[0, 1], probabilities=answers([0, 1]))
    views: Views = open_views(classes.root)

    assert generates(open_views(store.root), ids[0])
    assert not generates(views, model)
    with pytest.raises(NotComparableError, match="no generated text of net"):
        texts(views, [model], model)


def test_an_unknown_order_is_refused(store: Store, ids: list[str]) -> None:
    with pytest.raises(NotComparableError, match="sort='size' is not known"):
        shown(store, ids, sort="size")


@given(st.text(" ab\n", max_size=40), st.text(" ab\n", max_size=40))
def test_pieces_put_together_give_both_texts(before: str, after: str) -> None:
    found = word_changes(before, after)

    assert "".join(piece["words"] for piece in found if piece["kind"] != "added") == before
    assert "".join(piece["words"] for piece in found if piece["kind"] != "removed") == after


def test_a_word_alone_is_marked() -> None:
    found = word_changes("the cat sat down", "the dog sat down")

    assert [piece["kind"] for piece in found] == ["same", "removed", "added", "same"]
    assert [piece["words"].strip() for piece in found] == ["the", "cat", "dog", "sat down"]


def test_a_model_that_predicts_numbers_neither_generates_nor_names_classes(tmp_path: Path) -> None:
    numbers = new_store(tmp_path / "numbers")
    answered = Numbers(np.arange(2), np.array([1.0, 2.0]), np.array([1.5, 2.0]))
    rows = {"models": [model_row("net", Recipe("net", ()))], "predictions": answered.table("net")}
    numbers.publish("step", "net", rows)
    views: Views = open_views(numbers.root)

    assert not generates(views, "net")
    with pytest.raises(NotComparableError, match="net predicts numbers, not classes"):
        behaviours(views, ["net"], "net")
