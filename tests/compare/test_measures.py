from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from scipy import stats

from cc_ray.compare import instances, measure_distribution, measures
from cc_ray.errors import NotComparableError
from cc_ray.evaluate.answers.classes import Classes
from cc_ray.recipe import Recipe
from cc_ray.views import Views, open_views
from tests.benchmarks.make_predictions import make_predictions
from tests.compare.drawn import add_answers
from tests.compare.small import add_model, answers, model_row, new_store


@pytest.fixture
def views(tmp_path: Path) -> Views:
    store = new_store(tmp_path)
    add_model(store, "root", labels=[0, 0, 1, 2], probabilities=answers([0, 0, 1, 0], confidence=0.8))
    add_model(store, "child", labels=[0, 0, 1, 2], probabilities=answers([0, 1, 1, 2], confidence=0.6))
    return open_views(tmp_path)


def test_the_mean_change_of_a_measure_has_students_interval(views: Views) -> None:
    row = measures(views, ["child"], "root", "true_probability").to_pylist()[0]

    change = np.array([0.6 - 0.8, 0.2 - 0.8, 0.6 - 0.8, 0.6 - 0.1])
    low, high = stats.t.interval(0.95, 3, change.mean(), stats.sem(change))
    assert row["difference"] == pytest.approx(change.mean())
    assert (row["difference_low"], row["difference_high"]) == pytest.approx((low, high))
    assert row["absolute_difference"] == pytest.approx(np.abs(change).mean())
    assert row["ratio"] == pytest.approx(np.mean([0.6 / 0.8, 0.2 / 0.8, 0.6 / 0.8, 0.6 / 0.1]), rel=1e-4)
    assert row["relative"] == pytest.approx(change.mean() / 0.625)
    assert (row["n"], row["label"], row["mean_low"]) == (4, None, None)


def test_students_interval_is_that_of_a_bootstrap_where_there_are_many_instances(tmp_path: Path) -> None:
    views = open_views(make_predictions(tmp_path, models=2, instances=4_000, classes=3).root)
    base, model = views.sql("SELECT model_id FROM models ORDER BY step_index")["model_id"].to_pylist()
    pairs = views.sql("SELECT loss - base_loss AS d FROM pairs WHERE base_id = ? AND model_id = ?", [base, model])
    change = pairs["d"].to_numpy().astype(float)

    row = measures(views, [model], base, "loss").to_pylist()[0]

    found = stats.bootstrap([change], np.mean, n_resamples=2_000, method="percentile", random_state=0)
    ends = found.confidence_interval
    assert (row["difference_low"], row["difference_high"]) == pytest.approx(tuple(ends), abs=0.1 * (ends[1] - ends[0]))


def test_a_measure_by_class_has_a_row_for_each(views: Views) -> None:
    found = measures(views, ["child"], "root", "correct", by_class=True).to_pylist()

    assert [(row["label_name"], row["difference"]) for row in found] == [("zero", -0.5), ("one", 0), ("two", 1)]


def test_a_divergence_has_a_mean_with_its_ends_and_no_difference(views: Views) -> None:
    row = measures(views, ["child"], "root", "kl").to_pylist()[0]

    assert row["mean"] > 0
    assert row["mean_low"] < row["mean"] < row["mean_high"]
    assert row["difference"] is row["difference_low"] is row["base_mean"] is row["ratio"] is None


def test_the_probability_of_the_class_that_the_base_predicts(views: Views) -> None:
    row = measures(views, ["child"], "root", "base_class_probability").to_pylist()[0]

    assert row["base_mean"] == pytest.approx(0.8)
    assert row["mean"] == pytest.approx((0.6 + 0.2 + 0.6 + 0.2) / 4)


def test_a_distribution_counts_every_instance_in_common_bins(views: Views) -> None:
    found = measure_distribution(views, ["child", "root"], "root", "true_probability", bins=11).to_pylist()

    child, root = found[:11], found[11:]
    assert (child[0]["low"], child[-1]["high"]) == pytest.approx((-0.6, 0.5))
    assert [row["count"] for row in child] == [1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 1]
    assert sum(row["count"] for row in root) == 4
    assert sum(row["share"] for row in root) == 1


def test_equal_values_share_one_bin(views: Views) -> None:
    found = measure_distribution(views, ["root"], "root", "loss").to_pylist()

    assert [(row["low"], row["high"], row["count"]) for row in found] == [(0, 0, 4)]


def test_instances_are_chosen_by_an_interval_of_a_measure(views: Views) -> None:
    between = {"child": (-0.3, 0.0)}

    found = instances(views, ["child"], "root", measure="true_probability", between=between)
    sorted_ = instances(views, ["child"], "root", measure="kl", kind="value", sort="measure")

    assert found.table["instance"].to_pylist() == [0, 2]
    assert found.count == 2
    assert sorted_.table["instance"].to_pylist()[-2:] == [0, 2]


@pytest.mark.parametrize(("measure", "kind"), [("accuracy", "difference"), ("loss", "square")])
def test_an_unknown_measure_or_kind_is_refused(views: Views, measure: str, kind: str) -> None:
    with pytest.raises(NotComparableError, match="is not known"):
        measure_distribution(views, ["child"], "root", measure, kind)  # type: ignore[arg-type]


def test_too_many_bins_are_refused(views: Views) -> None:
    with pytest.raises(NotComparableError, match="1 to 1000"):
        measure_distribution(views, ["child"], "root", bins=5_000)


def test_instances_of_which_a_measure_is_unknown_make_no_interval_narrower(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    labels = np.array([0, 1, 2, 0])
    add_answers(store, "root", labels, np.array(answers(labels.tolist(), confidence=0.8)))
    table = Classes(np.arange(4), labels, np.log(answers([0, 2, 2, 1], confidence=0.6))).table("child")
    rows = Classes.compared(table, base=None, parent=None)
    unknown = pc.if_else(pa.array([False, False, False, True]), None, rows["loss"])
    rows = rows.set_column(rows.column_names.index("loss"), "loss", unknown)
    store.publish("step", "child", {"models": [model_row("child", Recipe("net"))], "predictions": rows})

    (row,) = measures(open_views(tmp_path), ["child"], "root", "loss").to_pylist()

    change = -np.log([0.6, 0.2, 0.6]) + np.log(0.8)
    assert row["n"] == 3
    low, high = stats.t.interval(0.95, 2, change.mean(), stats.sem(change))
    assert (row["difference_low"], row["difference_high"]) == pytest.approx((low, high), abs=1e-6)
