"""Several stores, of which each tab shows one."""

import gc
from pathlib import Path

import pytest

from cc_ray.store import Store
from dashboards.sharing.store_list import said
from dashboards.state import State
from dashboards.stores import KEPT, Served, Stores, UnknownStoreError


@pytest.fixture
def stores(store: Store, tmp_path: Path) -> Stores:
    """The store of all tests, and more empty ones than stay open."""
    empty = {f"empty-{place}": Store(tmp_path / str(place), create=True) for place in range(KEPT + 2)}
    roots = {"full": store, **empty}
    return Stores({name: Served(str(each.root)) for name, each in roots.items()})


def test_only_named_stores_are_opened(stores: Stores) -> None:
    assert stores.open("full").snapshot.models
    assert not stores.open("empty-0").snapshot.models
    for name in ("", "/", "../full", str(stores.allowed["full"].root), "empty-9"):
        with pytest.raises(UnknownStoreError, match="store"):
            stores.open(name)


def test_tabs_share_a_store_and_those_that_nobody_looks_at_are_let_go(stores: Stores) -> None:
    shown = stores.open("empty-0")
    for place in range(KEPT + 2):
        stores.open(f"empty-{place}")
    gc.collect()

    assert [name for name in stores.names if stores.is_open(name)] == ["full", "empty-0", "empty-2", "empty-3"]
    assert stores.open("empty-0") is shown


def test_counts_open_nothing_and_bear_a_store_that_is_away(stores: Stores, tmp_path: Path) -> None:
    (tmp_path / "1").rename(tmp_path / "gone")

    assert {name: stores.count(name) for name in stores.names} == {
        "full": 24,
        "empty-0": 0,
        "empty-1": None,
        "empty-2": 0,
        "empty-3": 0,
    }
    assert not stores.is_open("empty-0")
    assert [said(count) for count in (None, 1, 12_000)] == ["cannot be read now", "1 model", "12,000 models"]


def test_the_address_names_a_store_beside_what_is_chosen_of_it() -> None:
    first, other = State(page="sql"), State("other", page="sql")

    assert (first.query(), other.query(), other.choices()) == ("?page=sql", "?store=other&page=sql", "?page=sql")
    other.read("?store=third&page=layers", {})
    assert other.query() == "?store=other&page=layers", "a tab keeps its store"
    assert State("other").query() == "?store=other"
