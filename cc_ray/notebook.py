"""The door for notebooks: the questions of `cc_ray.compare` over one store, with charts on demand.

Answers are Arrow tables; `.to_pandas()` makes a data frame of one. A store that grows is asked anew each time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cc_ray import compare
from cc_ray.views import Views, open_views

if TYPE_CHECKING:
    import holoviews as hv
    import pyarrow as pa


class Notebook:
    """One store, open for questions.

    Args:
        store: The store's folder; None takes `CC_RAY_STORE`, else `./cc-ray-store`.

    Raises:
        StoreError: If the folder is not a store.
    """

    def __init__(self, store: Path | str | None = None) -> None:
        self._views = open_views(Path(store or os.environ.get("CC_RAY_STORE") or "cc-ray-store"))

    @property
    def views(self) -> Views:
        """The store as it is now, for the functions of `cc_ray.compare`."""
        self._views = self._views.refreshed()
        return self._views

    def sql(self, query: str, parameters: Sequence[Any] | None = None) -> pa.Table:
        """Ask in SQL over the documented views.

        Raises:
            QueryError: If the query cannot be answered.
        """
        return self.views.sql(query, parameters)

    def models(self) -> pa.Table:
        """A row per model with its metrics."""
        return compare.models(self.views)

    def show(self, model: str) -> compare.ModelCard:
        """One model: lineage, metrics, findings, difference to parent and base.

        Raises:
            ModelNotFoundError: If no model answers to the name.
        """
        views = self.views
        return compare.show(views, compare.resolve(views, model))

    def front(self, objectives: Sequence[str] = ("accuracy", "size_bytes")) -> pa.Table:
        """The models with their values and whether each is on the trade-off front."""
        return compare.front(self.views, objectives)

    def compare(self, models: Iterable[str], base: str | None = None) -> Answer:
        """Compare models with a base (the first of them if none is named).

        Raises:
            ModelNotFoundError: If no model answers to a name.
            NotComparableError: If they solve different tasks.
        """
        views = self.views
        ids = [compare.resolve(views, model) for model in models]
        return Answer(**vars(compare.compare(views, ids, compare.resolve(views, base) if base else None)))

    def trade_off(self, x: str = "size_bytes", y: str = "accuracy") -> hv.Overlay:
        """Scatterplot of two metrics with the trade-off front."""
        from dashboards import elements

        return elements.trade_off(self.views, x, y)

    def model_map(self, colour: str = "accuracy", size: str = "size_bytes") -> hv.Overlay:
        """The lineage as a map, coloured and sized by two metrics."""
        from dashboards import elements

        return elements.model_map(self.views, colour=colour, size=size)


@dataclass(frozen=True)
class Answer(compare.Comparison):
    """A comparison as tables, and as a chart on demand."""

    def holoviews(self) -> hv.Overlay:
        """Change of accuracy by class against the base."""
        from dashboards import elements

        return elements.per_class(self.classes)
