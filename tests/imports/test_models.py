import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cc_ray import compare
from cc_ray.errors import CcRayError, ModelNotFoundError
from cc_ray.imports.models import Brought, MadeElsewhere, TaskElsewhere, bring
from cc_ray.imports.reading import MOST_STEPS, ResultFileError
from cc_ray.recipe import Step
from cc_ray.store import Store
from cc_ray.views import open_views

TASK = TaskElsewhere("small")


def new(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", create=True)


def model(name: str, parent: str | None = None, **others: Any) -> MadeElsewhere:
    return MadeElsewhere(name, parent, Step("prune", {"sparsity": 0.5}) if parent else None, **others)


def measured(metric: str, value: float) -> dict[str, Any]:
    return {"metric": metric, "split": "", "slice": "all", "device": "", "value": value}


def into(store: Store, *models: MadeElsewhere, task: TaskElsewhere = TASK) -> Brought:
    return bring(store, task, models, source="test")


def test_a_lineage_may_come_in_any_order_and_in_parts(tmp_path: Path) -> None:
    store = new(tmp_path)
    into(store, model("child", "root"), model("root"))
    (grandchild,) = into(store, model("grandchild", "child")).models
    (other,) = into(store, model("other", grandchild[:8])).models

    views = open_views(store.root)
    assert set(compare.show(views, other).ancestors["name"].to_pylist()) == {"grandchild", "child", "root"}
    steps = {row["name"]: (row["base"], row["step_index"]) for row in compare.models(views).to_pylist()}
    assert steps == {"root": ("root", 0), "child": ("root", 1), "grandchild": ("root", 2), "other": ("root", 3)}


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ([model("a", "b"), model("b", "a")], "descends from itself"),
        ([model("a", "a")], "descends from itself"),
        ([model("a"), model("a")], "two models are called 'a'"),
        ([model("a", "nobody")], "no model 'nobody'"),
        ([model("0"), *(model(str(n), str(n - 1)) for n in range(1, MOST_STEPS + 2))], "steps from its root"),
        ([model("\ud800")], "no plain data in Unicode"),
        ([model("a", origin={"x": math.nan})], "no plain data"),
    ],
)
def test_what_contradicts_itself_is_refused_whole(tmp_path: Path, models: list[MadeElsewhere], said: str) -> None:
    store = new(tmp_path)
    version = store.version()

    with pytest.raises(CcRayError, match=said):
        into(store, model("fine"), *models)

    assert store.version() == version


def test_many_writers_of_one_model_write_it_once(tmp_path: Path) -> None:
    store = new(tmp_path)

    with ThreadPoolExecutor(4) as pool:
        ids = {brought.models for brought in pool.map(lambda _: into(store, model("a")), range(8))}

    assert len(ids) == 1
    assert compare.models(open_views(store.root)).num_rows == 1


def test_the_name_of_another_model_is_refused(digits_store: Store) -> None:
    with pytest.raises(ResultFileError, match=r"another model of this task .* is called 'resnet'"):
        into(digits_store, model("resnet"), task=TaskElsewhere("digits"))


def test_a_child_of_our_own_model_stands_below_it(digits_store: Store) -> None:
    (id,) = into(digits_store, model("mine", "resnet"), task=TaskElsewhere("digits")).models

    assert compare.show(open_views(digits_store.root), id).ancestors["name"].to_pylist() == ["resnet"]


def test_a_metric_of_another_meaning_has_its_own_name(tmp_path: Path) -> None:
    store = new(tmp_path)

    percent = into(store, model("a", metrics=(measured("accuracy", 91.0), measured("My Loss!", 1))))
    into(store, model("b", metrics=(measured("accuracy", 0.91),)), task=replace(TASK, name="other"))

    views = open_views(store.root)
    values = {row["name"]: row for row in compare.models(views).to_pylist()}
    assert (values["a"]["accuracy_small"], values["a"]["my_loss"]) == (91, 1)
    assert values["b"]["accuracy"] == 0.91
    assert any("called accuracy_small here" in told for told in percent.guessed)
    assert compare.lint(views).num_rows == 0


def test_an_ambiguous_parent_is_refused(tmp_path: Path) -> None:
    store = new(tmp_path)
    into(store, model("a"))

    with pytest.raises(ModelNotFoundError, match="did you mean 'a'"):
        into(store, model("b", "aa"))
