import json
import re

from bokeh.core.json_encoder import serialize_json
from bokeh.core.serialization import Serializer
from bokeh.document import Document
from bokeh.models import ColumnDataSource
from holoviews.plotting.bokeh import plot as holoviews_plots

from dashboards import figures
from dashboards.casts import Cast
from dashboards.figures import Plot
from dashboards.model_map import model_map
from dashboards.snapshot import Snapshot


def plot(snapshot: Snapshot) -> Plot:
    columns = {"model_id": list(snapshot.models), "tooltip": [""] * len(snapshot.models)}
    return figures.render(model_map(snapshot.views, colour="accuracy", handles=True), columns)


def kinds(found: Plot) -> list[str]:
    """What a figure consists of."""
    written = serialize_json(Serializer(deferred=False).encode(found.figure))
    return sorted(re.findall(r'"type":"object","name":"(\w+)"', written))


def ids(found: Plot) -> set[str]:
    return {model.id for model in found.figure.references()}


def test_a_copy_is_the_plot_again(snapshot: Snapshot) -> None:
    original = plot(snapshot)
    whole, data = kinds(original), dict(original.source.data)

    copy = Cast(original).copy()

    assert kinds(copy) == whole
    assert list(copy.source.data) == list(data)
    assert all(copy.source.data[name] is column for name, column in data.items())
    assert copy.handles.data_source.data["sweep"] is not None
    assert copy.points.view.filter is copy.passing
    assert copy.axes == ("column", "row")
    assert copy.ring in set(copy.figure.select({"type": ColumnDataSource}))


def test_a_copy_is_sent_as_it_is_while_holoviews_fills_another_plot(snapshot: Snapshot) -> None:
    copy = Cast(plot(snapshot)).copy()
    written = serialize_json(Serializer(deferred=False).encode(copy.points.glyph))

    # What HoloViews does for as long as it fills a plot, in another thread.
    with holoviews_plots.validate(False):
        meanwhile = serialize_json(Serializer(deferred=False).encode(copy.points.glyph))

    assert meanwhile == written and '"type":"value"' in written


def test_copies_share_no_model(snapshot: Snapshot) -> None:
    cast = Cast(plot(snapshot))
    one, two = cast.copy(), cast.copy()

    one.source.data = {**one.source.data, "size": [1.0] * len(snapshot.models)}
    document = Document()
    document.add_root(one.figure)
    document.add_root(two.figure)

    assert not ids(one) & ids(two)
    assert list(two.source.data["size"]) != [1.0] * len(snapshot.models)
    assert json.loads(serialize_json(document.to_json(deferred=False)))["roots"]


def test_a_copy_in_stock_is_given_out_once(snapshot: Snapshot) -> None:
    cast = Cast(plot(snapshot))

    cast.restock()
    cast.restock()
    one, two = cast.copy(), cast.copy()

    assert kinds(one) == kinds(two)
    assert not ids(one) & ids(two)
