from pathlib import Path

import pytest

from cc_ray.compare.recipes.lineage import ancestors, children, descendants, parents, resolve, siblings
from cc_ray.errors import ModelNotFoundError
from cc_ray.recipe import Step
from cc_ray.views import Views, open_views
from tests.compare.small import add_model, new_store


@pytest.fixture
def tree(tmp_path: Path) -> Views:
    """root00 -> left00 -> leaf00, root00 -> right0."""
    store = new_store(tmp_path)
    prune, tune = Step("prune", {"sparsity": 0.5}), Step("tune")
    add_model(store, "root00")
    add_model(store, "left00", parent="root00", steps=[prune])
    add_model(store, "right0", parent="root00", steps=[tune])
    add_model(store, "leaf00", parent="left00", steps=[prune, tune])
    store.publish("step", "donor", {"lineage": [{"child": "leaf00", "parent": "right0", "role": "donor"}]})
    return open_views(tmp_path)


def test_relatives_come_oldest_first_and_without_those_asked_for(tree: Views) -> None:
    assert parents(tree, ["leaf00", "right0"]) == ["root00", "left00"]
    assert children(tree, ["root00"]) == ["left00", "right0"]
    assert ancestors(tree, ["leaf00"]) == ["root00", "left00"]
    assert descendants(tree, ["root00"]) == ["left00", "right0", "leaf00"]


def test_a_base_model_has_no_parents_and_nothing_has_no_relatives(tree: Views) -> None:
    assert parents(tree, ["root00"]) == []
    assert descendants(tree, []) == []


def test_siblings_have_a_parent_in_common_and_exclude_those_asked_for(tree: Views) -> None:
    assert siblings(tree, ["left00"]) == ["right0"]
    assert siblings(tree, ["left00", "right0"]) == siblings(tree, ["root00"]) == siblings(tree, ["leaf00"]) == []


def test_relatives_of_an_unknown_model_are_an_error(tree: Views) -> None:
    with pytest.raises(ModelNotFoundError, match="did you mean 'leaf00'"):
        parents(tree, ["leaf01"])


@pytest.mark.parametrize("text", ["left00", "left", "net → prune(sparsity=0.5)"])
def test_a_model_is_found_by_identity_prefix_or_name(tree: Views, text: str) -> None:
    assert resolve(tree, text) == "left00"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lef", "no model 'lef': did you mean"),
        ("xxxxxxxx", "list them"),
        ("net → prune(sparsity=0.6)", "did you mean 'net → prune"),
    ],
)
def test_a_model_that_is_not_there_names_the_nearest(tree: Views, text: str, said: str) -> None:
    with pytest.raises(ModelNotFoundError, match=said.replace("(", r"\(")):
        resolve(tree, text)


def test_a_prefix_or_name_of_several_models_is_refused(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    for seed, model_id in enumerate(("same01", "same02")):
        add_model(store, model_id, seed=seed)
    views = open_views(tmp_path)

    for text in ("same", "net"):
        with pytest.raises(ModelNotFoundError, match="means 2 models: same01, same02"):
            resolve(views, text)


def test_an_empty_store_says_that_it_has_no_models(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no models yet"):
        resolve(open_views(new_store(tmp_path).root), "anything")


def test_edges_that_go_round_in_a_circle_lead_nowhere(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    prune = Step("prune")
    add_model(store, "one", parent="two", steps=[prune])
    add_model(store, "two", parent="one", steps=[prune, prune])
    add_model(store, "three", parent="two", steps=[prune, prune, prune])

    assert ancestors(open_views(tmp_path), ["three"]) == ["one", "two"]
