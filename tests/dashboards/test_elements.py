import holoviews as hv
import numpy as np
import pytest
from bokeh.document import Document

from cc_ray import compare
from cc_ray.store import Store
from cc_ray.views import open_views
from dashboards.elements import per_class, weight_histogram
from dashboards.model_map import PIECES, _rows_seen, model_map
from dashboards.snapshot import Snapshot
from dashboards.trade_offs import LEAST_PX, POINT_PX, _extent, trade_off


def drawn(element: hv.Overlay) -> None:
    """Make sure that Bokeh can draw it."""
    hv.renderer("bokeh").get_plot(element, doc=Document())


def children(snapshot: Snapshot) -> list[str]:
    return [id for id, row in snapshot.models.items() if row["parent"]]


@pytest.mark.parametrize("arrange", ["operation", "step"])
def test_the_map_has_a_node_a_model_and_an_edge_a_child(snapshot: Snapshot, arrange: str) -> None:
    found = model_map(snapshot.views, arrange=arrange, colour="accuracy", size="size_bytes")  # type: ignore[arg-type]

    edges, _, nodes, _, _ = found.values()
    assert list(nodes.dimension_values("model_id")) == list(snapshot.models)
    assert len(edges) == PIECES * len(children(snapshot))
    drawn(found)


@pytest.mark.parametrize("rows", [1, 38, 700])
def test_the_first_rows_labels_have_room_above_in_the_lowest_window(rows: int) -> None:
    low, high = _rows_seen(rows)

    assert 430 * high / (high - low) >= 14, "pixels, at 1024 x 768"
    assert low < 1 - rows


def test_very_many_points_are_small() -> None:
    assert (_extent(400), _extent(10_000)) == (POINT_PX, LEAST_PX)


def test_a_folded_sweep_is_one_node_with_its_models_side_by_side(snapshot: Snapshot) -> None:
    table = compare.sweeps(snapshot.views).to_pylist()
    sweep = table[0]["sweep"]
    members = [row["model_id"] for row in table if row["sweep"] == sweep]

    edges, _, nodes, handles, _ = model_map(snapshot.views, folded=[sweep], handles=True).values()

    found = dict(zip(nodes.dimension_values("model_id"), nodes.array(["column", "row"]).tolist(), strict=True))
    assert len({found[id][1] for id in members}) == 1
    assert [found[id][0] for id in members] == sorted(found[id][0] for id in members)
    assert sweep in handles.dimension_values("sweep")
    assert len(edges) == PIECES * (len(children(snapshot)) - len(members) + 1)


def test_what_is_not_shown_has_no_place_on_the_map_but_ancestors_have(snapshot: Snapshot) -> None:
    leaf = next(id for id, row in snapshot.models.items() if row["step_index"] == 2)

    edges, _, nodes, _, _ = model_map(snapshot.views, shown=[leaf]).values()

    placed = np.isfinite(nodes.dimension_values("column").astype(float))
    assert placed.sum() == 3
    assert len(edges) == 2 * PIECES


def test_fronts_of_groups_stand_beside_that_of_all(snapshot: Snapshot) -> None:
    beside, *_ = trade_off(snapshot.views, "size_bytes", "accuracy", groups="base").values()

    assert len(set(beside.dimension_values("colour"))) == 2
    drawn(trade_off(snapshot.views, "size_bytes", "accuracy", groups="operation", dim=True))


def test_the_front_is_of_the_models_asked_for(snapshot: Snapshot) -> None:
    ids = compare.passing(snapshot.views, at_least={"accuracy": 0.9})

    _, line, *_ = trade_off(snapshot.views, "size_bytes", "accuracy", ids=ids).values()

    front = compare.front(snapshot.views, ["size_bytes", "accuracy"], ids=ids).to_pylist()
    assert list(line.dimension_values("x"))[1:-1] == sorted(row["size_bytes"] for row in front if row["on_front"])


def test_the_map_needs_no_metric(snapshot: Snapshot) -> None:
    _, _, nodes, _, _ = model_map(snapshot.views).values()

    assert len(set(nodes.dimension_values("colour"))) == 1


def test_the_front_is_what_compare_says(snapshot: Snapshot) -> None:
    found = trade_off(snapshot.views, "size_bytes", "accuracy", "accuracy", size="size_bytes")

    _, line, _, dots, points = found.values()
    front = compare.front(snapshot.views, ["size_bytes", "accuracy"]).to_pylist()
    drawn_x = list(line.dimension_values("x"))
    assert drawn_x[1:-1] == sorted(row["size_bytes"] for row in front if row["on_front"])
    assert (drawn_x[0], drawn_x[-1]) == (drawn_x[1], max(row["size_bytes"] for row in snapshot.models.values()))
    assert sorted(dots.dimension_values("x")) == drawn_x[1:-1]
    assert list(points.dimension_values("y")) == [row["accuracy"] for row in snapshot.models.values()]
    drawn(found)


def test_a_metric_without_a_better_side_has_no_front(snapshot: Snapshot) -> None:
    _, line, bars, dots, _ = trade_off(snapshot.views, "sparsity", "accuracy").values()

    assert (len(line), len(bars), len(dots)) == (0, 0, 0)


def test_logarithmic_axes_draw(snapshot: Snapshot) -> None:
    drawn(trade_off(snapshot.views, "size_bytes", "loss", log_x=True, log_y=True))


def test_classes_show_points_of_change(snapshot: Snapshot) -> None:
    ids = children(snapshot)[:3]
    classes = compare.behaviours_by_class(snapshot.views, ids, snapshot.models[ids[0]]["root"])

    cells, _ = per_class(classes).values()

    assert len(cells) == len(classes)
    assert np.allclose(sorted(cells.dimension_values("points")), sorted(100 * classes["difference"].to_numpy()))
    drawn(per_class(classes, names=dict.fromkeys(ids, "a model")))


def test_weights_of_several_models_share_their_bins(snapshot: Snapshot) -> None:
    ids = children(snapshot)[:2]

    found = weight_histogram(snapshot.views, {id: id[:4] for id in ids})

    base, other = found.values()
    assert list(base.dimension_values("weight")) == list(other.dimension_values("weight"))
    drawn(found)


def test_an_empty_store_has_an_empty_map(tmp_path_factory: pytest.TempPathFactory) -> None:
    store = Store(tmp_path_factory.mktemp("empty") / "store", create=True)

    edges, _, nodes, _, _ = model_map(open_views(store.root)).values()

    assert (len(edges), len(nodes)) == (0, 0)
