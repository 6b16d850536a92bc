from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from cc_ray.compare import Differences, differences
from cc_ray.errors import ModelNotFoundError
from cc_ray.recipe import Recipe, Step
from cc_ray.views import open_views
from tests.compare.small import model_row, new_store


def prune(sparsity: float, scope: str = "global") -> Step:
    return Step("prune", {"sparsity": sparsity, "scope": scope})


def quantize(bits: int) -> Step:
    return Step("quantize", {"bits": bits})


def tune(epochs: int = 1) -> Step:
    return Step("tune", {"epochs": epochs})


CALIBRATE = Step("calibrate")


def of(path: Path, *models: Recipe | Sequence[Step]) -> Differences:
    """The differences of these models, all of which stand in one store."""
    recipes = [model if isinstance(model, Recipe) else Recipe("net", tuple(model)) for model in models]
    ids = [f"model-{index}" for index in range(len(recipes))]
    rows = [model_row(model_id, recipe) for model_id, recipe in zip(ids, recipes, strict=True)]
    store = new_store(path)
    store.publish("step", "all", {"models": rows})
    return differences(open_views(path), ids)


def variables(found: Differences) -> list[tuple[str, str, list[str]]]:
    return [(row["variable"], row["kind"], row["values"]) for row in found.variables.to_pylist()]


def test_children_that_differ_in_one_parameter(tmp_path: Path) -> None:
    found = of(tmp_path, [prune(0.5)], [prune(0.9)], [prune(0.1)])

    assert variables(found) == [("prune sparsity", "parameter", ["0.1", "0.5", "0.9"])]
    assert found.table["prune sparsity"].to_pylist() == [0.5, 0.9, 0.1]
    assert found.labels["prune sparsity"].to_pylist() == ["0.5", "0.9", "0.1"]


def test_a_node_and_its_children_are_one_variable(tmp_path: Path) -> None:
    found = of(tmp_path, [], [prune(0.9)], [prune(0.5)])

    assert variables(found) == [("prune sparsity", "parameter", ["none", "0.5", "0.9"])]
    assert found.table["prune sparsity"].to_pylist() == [None, 0.9, 0.5]


def test_numbers_are_ordered_by_size_and_not_as_text(tmp_path: Path) -> None:
    found = of(tmp_path, *[[quantize(bits)] for bits in (16, 8, 2, 4)])

    assert variables(found) == [("quantize bits", "parameter", ["2", "4", "8", "16"])]


def test_a_node_and_one_child_are_told_by_presence(tmp_path: Path) -> None:
    found = of(tmp_path, [], [CALIBRATE])

    assert variables(found) == [("calibrate", "presence", ["no", "yes"])]
    assert found.table["calibrate"].to_pylist() == [False, True]


def test_different_children_of_one_node_are_one_variable(tmp_path: Path) -> None:
    found = of(tmp_path, [], [prune(0.5)], [prune(0.9)], [quantize(8)], [CALIBRATE])

    assert len(found.variables) == 1
    labels = found.labels.column(2).to_pylist()
    assert labels == ["none", "prune 0.5", "prune 0.9", "quantize", "calibrate"]
    assert found.variables["kind"].to_pylist() == ["combination"]
    assert found.variables["values"].to_pylist()[0][0] == "none"
    assert found.table.column(2).to_pylist() == [None, *labels[1:]]


def test_what_is_cumulative_is_one_variable(tmp_path: Path) -> None:
    steps = [prune(0.5), tune(), quantize(8)]
    found = of(tmp_path, *[steps[:count] for count in range(4)])

    assert variables(found) == [
        (
            "prune & tune & quantize",
            "combination",
            ["none", "prune", "prune → tune", "prune → tune → quantize"],
        )
    ]


def test_what_always_varies_together_is_one_variable(tmp_path: Path) -> None:
    found = of(tmp_path, [prune(0.1), tune(1)], [prune(0.5), tune(2)], [prune(0.9), tune(4)])

    assert variables(found) == [
        (
            "prune sparsity & tune epochs",
            "combination",
            ["prune 0.1 → tune 1", "prune 0.5 → tune 2", "prune 0.9 → tune 4"],
        )
    ]


def test_a_grid_stays_a_grid(tmp_path: Path) -> None:
    found = of(tmp_path, *[[prune(s), quantize(b)] for s, b in product([0.1, 0.5, 0.9], [4, 8])])

    assert variables(found) == [
        ("prune sparsity", "parameter", ["0.1", "0.5", "0.9"]),
        ("quantize bits", "parameter", ["4", "8"]),
    ]


