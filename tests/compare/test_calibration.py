from pathlib import Path

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss
from statsmodels.stats.proportion import proportion_confint

from cc_ray.compare.behaviour.calibration import BINS, calibration, reliability
from cc_ray.errors import NotComparableError
from cc_ray.evaluate.answers.classes import Classes
from cc_ray.recipe import Recipe
from cc_ray.views import open_views
from tests.compare.drawn import add_answers, add_classes
from tests.compare.small import add_model, answers, model_row, new_store


def drawn(count: int, sharpness: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels that follow the probabilities, and the probabilities sharpened: calibrated where `sharpness` is 1."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet([0.4, 0.4, 0.4], count)
    labels = (rng.random(count)[:, None] > p.cumsum(axis=1)).sum(axis=1).clip(0, 2).astype(np.int32)
    sharp = p**sharpness
    return labels, sharp / sharp.sum(axis=1, keepdims=True)


def test_errors_by_hand(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    # Two answers at 0.9, one right; two at 0.6, both right.
    p = answers([0, 0], confidence=0.9) + answers([0, 0], confidence=0.6)
    add_model(store, "model", labels=[0, 1, 0, 0], probabilities=p)

    row = calibration(open_views(tmp_path), ["model"]).to_pylist()[0]

    assert (row["n"], row["accuracy"]) == (4, 0.75)
    assert row["confidence"] == pytest.approx(0.75)
    assert row["overconfidence"] == pytest.approx(0, abs=1e-6)
    assert row["ece"] == pytest.approx((0.4 + 0.4) / 2)
    assert row["mce"] == pytest.approx(0.4)
    # Four instances fill four of the equal-mass bins.
    assert row["ece_mass"] == pytest.approx((0.1 + 0.9 + 0.4 + 0.4) / 4)
    right, wrong = 0.1**2 + 2 * 0.05**2, 0.9**2 + 0.95**2 + 0.05**2
    assert row["brier"] == pytest.approx((right + wrong + 2 * (0.4**2 + 2 * 0.2**2)) / 4)
    assert row["nll"] == pytest.approx(-(np.log(0.9) + np.log(0.05) + 2 * np.log(0.6)) / 4)


def test_scores_are_those_of_sklearn(tmp_path: Path) -> None:
    labels, p = drawn(2_000, 1.5)
    store = new_store(tmp_path)
    add_answers(store, "model", labels, p)

    row = calibration(open_views(tmp_path), ["model"]).to_pylist()[0]

    assert row["brier"] == pytest.approx(brier_score_loss(labels, p, scale_by_half=False), rel=1e-5)
    assert row["nll"] == pytest.approx(log_loss(labels, p), rel=1e-4)
    for name in ("accuracy", "confidence", "ece", "ece_mass", "mce", "brier", "nll"):
        assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
    half = 1.96 * np.sum((p - np.eye(3)[labels]) ** 2, axis=1).std(ddof=1) / np.sqrt(2_000)
    assert row["brier_high"] - row["brier"] == pytest.approx(half, rel=1e-3)


@pytest.mark.parametrize(("bins", "strategy"), [("width", "uniform"), ("mass", "quantile")])
def test_the_bins_are_those_of_sklearn(tmp_path: Path, bins: str, strategy: str) -> None:
    labels, p = drawn(3_000, 1.5)
    store = new_store(tmp_path)
    add_answers(store, "model", labels, p)
    views = open_views(tmp_path)

    found = reliability(views, ["model"], bins=bins)  # type: ignore[arg-type]

    confidence = p.max(axis=1).astype(np.float32)
    shares, means = calibration_curve(p.argmax(axis=1) == labels, confidence, n_bins=BINS, strategy=strategy)
    # sklearn cuts groups at interpolated quantiles: an instance may stand in the next group.
    tolerance = 1e-6 if bins == "width" else 0.01
    np.testing.assert_allclose(found["accuracy"].to_numpy(), shares, atol=tolerance)
    np.testing.assert_allclose(found["confidence"].to_numpy(), means, atol=tolerance)
    n, gap = found["n"].to_numpy(), found["gap"].to_numpy()
    assert n.sum() == 3_000
    name = "ece" if bins == "width" else "ece_mass"
    assert calibration(views, ["model"])[name][0].as_py() == pytest.approx(np.abs(gap) @ n / 3_000)


def test_a_bin_holds_its_upper_edge_and_comes_with_an_interval(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "model", labels=[0, 1, 0], probabilities=[*answers([0, 0], confidence=0.8), [1.0, 0.0, 0.0]])

    found = reliability(open_views(tmp_path), ["model"]).to_pylist()

    assert [(row["bin"], row["n"]) for row in found] == [(12, 2), (14, 1)]
    assert (found[1]["low"], found[1]["high"]) == pytest.approx((14 / 15, 1))
    assert found[0]["gap"] == pytest.approx(0.5 - 0.8)
    expected = proportion_confint(1, 2, method="wilson")
    assert (found[0]["accuracy_low"], found[0]["accuracy_high"]) == pytest.approx(expected)
    assert sum(row["share"] for row in found) == pytest.approx(1)


def test_a_calibrated_model_is_told_from_an_overconfident_one(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    for model_id, sharpness in (("calibrated", 1.0), ("overconfident", 2.0)):
        add_answers(store, model_id, *drawn(3_000, sharpness))

    calibrated, sure = calibration(open_views(tmp_path), ["calibrated", "overconfident"]).to_pylist()

    assert calibrated["ece_p"] > 0.05
    assert calibrated["ece_low"] == 0
    assert sure["ece_p"] < 0.01
    assert sure["ece_low"] > calibrated["ece_high"]
    assert sure["overconfidence"] > 0.03
    # Sharpening changes no prediction.
    assert calibrated["accuracy"] == sure["accuracy"]


def test_the_interval_of_the_error_holds_the_true_one_most_of_the_time(tmp_path: Path) -> None:
    labels, p = drawn(60_000, 1.5, seed=1)
    store = new_store(tmp_path)
    add_answers(store, "population", labels, p)
    for index, rows in enumerate(np.arange(20_000).reshape(20, 1_000)):
        add_answers(store, f"sample-{index}", labels[rows], p[rows])
    views = open_views(tmp_path)

    true = calibration(views, ["population"])["ece"][0].as_py()
    found = calibration(views, [f"sample-{index}" for index in range(20)]).to_pylist()

    assert sum(row["ece_low"] <= true <= row["ece_high"] for row in found) >= 17


def test_the_same_question_has_the_same_answer(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_answers(store, "model", *drawn(500, 1.5))

    first, again = (calibration(open_views(tmp_path), ["model"]) for _ in range(2))

    assert first.equals(again)


def test_models_that_tell_no_confidence_have_an_accuracy_alone(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_classes(store, "classes", [0, 1, 1], np.array([0, 1, 0]))
    add_model(store, "broken", labels=[0, 1], probabilities=[[float("nan")] * 3] * 2)
    add_model(store, "whole", labels=[0, 1], probabilities=answers([0, 1]))
    views = open_views(tmp_path)

    found = calibration(views, ["classes", "broken", "whole"]).to_pylist()

    assert [row["accuracy"] for row in found] == pytest.approx([2 / 3, 1 / 2, 1])
    for row in found[:2]:
        assert {row[name] for name in ("confidence", "ece", "ece_p", "ece_mass_high", "mce", "brier_low", "nll")} == {
            None
        }
    assert found[2]["ece"] == pytest.approx(0.2)
    assert reliability(views, ["classes", "broken", "whole"])["model_id"].to_pylist() == ["whole"]


def test_what_cannot_be_judged_says_why(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "silent")
    views = open_views(tmp_path)

    with pytest.raises(NotComparableError, match="no predictions of silent"):
        calibration(views, ["silent"])
    with pytest.raises(NotComparableError, match="no model is named"):
        reliability(views, [])
    with pytest.raises(NotComparableError, match=r"bins='equal' is not known\. Allowed: width, mass"):
        reliability(views, ["silent"], bins="equal")  # type: ignore[arg-type]


def test_an_infinite_loss_has_a_mean_and_no_interval(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    with np.errstate(divide="ignore"):
        logs = np.log([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    table = Classes(np.arange(3), np.array([0, 1, 2]), logs).table("sure")
    rows = Classes.compared(table, base=None, parent=None)
    store.publish("step", "sure", {"models": [model_row("sure", Recipe("net"))], "predictions": rows})

    (row,) = calibration(open_views(tmp_path), ["sure"]).to_pylist()

    assert row["nll"] == np.inf
    assert row["nll_low"] is row["nll_high"] is None
