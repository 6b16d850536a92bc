from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestIndPower

from cc_ray.compare.behaviour.repeats import noise_floor, one_seed_warning
from cc_ray.errors import NotComparableError
from cc_ray.recipe import Step
from cc_ray.store import Store
from cc_ray.views import Views, open_views
from tests.compare.small import TASK, add_model, answers, new_store

PRUNE = [Step("prune", {"sparsity": 0.5})]


def repeated(store: Store, name: str, values: list[float], steps: list[Step] | None = None) -> list[str]:
    """Models of one recipe with the seeds 0, 1, ... and these accuracies."""
    return [
        add_model(store, f"{name}{seed}", seed=seed, steps=steps or [], metrics={"accuracy": value})
        for seed, value in enumerate(values)
    ]


def test_the_spread_over_seeds_is_measured_by_recipe(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    repeated(store, "pruned", [0.8, 0.82, 0.87], PRUNE)
    repeated(store, "base", [0.9, 0.92])
    repeated(store, "alone", [0.5], [Step("other")])

    pruned, base, alone = noise_floor(open_views(tmp_path)).to_pylist()

    assert (pruned["name"], pruned["models"], pruned["seeds"], pruned["repeats"]) == (
        "net → prune(sparsity=0.5)", ["pruned0", "pruned1", "pruned2"], [0, 1, 2], 3
    )  # fmt: skip
    std = np.std([0.8, 0.82, 0.87], ddof=1)
    assert (pruned["mean"], pruned["std"]) == (pytest.approx(0.83), pytest.approx(std))
    assert (pruned["mean_low"], pruned["mean_high"]) == pytest.approx(stats.t.interval(0.95, 2, 0.83, std / 3**0.5))
    ends = std * np.sqrt(2 / stats.chi2.ppf([0.975, 0.025], 2))
    assert (pruned["std_low"], pruned["std_high"]) == pytest.approx(tuple(ends))
    pooled = np.sqrt((2 * std**2 + np.var([0.9, 0.92], ddof=1)) / 3)
    assert [row["pooled_std"] for row in (pruned, base, alone)] == pytest.approx([pooled] * 3)
    assert alone["pooled_freedom"] == 3
    assert alone["minimal_difference"] == pytest.approx(
        (stats.t.ppf(0.975, 3) + stats.t.ppf(0.8, 3)) * pooled * np.sqrt(2)
    )
    assert (alone["repeats"], alone["std"], alone["mean_low"]) == (1, None, None)


def test_the_minimal_difference_is_near_that_of_a_power_analysis(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    rng = np.random.default_rng(0)
    repeated(store, "base", (0.9 + 0.01 * rng.standard_normal(60)).tolist())

    row = noise_floor(open_views(tmp_path)).to_pylist()[0]

    # Large samples of pairs: the same quantiles, per pair of models.
    effect = TTestIndPower().solve_power(nobs1=200, power=0.8, alpha=0.05) * np.sqrt(200)
    assert row["minimal_difference"] / row["pooled_std"] == pytest.approx(effect, rel=0.03)


def test_only_the_models_named_and_of_one_task_count(tmp_path: Path) -> None:
    store = new_store(tmp_path, tasks=(TASK, "other-1"))
    ids = repeated(store, "base", [0.9, 0.92, 0.94])
    add_model(store, "foreign", seed=3, task_id="other-1", metrics={"accuracy": 0.1})
    views = open_views(tmp_path)

    assert [row["repeats"] for row in noise_floor(views).to_pylist()] == [3, 1]
    assert noise_floor(views, ids=ids[:2])["repeats"].to_pylist() == [2]
    assert noise_floor(views)["pooled_std"].to_pylist() == [pytest.approx(0.02), None]


def warnings_of(views: Views, ids: list[str], base: str) -> list[str | None]:
    found: list[str | None] = one_seed_warning(views, ids, base)["warning"].to_pylist()
    return found


def test_one_seed_cannot_tell_noise_from_damage(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    repeated(store, "base", [0.9])
    repeated(store, "pruned", [0.7], PRUNE)

    row = one_seed_warning(open_views(tmp_path), ["pruned0", "base0"], "base0").to_pylist()[0]

    assert row["difference"] == pytest.approx(-0.2)
    assert (row["seeds"], row["base_seeds"], row["seed_std"], row["seed_difference"]) == (1, 1, None, None)
    assert "One seed each: noise cannot be told from damage" in row["warning"]


def test_a_difference_beyond_what_seeds_do_has_no_warning(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    bases, pruned = [0.9, 0.905, 0.895], [0.7, 0.71, 0.69]
    repeated(store, "base", bases)
    repeated(store, "pruned", pruned, PRUNE)
    repeated(store, "slight", [0.899, 0.905, 0.891], [Step("slight")])
    views = open_views(tmp_path)

    damaged, slight = one_seed_warning(views, ["pruned0", "slight0"], "base0").to_pylist()

    assert damaged["warning"] is None
    assert damaged["seed_p"] == pytest.approx(stats.ttest_ind(pruned, bases, equal_var=False).pvalue)
    assert damaged["mean_difference"] == pytest.approx(-0.2)
    pooled = np.sqrt((np.var(bases, ddof=1) + np.var(pruned, ddof=1)) / 2)
    assert damaged["seed_difference"] == pytest.approx(stats.t.ppf(0.975, 4) * pooled * np.sqrt(2))
    assert slight["warning"] == "Other seeds alone explain this difference."


def test_what_was_repeated_speaks_for_what_was_not(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    repeated(store, "other", [0.8, 0.81, 0.79, 0.8], [Step("other")])
    repeated(store, "base", [0.9])
    repeated(store, "pruned", [0.895], PRUNE)
    repeated(store, "broken", [0.5], [Step("broken")])

    pruned, broken = warnings_of(open_views(tmp_path), ["pruned0", "broken0"], "base0")

    taken = "One seed of the model or the base: it is taken to vary as much as what was repeated."
    assert pruned == f"Other seeds alone explain this difference. {taken}"
    assert broken == taken


def test_a_difference_that_other_instances_explain_is_marked(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    labels = [0] * 40
    for model_id, wrong in (("base", 4), ("close", 5), ("far", 30)):
        p = answers([1] * wrong + [0] * (40 - wrong))
        steps = [] if model_id == "base" else [Step(model_id)]
        metrics = {"accuracy": 1 - wrong / 40}
        add_model(store, model_id, steps=steps, labels=labels, probabilities=p, metrics=metrics)

    close, far = one_seed_warning(open_views(tmp_path), ["close", "far"], "base").to_pylist()

    assert close["warning"].startswith("Another sample of instances alone explains this difference.")
    assert (close["sampling_low"], close["sampling_high"]) == (pytest.approx(-3 / 40), 0)
    assert far["sampling_high"] < 0
    assert "instances" not in far["warning"]


def test_other_metrics_are_judged_by_their_intervals(tmp_path: Path) -> None:
    store = new_store(tmp_path, directions={"loss": "lower"})
    add_model(store, "base", metrics={"loss": (1.0, 0.9, 1.2)})
    add_model(store, "child", steps=PRUNE, metrics={"loss": (1.3, 1.2, 1.5)})
    add_model(store, "bare", steps=[Step("bare")], metrics={"loss": 1.5})

    child, bare = one_seed_warning(open_views(tmp_path), ["child", "bare"], "base", "loss").to_pylist()

    assert child["sampling_low"] == pytest.approx(0.3 - np.hypot(0.1, 0.2))
    assert child["sampling_high"] == pytest.approx(0.3 + np.hypot(0.2, 0.1))
    assert bare["sampling_low"] is None


def test_seeds_that_agree_to_the_last_digit_leave_nothing_to_chance(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    repeated(store, "base", [0.9, 0.9])
    repeated(store, "pruned", [0.8, 0.8], PRUNE)

    row = one_seed_warning(open_views(tmp_path), ["pruned0"], "base0").to_pylist()[0]

    assert (row["seed_std"], row["seed_p"], row["warning"]) == (0, None, None)


def test_what_was_not_measured_says_so(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    repeated(store, "base", [0.9])
    add_model(store, "bare", steps=PRUNE)
    views = open_views(tmp_path)

    with pytest.raises(NotComparableError, match=r"has the metric 'f1'\. Metrics of this store: acc"):
        noise_floor(views, "f1")
    with pytest.raises(NotComparableError, match="bare has no accuracy"):
        one_seed_warning(views, ["bare"], "base0")
    with pytest.raises(NotComparableError, match="no model is named"):
        one_seed_warning(views, ["base0"], "base0")
