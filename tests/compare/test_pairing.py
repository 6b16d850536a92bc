from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from cc_ray.compare import behaviours
from cc_ray.compare.behaviour.pairing import PARENT, ROOT, paired, pairs
from cc_ray.divergence import FLOOR, Reference
from cc_ray.errors import NotComparableError
from cc_ray.evaluate.answers.classes import Classes
from cc_ray.recipe import Step
from cc_ray.store import Store
from cc_ray.views import Views, open_views
from tests.benchmarks.make_predictions import make_predictions
from tests.compare.small import add_model, answers, new_store


def column(views: Views, model: str, base: str, name: str) -> list[float]:
    found = paired(
        views, pairs(views, [model], base), [name] if name in ("kl", "mse", "base_class_probability") else []
    )
    values: list[float] = found[name].to_pylist()
    return values


def ids_of(views: Views) -> list[str]:
    found: list[str] = views.sql("SELECT model_id FROM models ORDER BY step_index, name")["model_id"].to_pylist()
    return found


@pytest.mark.parametrize("classes", [3, 200])
def test_recorded_divergences_are_those_that_are_computed(tmp_path: Path, classes: int) -> None:
    recorded, bare = (
        open_views(
            make_predictions(tmp_path / f"{record}", models=3, instances=300, classes=classes, record=record).root
        )
        for record in (True, False)
    )
    base, *others = ids_of(recorded)

    assert recorded.sql("SELECT count(kl_from_base) AS n FROM predictions")["n"].to_pylist() == [600]
    assert bare.sql("SELECT count(kl_from_base) AS n FROM predictions")["n"].to_pylist() == [0]
    for name in ("kl", "mse"):
        for model in others:
            there, here = (column(views, model, base, name) for views in (recorded, bare))
            assert there == here
            assert min(here) >= 0 < max(here)


def test_divergences_are_those_of_numpy(tmp_path: Path) -> None:
    views = open_views(make_predictions(tmp_path, models=3, instances=500, classes=200).root)
    base, model, other = ids_of(views)
    lists = {
        id: np.array(views.sql(f"SELECT probabilities AS p FROM predictions WHERE model_id = '{id}'")["p"].to_pylist())
        for id in (model, other)
    }
    p, q = lists[other], lists[model]

    kl = (p * (np.log(np.maximum(p, FLOOR)) - np.log(np.maximum(q, FLOOR))) - p + q).sum(axis=1)
    found = column(views, model, other, "kl")
    np.testing.assert_allclose(found, kl, rtol=1e-3, atol=1e-6)
    by_sql = views.sql(
        "SELECT kl FROM divergences WHERE base_id = ? AND model_id = ? ORDER BY instance", [other, model]
    )
    np.testing.assert_allclose(by_sql["kl"].to_numpy(), kl, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(column(views, model, other, "mse"), ((p - q) ** 2).mean(axis=1), rtol=1e-5)
    chosen = q[np.arange(len(q)), p.argmax(axis=1)]
    np.testing.assert_allclose(column(views, model, other, "base_class_probability"), chosen, rtol=1e-6)
    assert base


def test_half_precision_is_widened_exactly() -> None:
    bits = np.arange(0x3C01, dtype=np.uint16).view(np.float16)[:, None]

    assert np.array_equal(Reference(bits).probabilities, bits.astype(np.float32))


def test_a_class_of_no_probability_keeps_the_divergence_finite() -> None:
    kl, mse = Reference(np.array([[1.0, 0.0]])).compared(np.array([[0.0, 1.0]]))

    assert kl[0] == pytest.approx(-np.log(FLOOR))
    assert mse[0] == 1


def test_models_of_other_instances_are_compared_on_those_in_common(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "first", labels=[0, 1, 2, 0], probabilities=answers([0, 1, 2, 0]))
    add_model(store, "second", labels=[0, 1], probabilities=answers([0, 0]))

    found = paired(open_views(tmp_path), pairs(open_views(tmp_path), ["second"], "first"), ["kl"])

    assert found["instance"].to_pylist() == [0, 1]
    assert found["lost"].to_pylist() == [False, True]
    assert found["kl"].to_pylist()[0] == 0 < found["kl"].to_pylist()[1]


def test_models_without_a_common_instance_are_refused(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    for name, instance in (("first", 0), ("second", 7)):
        rows = Classes(np.array([instance]), np.array([0]), np.log([[0.5, 0.5]])).table(name)
        add_model(store, name)
        publish_predictions(store, name, rows)

    views = open_views(tmp_path)
    with pytest.raises(NotComparableError, match="no instance in common"):
        paired(views, pairs(views, ["second"], "first"))


def test_each_model_is_compared_with_its_own_parent_or_base_model(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    steps = [Step("prune"), Step("tune")]
    add_model(store, "root", labels=[0, 1], probabilities=answers([0, 1]))
    add_model(store, "pruned", parent="root", steps=steps[:1], labels=[0, 1], probabilities=answers([0, 0]))
    add_model(store, "tuned", parent="pruned", steps=steps, labels=[0, 1], probabilities=answers([1, 1]))
    views = open_views(tmp_path)
    everything = ["root", "pruned", "tuned"]

    by_parent = behaviours(views, everything, PARENT).to_pylist()
    by_root = behaviours(views, everything, ROOT).to_pylist()

    assert [(row["model_id"], row["base_id"], row["net"]) for row in by_parent] == [
        ("pruned", "root", -0.5),
        ("tuned", "pruned", 0.0),
    ]
    assert [(row["model_id"], row["base_id"], row["net"]) for row in by_root] == [
        ("pruned", "root", -0.5),
        ("tuned", "root", -0.5),
    ]
    with pytest.raises(NotComparableError, match="none of the models has a parent"):
        behaviours(views, ["root"], PARENT)


def test_models_whose_lists_differ_in_length_have_no_divergence(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "three", labels=[0], probabilities=[[0.8, 0.1, 0.1]])
    add_model(store, "two", labels=[0], probabilities=[[0.8, 0.2]])

    assert column(open_views(tmp_path), "two", "three", "kl") == [None]


def test_divergences_of_missing_answers_are_null() -> None:
    kinds = np.log([[0.5, 0.5], [0.9, 0.1]])
    mine = Classes(np.array([0, 1]), np.array([0, 0]), kinds).table("mine")
    other = Classes(np.array([1]), np.array([0]), kinds[:1]).table("other")

    found = Classes.compared(mine, base=other, parent=None)

    assert found["kl_from_base"].to_pylist()[0] is None
    assert found["kl_from_base"].to_pylist()[1] == pytest.approx(0.5 * np.log(0.5 / 0.9) + 0.5 * np.log(0.5 / 0.1))
    assert found["kl_from_parent"].to_pylist() == [None, None]


def publish_predictions(store: Store, name: str, rows: pa.Table) -> None:
    store.publish("step", f"{name}-answers", {"predictions": rows})


def test_lists_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(1, 2\) are expected, not \(1, 3\)"):
        Reference(np.array([[1.0, 0.0]])).compared(np.array([[1.0, 0.0, 0.0]]))
