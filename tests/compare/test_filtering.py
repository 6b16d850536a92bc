"""Which models are looked at."""

from pathlib import Path

import pytest

from cc_ray.compare.filtering import metric_histogram, passing
from cc_ray.errors import NotComparableError
from cc_ray.recipe import Step
from cc_ray.views import Views, open_views
from tests.compare.small import add_model, new_store

PRUNED = Step("magnitude_pruning", {"sparsity": 0.5})
QUANTIZED = Step("quantize_weights", {"bits": 4})


@pytest.fixture
def views(tmp_path: Path) -> Views:
    """A base, a pruned child, its quantized child without a size, and another base without any metric."""
    store = new_store(tmp_path, directions={"accuracy": "higher", "size_bytes": "lower"})
    add_model(store, "base00", metrics={"accuracy": 0.9, "size_bytes": 100.0})
    add_model(store, "pruned", parent="base00", steps=[PRUNED], metrics={"accuracy": 0.8, "size_bytes": 60.0})
    add_model(store, "tiny00", parent="pruned", steps=[PRUNED, QUANTIZED], metrics={"accuracy": 0.5})
    add_model(store, "other0", base="vit")
    return open_views(tmp_path)


def test_without_a_condition_every_model_passes(views: Views) -> None:
    assert sorted(passing(views)) == ["base00", "other0", "pruned", "tiny00"]


def test_the_ends_of_an_interval_belong_to_it(views: Views) -> None:
    assert sorted(passing(views, at_least={"accuracy": 0.8}, at_most={"accuracy": 0.9})) == ["base00", "pruned"]


def test_bounds_of_several_metrics_must_all_be_kept(views: Views) -> None:
    assert passing(views, at_least={"accuracy": 0.6}, at_most={"size_bytes": 60}) == ["pruned"]


def test_a_model_without_the_metric_fails_its_bound(views: Views) -> None:
    assert "tiny00" not in passing(views, at_least={"size_bytes": 0})


def test_what_nothing_keeps_to_lets_nothing_pass(views: Views) -> None:
    assert passing(views, at_least={"accuracy": 2}) == []


def test_an_unknown_metric_is_refused_with_the_nearest(views: Views) -> None:
    with pytest.raises(NotComparableError, match="did you mean 'accuracy'"):
        passing(views, at_least={"acuracy": 0})


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("PRUNING", ["pruned", "tiny00"]),
        ("sparsity=0.5", ["pruned", "tiny00"]),
        ("bits=4 magnitude", ["tiny00"]),
        ("vit", ["other0"]),
        ("base0", ["base00"]),
        ("nothing", []),
    ],
)
def test_all_words_are_searched_in_the_whole_recipe(views: Views, search: str, found: list[str]) -> None:
    assert sorted(passing(views, search=search)) == found


def test_a_histogram_counts_all_models_and_those_asked_for(views: Views) -> None:
    found = metric_histogram(views, "accuracy", bins=4, ids=["base00", "other0"])

    assert found["count"].to_pylist() == [1, 0, 0, 2]
    assert found["kept"].to_pylist() == [0, 0, 0, 1]
    assert found["low"][0].as_py() == 0.5
    assert found["high"][3].as_py() == 0.9


def test_few_whole_numbers_have_a_bin_each(tmp_path: Path) -> None:
    store = new_store(tmp_path, directions={"balance": "none"})
    for place, value in enumerate((-1.0, 0.0, 0.0, 1.0)):
        add_model(store, f"model{place}", seed=place, metrics={"balance": value})

    assert metric_histogram(open_views(tmp_path), "balance")["count"].to_pylist() == [1, 2, 1]


def test_one_value_is_one_bin_and_none_is_no_bin(views: Views) -> None:
    assert metric_histogram(views, "accuracy", bins=1)["count"].to_pylist() == [3]
    with pytest.raises(NotComparableError, match="0 bins"):
        metric_histogram(views, "accuracy", bins=0)


def test_a_metric_that_no_model_has_is_an_empty_histogram(tmp_path: Path) -> None:
    new_store(tmp_path)

    assert metric_histogram(open_views(tmp_path), "accuracy").num_rows == 0
