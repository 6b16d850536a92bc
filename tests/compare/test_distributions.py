from pathlib import Path

import numpy as np
import pytest

from cc_ray.compare.layers.distributions import BINS, weight_distribution
from cc_ray.errors import ModelNotFoundError
from cc_ray.views import Views, open_views
from tests.benchmarks.make_store import make_store


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Views:
    root: Path = tmp_path_factory.mktemp("distributions") / "store"
    make_store(root, models=6, instances=20)
    return open_views(root)


def models(views: Views) -> list[str]:
    ids: list[str] = views.sql("SELECT model_id FROM models ORDER BY created_at")["model_id"].to_pylist()
    return ids


def test_every_non_zero_weight_is_counted_once(views: Views) -> None:
    for id in models(views):
        found = weight_distribution(views, [id])
        weights = views.sql(
            "SELECT sum(parameters - zeros)::DOUBLE FROM layers WHERE model_id = ? AND tensor = 'weight'", [id]
        )

        assert np.isclose(sum(found["count"].to_pylist()), weights.column(0)[0].as_py(), rtol=0.01)
        assert np.isclose(sum(found["share"].to_pylist()), 1)


def test_models_share_their_bins(views: Views) -> None:
    ids = models(views)[:2]

    found = weight_distribution(views, ids).to_pandas()

    first, second = (found[found["model_id"] == id]["low"].tolist() for id in ids)
    assert first == second
    assert len(first) == BINS


def test_a_module_counts_what_is_below_it_and_nothing_else(views: Views) -> None:
    whole = sum(weight_distribution(views, models(views)[:1])["count"].to_pylist())
    layers = views.sql(
        "SELECT DISTINCT split_part(layer, '.', 1) AS part FROM layers WHERE model_id = ?", models(views)[:1]
    )

    parts = [
        sum(weight_distribution(views, models(views)[:1], part)["count"].to_pylist())
        for part in layers["part"].to_pylist()
    ]

    assert np.isclose(sum(parts), whole)


def test_an_unknown_module_has_no_rows_and_an_unknown_model_is_an_error(views: Views) -> None:
    assert len(weight_distribution(views, models(views)[:1], "nowhere")) == 0
    with pytest.raises(ModelNotFoundError):
        weight_distribution(views, ["0" * 20])
