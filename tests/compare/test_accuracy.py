from pathlib import Path

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import cochrans_q
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_effectsize

from cc_ray.compare.behaviour.accuracy import accuracy_tests, same_accuracy
from cc_ray.errors import ModelNotFoundError, NotComparableError
from cc_ray.views import open_views
from tests.compare.drawn import add_classes, real_predictions
from tests.compare.small import add_model, answers, new_store

LABELS = [0, 0, 0, 1, 1, 1, 2, 2]


def test_every_model_is_tested_against_the_base_and_corrected(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "base", labels=LABELS, probabilities=answers(LABELS))
    add_model(store, "bad", labels=LABELS, probabilities=answers([1, 1, 1, 0, 0, 0, 2, 2]))
    add_model(store, "same", labels=LABELS, probabilities=answers(LABELS))
    add_model(store, "slight", labels=LABELS, probabilities=answers([0, 0, 0, 1, 1, 1, 2, 1]))

    found = accuracy_tests(open_views(tmp_path), ["bad", "base", "same", "slight"], "base").to_pylist()

    assert [row["model_id"] for row in found] == ["bad", "same", "slight"]
    assert [(row["n"], row["lost"], row["gained"]) for row in found] == [(8, 6, 0), (8, 0, 0), (8, 1, 0)]
    assert [row["difference"] for row in found] == [-6 / 8, 0, -1 / 8]
    p = [2 * 0.5**6, 1.0, 1.0]
    np.testing.assert_allclose([row["mcnemar_p"] for row in found], p)
    np.testing.assert_allclose([row["holm_p"] for row in found], multipletests(p, method="holm")[1])
    np.testing.assert_allclose([row["bh_p"] for row in found], multipletests(p, method="fdr_bh")[1])
    np.testing.assert_allclose(
        [row["cohen_h"] for row in found], [proportion_effectsize(share, 1) for share in (2 / 8, 1, 7 / 8)]
    )
    assert all(row["difference_low"] <= row["difference"] <= row["difference_high"] for row in found)


def test_instances_that_a_model_did_not_answer_do_not_count(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "base", labels=[0, 0, 0, 0], probabilities=answers([0, 0, 1, 1]))
    add_model(store, "short", labels=[0, 0, 0], probabilities=answers([1, 0, 0]))
    add_model(store, "long", labels=[0] * 6, probabilities=answers([0] * 6))
    views = open_views(tmp_path)

    found = accuracy_tests(views, ["short", "long"], "base").to_pylist()

    assert [(row["n"], row["lost"], row["gained"]) for row in found] == [(3, 1, 1), (4, 0, 2)]
    assert [row["base_accuracy"] for row in found] == [2 / 3, 1 / 2]
    assert same_accuracy(views, ["base", "short", "long"]).to_pylist()[0]["n"] == 3


def test_what_cannot_be_tested_says_why(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "base", labels=[0], probabilities=answers([0]))
    add_model(store, "silent", seed=1)
    views = open_views(tmp_path)

    with pytest.raises(NotComparableError, match="no model is named"):
        accuracy_tests(views, ["base"], "base")
    with pytest.raises(NotComparableError, match="no predictions of silent"):
        accuracy_tests(views, ["silent"], "base")
    with pytest.raises(ModelNotFoundError, match="no model 'gone'"):
        accuracy_tests(views, ["gone"], "base")
    with pytest.raises(NotComparableError, match="at least two"):
        same_accuracy(views, ["base"])


def test_real_networks_are_judged_as_statsmodels_does(tmp_path: Path) -> None:
    labels, predictions = real_predictions()
    store = new_store(tmp_path)
    ids = [add_classes(store, name, labels, classes) for name, classes in predictions.items()]
    views = open_views(tmp_path)
    right = {name: classes == labels for name, classes in predictions.items()}

    tests, together = accuracy_tests(views, ids, ids[0]).to_pylist(), same_accuracy(views, ids).to_pylist()[0]

    for row in tests:
        own, base = right[row["model_id"]], right[ids[0]]
        table = [[(own & base).sum(), (own & ~base).sum()], [(~own & base).sum(), (~own & ~base).sum()]]
        assert row["accuracy"] == own.mean()
        assert row["mcnemar_p"] == pytest.approx(reference_mcnemar(table, exact=False, correction=False).pvalue)
    expected = cochrans_q(np.stack(list(right.values()), axis=1).astype(int))
    assert together["statistic"] == pytest.approx(expected.statistic)
    assert together["p"] == pytest.approx(expected.pvalue)