def test_two_parameters_of_one_operation_that_cross_stay_apart_beside_the_parent(tmp_path: Path) -> None:
    found = of(tmp_path, [], *[[prune(s, scope)] for s, scope in product([0.1, 0.5], ["global", "layer"])])

    assert [name for name, _, _ in variables(found)] == ["prune sparsity", "prune scope"]
    assert found.table["prune scope"].to_pylist() == [None, "global", "layer", "global", "layer"]


def test_a_whole_subtree_of_two_sweeps(tmp_path: Path) -> None:
    sweep = [[prune(s)] for s in (0.1, 0.5)]
    found = of(tmp_path, [], *sweep, *[[*steps, tune(e)] for steps in sweep for e in (1, 2)])

    assert variables(found) == [
        ("prune sparsity", "parameter", ["none", "0.1", "0.5"]),
        ("tune epochs", "parameter", ["none", "1", "2"]),
    ]


def test_repeated_operations_are_counted_from_the_root(tmp_path: Path) -> None:
    found = of(tmp_path, [tune(1), tune(1)], [tune(1), tune(5)], [tune(1)])

    assert variables(found) == [("tune 2 epochs", "parameter", ["none", "1", "5"])]


def test_the_order_of_operations_is_a_variable(tmp_path: Path) -> None:
    found = of(tmp_path, [prune(0.5), quantize(8)], [quantize(8), prune(0.5)])

    assert variables(found) == [("order", "order", ["prune → quantize", "quantize → prune"])]


def test_a_combination_tells_the_order_by_itself(tmp_path: Path) -> None:
    found = of(tmp_path, [], [prune(0.5)], [prune(0.5), tune()], [tune(), prune(0.5)])

    assert [values for _, _, values in variables(found)] == [["none", "prune", "prune → tune", "tune → prune"]]


def test_bases_and_seeds_are_variables(tmp_path: Path) -> None:
    found = of(tmp_path, *[Recipe(base, (), seed) for base, seed in product(["net", "vit"], [0, 1])])

    assert variables(found) == [("base", "base", ["net", "vit"]), ("seed", "seed", ["0", "1"])]
    assert found.table["seed"].to_pylist() == [0.0, 1.0, 0.0, 1.0]


def test_versions_of_an_operation_are_told_apart(tmp_path: Path) -> None:
    found = of(tmp_path, [Step("prune", {}, 1)], [Step("prune", {}, 2)])

    assert variables(found) == [("prune version", "parameter", ["1", "2"])]


def test_values_that_people_take_for_equal_are_equal(tmp_path: Path) -> None:
    assert variables(of(tmp_path, [prune(0.6)], [prune(0.6000000000000001)])) == []


@pytest.mark.parametrize("values", [(["*norm*"], ["head"]), ("global", None), (True, False), ({"a": 1}, {"a": 2})])
def test_parameters_of_any_type_are_told_apart(tmp_path: Path, values: tuple[Any, Any]) -> None:
    found = of(tmp_path, *[[Step("restore", {"include": value})] for value in values])

    assert found.variables["distinct"].to_pylist() == [2]


def test_one_model_and_none_have_no_differences(tmp_path: Path) -> None:
    found = of(tmp_path, [prune(0.5)])

    assert found.variables.num_rows == 0
    assert found.table.column_names == ["model_id", "name"]
    assert differences(open_views(tmp_path), []).table.num_rows == 0


def test_an_unknown_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError):
        differences(open_views(new_store(tmp_path).root), ["nobody"])


def test_any_selection_has_an_answer_that_tells_its_models_apart(tmp_path: Path) -> None:
    choices: list[list[Step]] = [[], [prune(0.1)], [prune(0.9, "layer")], [quantize(4)], [CALIBRATE], [tune(), tune(2)]]
    recipes = [
        Recipe(base, (*first, *second)) for base in ("net", "vit") for first, second in product(choices, choices)
    ]
    different = list({str(recipe.to_json()): recipe for recipe in recipes}.values())

    found = of(tmp_path, *different)

    names = found.variables["variable"].to_pylist()
    rows = [tuple(row[name] for name in names) for row in found.labels.to_pylist()]
    assert len(set(rows)) == len(different)
    for row in found.variables.to_pylist():
        assert sorted(row["values"]) == sorted(set(found.labels[row["variable"]].to_pylist()))
        assert row["distinct"] == len(row["values"])


def test_a_single_number_needs_no_name_and_an_empty_list_says_nothing(tmp_path: Path) -> None:
    steps = [
        Step("prune", {"include": include, "sparsity": s}) for include, s in [([], 0.5), ([], 0.8), (["a", "b"], 0.3)]
    ]

    found = of(tmp_path, *[[step] for step in steps])

    assert found.variables["values"].to_pylist() == [["prune 0.5", "prune 0.8", "prune 0.3, include=a | b"]]
