"""A dashboard of several stores: what it may be asked for, and what it tells where there is none."""

from collections.abc import Mapping
from pathlib import Path

import pytest

import cc_ray
from cc_ray.errors import CcRayError
from cc_ray.serve import configured
from cc_ray.serve.stores import allowed, named
from tests.serve.conftest import Open


@pytest.fixture
def other(tmp_path: Path) -> Path:
    store = cc_ray.open(tmp_path / "secret" / "other", create=True)
    store.log_model("net", task="a task", metrics={"accuracy": 0.9})
    return tmp_path / "secret" / "other"


def test_pages_and_api_answer_for_each_store(visit: Open, other: Path) -> None:
    visitor = visit(stores={"other": str(other)})

    first, second = visitor.get("/"), visitor.get("/?page=sql&store=other")

    assert 'content="./api/"' in first.text
    assert 'content="./api/stores/other/"' in second.text
    models = {path: visitor.client.get(f"{path}/v1/models").json()["rows"] for path in ("/api", "/api/stores/other")}
    assert [len(rows) for rows in models.values()] == [0, 1]
    assert visitor.client.get("/api/stores/none/v1/models").status_code == 404


def test_no_other_store_is_opened_whatever_is_asked_for(visit: Open, other: Path) -> None:
    visitor = visit(stores={"other": str(other)})

    for name in ("none", "../secret/other", str(other), "<script>alert(1)</script>", "x" * 9000):
        answer = visitor.client.get("/", params={"store": name})

        assert answer.status_code == 404
        assert '<a href="./?store=other">other</a>' in answer.text
        assert "<script" not in answer.text
        assert len(answer.text) < 2000


def test_a_store_that_is_away_leaves_the_others(visit: Open, other: Path) -> None:
    visitor = visit(stores={"other": str(other)})
    other.rename(other.with_name("moved"))

    answer = visitor.get("/?store=other")

    assert (answer.status_code, "cannot be read now" in answer.text, "secret" in answer.text) == (503, True, False)
    assert visitor.get("/").status_code == 200
    other.with_name("moved").rename(other)
    assert visitor.get("/?store=other").status_code == 200


def test_who_has_not_logged_in_learns_no_names(visit: Open, login: Path, other: Path) -> None:
    visitor = visit(login=str(login), stores={"other": str(other)})

    answer = visitor.get("/?store=none")

    assert (answer.status_code, "other" in answer.text) == (303, False)


def test_stores_have_the_names_that_are_given_or_those_of_their_folders() -> None:
    assert named(["/data/my store", "old=/data/b", "s3://bucket/runs/c", "d=s3://bucket/d"]) == {
        "my-store": "/data/my store", "old": "/data/b", "c": "s3://bucket/runs/c", "d": "s3://bucket/d",
    }  # fmt: skip
    assert list(allowed("/data/a", {"b": "/data/b"}).items()) == [("a", "/data/a"), ("b", "/data/b")]
    assert list(allowed("/data/a", {"b": "/data/b", "main": "/data/a"})) == ["main", "b"]


@pytest.mark.parametrize(
    ("further", "error"),
    [
        ({"a": "/data/b"}, "two stores are called 'a'"),
        ({"a/b": "/data/b"}, "'a/b' cannot be the name of a store"),
        ({"": "/data/b"}, "'' cannot be the name"),
    ],
)
def test_names_are_checked(further: Mapping[str, str], error: str) -> None:
    with pytest.raises(CcRayError, match=error):
        allowed("/data/a", further)


def test_names_on_the_command_line_are_checked() -> None:
    with pytest.raises(CcRayError, match="two stores are called 'b'"):
        named(["/data/b", "/other/b"])
    with pytest.raises(CcRayError, match="'a b' cannot be"):
        named(["a b=/data/b"])


def test_a_config_names_stores_by_whole_paths(root: Path) -> None:
    with pytest.raises(CcRayError, match="Set `other` of `stores`"):
        configured({"store": str(root), "stores": {"other": "other"}})
    with pytest.raises(CcRayError, match="is not a CC-Ray store"):
        configured({"store": str(root), "stores": {"other": str(root.parent / "none")}})
