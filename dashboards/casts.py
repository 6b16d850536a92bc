"""Plots that are made once and copied for every tab: HoloViews takes much longer to make one than Bokeh to copy it."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from bokeh.core.json_encoder import serialize_json
from bokeh.core.serialization import Deserializer, Serializer
from bokeh.models import ColumnDataSource
from bokeh.util.serialization import make_id

from dashboards.figures import Plot

_ID: Final = re.compile(r'(?<="id":)"(p\d+)"')


class Cast:
    """What copies of a plot are made from.

    Args:
        plot: In no document yet; it is used up.
    """

    def __init__(self, plot: Plot) -> None:
        sources: list[Any] = list(plot.figure.select({"type": ColumnDataSource}))
        # Apart from what is written: all copies have the same columns, which nobody changes in place.
        self._columns = [dict(source.data) for source in sources]
        for source in sources:
            source.data = {}
        parts = [plot.figure, plot.points, plot.ring, plot.handles, plot.passing]
        self._spare: list[Plot] = []
        self._written = serialize_json(Serializer(deferred=False).encode([parts, sources]))

    def copy(self) -> Plot:
        """A plot of its own, in no document yet: at once, where one is in stock."""
        return self._spare.pop() if self._spare else self._made()

    def restock(self) -> None:
        """Make a copy for the next tab, while nobody waits for it; by the thread that copies."""
        if not self._spare:
            self._spare.append(self._made())

    def _made(self) -> Plot:
        fresh: dict[str, str] = {}
        written = _ID.sub(lambda found: f'"{fresh.setdefault(found[1], str(make_id()))}"', self._written)
        parts: list[Any]
        parts, sources = Deserializer().deserialize(json.loads(written))
        for source, columns in zip(sources, self._columns, strict=True):
            source.data = dict(columns)
        return Plot(*parts)
