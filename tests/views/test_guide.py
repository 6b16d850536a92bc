from pathlib import Path

import pytest

from cc_ray.views import Views, open_views
from cc_ray.views.guide import Example, examples, sources
from tests.benchmarks.make_store import make_store


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Views:
    return open_views(make_store(tmp_path_factory.mktemp("guide") / "store", models=5, instances=40).root)


def test_every_name_of_the_guide_can_be_asked_with_the_columns_that_it_lists(views: Views) -> None:
    metrics = [row["metric"] for row in views.sql("SELECT metric FROM metric_definitions").to_pylist()]

    listed = {source.name: set(source.columns) for source in sources(metrics)}

    assert listed.keys() == set(views.sql("SHOW TABLES").column(0).to_pylist())
    for name, columns in listed.items():
        assert set(views.sql(f"SELECT * FROM {name} LIMIT 0").column_names) <= columns, name
    assert all(source.grain for source in sources())


@pytest.mark.parametrize("example", examples(), ids=lambda example: str(example.title))
def test_every_example_has_a_title_and_runs(views: Views, example: Example) -> None:
    assert not example.title.startswith("-")
    assert views.sql(example.query).num_columns > 1


def test_examples_are_those_of_the_folder() -> None:
    folder = Path(__file__).parents[2] / "cc_ray" / "views" / "examples"

    assert len(examples()) == len(list(folder.glob("*.sql"))) > 3
