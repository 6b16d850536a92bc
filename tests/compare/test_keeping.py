"""Questions asked of some instances only: of a class, that fulfil a condition, whose measures lie in intervals."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from cc_ray.compare import (
    behaviours,
    frequent_predictions,
    instances,
    measure_distribution,
    measures,
    prediction_changes,
    worst_slices,
)
from cc_ray.errors import NotComparableError, QueryError
from cc_ray.views import Views, open_views
from tests.benchmarks.make_predictions import make_predictions
from tests.compare.drawn import add_instances
from tests.compare.small import add_model, answers, new_store

LABELS = [0, 0, 1, 1, 2, 2]
BASE = [0, 0, 1, 1, 2, 0]
CHILD = [0, 1, 1, 2, 2, 0]
OTHER = [0, 0, 0, 2, 2, 2]


@pytest.fixture
def views(tmp_path: Path) -> Views:
    store = new_store(tmp_path)
    for name, predictions, parent in (("base", BASE, None), ("child", CHILD, "base"), ("other", OTHER, "base")):
        add_model(store, name, parent=parent, labels=LABELS, probabilities=answers(predictions))
    return open_views(tmp_path)


def test_means_are_over_the_instances_that_are_kept(views: Views) -> None:
    row = measures(views, ["child"], "base", "correct", where="label < 2").to_pylist()[0]
    of_class = measures(views, ["child"], "base", "correct", label=1).to_pylist()[0]

    assert (row["n"], row["mean"], row["base_mean"]) == (4, 0.5, 1.0)
    assert (of_class["n"], of_class["difference"]) == (2, -0.5)


def test_intervals_of_several_models_must_all_hold(views: Views) -> None:
    lost = {"child": (-1.0, -1.0)}

    one = measures(views, ["other"], "base", "correct", between=lost).to_pylist()[0]
    both = measures(views, ["other"], "base", "correct", between={**lost, "other": (-1.0, -1.0)}).to_pylist()[0]

    assert (one["n"], one["difference"]) == (2, -0.5)
    assert (both["n"], both["difference"]) == (1, -1)


def test_a_class_of_which_nothing_is_left_has_no_row(views: Views) -> None:
    found = measures(views, ["child"], "base", "correct", by_class=True, where="label <> 1")

    assert found["label"].to_pylist() == [0, 2]
    assert measures(views, ["child"], "base", where="label = 9").num_rows == 0


def test_bins_stay_where_they_are_and_tell_what_is_kept(views: Views) -> None:
    whole = measure_distribution(views, ["child", "other"], "base", "correct", bins=4)
    some = measure_distribution(views, ["child", "other"], "base", "correct", bins=4, between={"child": (-1, -0.5)})

    assert whole["kept"].to_pylist() == whole["count"].to_pylist()
    assert some.drop_columns("kept") == whole.drop_columns("kept")
    assert some["kept"].to_pylist() == [2, 0, 0, 0, 1, 0, 1, 0]


def test_changes_of_prediction_follow(views: Views) -> None:
    every = prediction_changes(views, "child", "base").to_pylist()
    some = prediction_changes(views, "child", "base", label=1).to_pylist()

    assert [(row["base_prediction_name"], row["prediction_name"], row["count"]) for row in every] == [
        ("zero", "one", 1), ("one", "two", 1),
    ]  # fmt: skip
    assert [(row["prediction_name"], row["share"], row["lost"]) for row in some] == [("two", 0.5, 1)]


def test_the_most_frequent_predictions_come_first(views: Views) -> None:
    found = frequent_predictions(views, "child", "base", 2).to_pylist()

    assert [(row["prediction_name"], row["count"], row["base_count"], row["correct"]) for row in found] == [
        ("zero", 2, 3, 1), ("one", 2, 2, 1),
    ]  # fmt: skip


def test_instances_are_sorted_by_one_model_either_way(views: Views) -> None:
    def order(**choices: object) -> list[int]:
        found = instances(views, ["child", "other"], "base", sort="measure", **choices)  # type: ignore[arg-type]
        listed: list[int] = found.table["instance"].to_pylist()
        return listed

    assert order(by="child", measure="correct") == [1, 3, 0, 2, 4, 5]
    assert order(by="other", measure="correct") == [2, 3, 5, 0, 1, 4]
    assert order(by="child", measure="correct", rising=True) == [0, 2, 4, 5, 1, 3]


def test_instances_can_be_named_and_keep_their_order(views: Views) -> None:
    found = instances(views, ["child"], "base", among=[4, 1, 99, 0])
    lost = instances(views, ["child"], "base", among=[4, 1, 0], only="lost")

    assert (found.table["instance"].to_pylist(), found.count) == ([4, 1, 0], 3)
    assert lost.table["instance"].to_pylist() == [1]


def test_agreement_is_a_measure_of_two_models(views: Views) -> None:
    row = measures(views, ["child"], "base", "agree").to_pylist()[0]

    assert row["mean"] == pytest.approx(4 / 6)
    assert (row["difference"], row["base_mean"], row["p"]) == (None, None, None)


def test_differences_have_students_p_and_accuracy_has_mcnemars(tmp_path: Path) -> None:
    views = open_views(make_predictions(tmp_path, models=2, instances=300, classes=3).root)
    base, model = views.sql("SELECT model_id FROM models ORDER BY step_index")["model_id"].to_pylist()
    pair = views.sql("SELECT loss - base_loss AS d FROM pairs WHERE base_id = ? AND model_id = ?", [base, model])

    loss, correct = measures(views, [model], base, "loss"), measures(views, [model], base, "correct")
    by_class = measures(views, [model], base, "loss", by_class=True)

    student = stats.ttest_1samp(pair["d"].to_numpy().astype(float), 0)
    assert loss["p"][0].as_py() == pytest.approx(student.pvalue)
    assert correct["p"] == behaviours(views, [model], base)["mcnemar_p"]
    assert np.all(by_class["holm_p"].to_numpy() >= by_class["p"].to_numpy())


def test_a_condition_needs_one_base_and_plain_words(views: Views) -> None:
    with pytest.raises(NotComparableError, match="name it instead of @base"):
        measures(views, ["child"], "@base", where="label = 1")
    with pytest.raises(QueryError, match="has a subquery in it"):
        instances(views, ["child"], "base", where="instance IN (SELECT 1)")


def test_means_by_slice_are_those_of_its_instances(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    for name, predictions in (("base", BASE), ("child", CHILD)):
        add_model(store, name, labels=LABELS, probabilities=answers(predictions))
    add_instances(store, LABELS, [["dark"], ["dark", "left"], ["left"], [], [], []])
    views = open_views(tmp_path)

    every = measures(views, ["child"], "base", "correct", by_slice=True).to_pylist()
    ones = measures(views, ["child"], "base", "correct", by_slice=True, where="label = 0").to_pylist()

    assert [(row["slice"], row["n"], row["difference"]) for row in every] == [("dark", 2, -0.5), ("left", 2, -0.5)]
    assert [(row["slice"], row["n"], row["mean"]) for row in ones] == [("dark", 2, 0.5), ("left", 1, 0)]
    assert {row["label"] for row in every} == {None}


def test_the_condition_of_a_found_slice_chooses_its_instances(tmp_path: Path) -> None:
    views = open_views(make_predictions(tmp_path, models=2, instances=3_000, classes=3).root)
    base, model = views.sql("SELECT model_id FROM models ORDER BY step_index")["model_id"].to_pylist()

    found = worst_slices(views, model, base).to_pylist()

    assert any(" AND " in row["condition"] for row in found)
    for row in found:
        again = measures(views, [model], base, "correct", where=row["condition"]).to_pylist()[0]
        assert (again["n"], again["difference"]) == (row["n"], pytest.approx(row["difference"]))
