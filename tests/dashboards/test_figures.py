from typing import Any

import numpy as np
import pytest
from bokeh.models import HoverTool, Line

from dashboards import figures
from dashboards.figures import Plot
from dashboards.marks import BESIDE
from dashboards.model_map import model_map
from dashboards.snapshot import Snapshot
from dashboards.theme import INK_2, SURFACE, contrast, token
from dashboards.trade_offs import front_columns, trade_off


def plot(snapshot: Snapshot, **choices: str) -> Plot:
    columns = {"model_id": list(snapshot.models), "tooltip": [""] * len(snapshot.models)}
    return figures.render(model_map(snapshot.views, **choices), columns)  # type: ignore[arg-type]


def view(plot: Plot) -> Any:
    """The part of the x axis that is shown."""
    return plot.figure.x_range


def test_a_row_of_points_is_a_model(snapshot: Snapshot) -> None:
    found = plot(snapshot, colour="accuracy")

    assert found.source.data["model_id"] == list(snapshot.models)
    assert len(found.source.data["size"]) == len(snapshot.models)


def test_new_colours_keep_the_figure_its_selection_and_its_zoom(snapshot: Snapshot) -> None:
    shown = plot(snapshot, colour="accuracy", size="size_bytes")
    shown.source.selected.indices = [2, 3]
    view(shown).start = 1.5

    figures.renew(shown, plot(snapshot), keep_view=True)

    assert len(set(shown.source.data.get("color", ["one"]))) == 1
    assert shown.source.selected.indices == [2, 3]
    assert view(shown).start == 1.5


def test_another_arrangement_is_shown_whole(snapshot: Snapshot) -> None:
    shown, fresh = plot(snapshot), plot(snapshot, arrange="step")
    end = view(fresh).end
    view(shown).end = 0.1

    figures.renew(shown, fresh, keep_view=False)

    assert view(shown).end == end
    assert shown.figure.xaxis[0].major_label_overrides == fresh.figure.xaxis[0].major_label_overrides


def test_plots_share_a_selection_and_a_ring_around_what_is_pointed_at(snapshot: Snapshot) -> None:
    columns = {"model_id": list(snapshot.models), "tooltip": [""] * len(snapshot.models)}
    scatter = figures.render(trade_off(snapshot.views, "size_bytes", "accuracy"), columns)
    plots = [plot(snapshot), scatter]
    plots[0].source.selected.indices = [2, 3]

    figures.link(plots)

    assert scatter.source.selected.indices == [2, 3]
    assert scatter.source.selected is plots[0].source.selected
    assert "change:indices" in plots[0].source.selected.js_property_callbacks
    pointing = [tool.callback for found in plots for tool in found.figure.tools if isinstance(tool, HoverTool)]
    assert [callback.name for callback in pointing if callback] == [figures.POINTING] * 2


@pytest.mark.parametrize("crowded", [False, True])
def test_the_front_is_seen_among_points_of_any_lightness(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch, crowded: bool
) -> None:
    monkeypatch.setattr("dashboards.trade_offs.CROWDED", 3 if crowded else 400)
    columns = {"model_id": list(snapshot.models), "tooltip": [""] * len(snapshot.models)}

    found = figures.render(trade_off(snapshot.views, "size_bytes", "accuracy"), columns)

    drawn: list[Any] = list(found.figure.renderers)
    line, edge = (one for one in drawn if isinstance(one.glyph, Line))
    dots = next(one for one in drawn if one.name == BESIDE)
    assert (line.glyph.line_color, edge.glyph.line_color) == (INK_2, SURFACE)
    assert edge.glyph.line_width > 2 * line.glyph.line_width
    assert edge.data_source is line.data_source
    levels = ("annotation", "overlay") if crowded else ("underlay", "glyph")
    assert (edge.level, line.level, dots.level) == (*levels, "overlay")
    for dark in (False, True):
        assert contrast(token("ink-2", dark=dark), token("surface", dark=dark)) > 4.5
    assert found.points is not dots


@pytest.mark.parametrize(("x", "y"), [("size_bytes", "accuracy"), ("accuracy", "size_bytes"), ("sparsity", "accuracy")])
@pytest.mark.parametrize("groups", ["", "base"])
def test_the_columns_of_a_front_are_those_that_are_drawn(snapshot: Snapshot, x: str, y: str, groups: str) -> None:
    ids = list(snapshot.models)[3:12]
    columns = {"model_id": list(snapshot.models), "tooltip": [""] * len(snapshot.models)}
    whole = figures.render(trade_off(snapshot.views, x, y, groups=groups), columns)
    part = figures.render(trade_off(snapshot.views, x, y, ids=ids, groups=groups), columns)

    figures.renew_first(whole, front_columns(snapshot.views, x, y, ids=ids, groups=groups))

    parts: list[tuple[Any, Any]] = list(zip(whole.figure.renderers[:4], part.figure.renderers[:4], strict=True))
    for shown, drawn in parts:
        for name, column in drawn.data_source.data.items():
            assert np.array_equal(np.asarray(shown.data_source.data[name]), np.asarray(column))
