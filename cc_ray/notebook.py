"""The door for notebooks: the questions of `cc_ray.compare` over one store, with charts on demand.

Answers are Arrow tables; `.to_pandas()` makes a data frame of one. A store that grows is asked anew each time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cc_ray import compare
from cc_ray.compare import catalogue
from cc_ray.errors import QueryError
from cc_ray.store import Store
from cc_ray.views import Views, open_views

if TYPE_CHECKING:
    import holoviews as hv
    import pyarrow as pa


class Notebook:
    """One store, open for questions and for models of one's own.

    Args:
        store: The store's folder or URL; None takes `CC_RAY_STORE`, else `./cc-ray-store`.
        create: Make it a store if it is not one yet.

    Raises:
        StoreError: If it is not a store.
    """

    def __init__(self, store: Path | str | None = None, *, create: bool = False) -> None:
        root = store or os.environ.get("CC_RAY_STORE") or "cc-ray-store"
        self._store = Store(root, create=create)
        self._views = open_views(root)

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

    def ask(self, question: str, *, table: str = "", **given: Any) -> pa.Table:
        """Any question of the catalogue, as `cc-ray ask` lists them.

            store.ask("calibration", ids=["my net"])
            store.ask("front", objectives=["accuracy", "size_bytes"], at_most={"size_bytes": 50_000})

        Args:
            question: Its name.
            table: Which table of an answer that has several; the first if left out.
            given: Parameters; models by name, identity or its first digits.

        Raises:
            CcRayError: If there is no such question or table, a parameter does not fit, or as the question says.
        """
        texts = {name: _texts(value) for name, value in given.items() if value is not None}
        tables = catalogue.question(question).ask(self.views, texts).tables
        if table and table not in tables:
            raise QueryError(f"'{question}' has no table '{table}': it has {', '.join(tables)}.")
        return tables[table or next(iter(tables))]

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

    def log_model(
        self,
        name: str,
        *,
        task: str,
        parent: str | None = None,
        operation: str = "",
        parameters: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float | tuple[float, float, float]] | None = None,
        predictions: object = None,
        model: object = None,
        seed: int = 0,
        class_names: Sequence[str] = (),
        others: Mapping[str, str] | None = None,
    ) -> str:
        """Write one model of your own script into the store; it is then compared like any other.

        The same content again changes nothing. All is checked before anything is written.

            store = cc_ray.open("my-store", create=True)
            store.log_model("my net", task="my task", metrics={"accuracy": 0.93})
            store.log_model(
                "my pruned net",
                task="my task",
                parent="my net",
                operation="my_pruning",
                parameters={"sparsity": 0.5},
                predictions={"label": labels, "probabilities": probabilities},
                model=net.state_dict(),
            )

        Args:
            name: The model's name within the task.
            task: What it solves; models of one task compare.
            parent: Name or identity of the model that it was made from.
            operation: How it was made from it.
            parameters: The operation's parameters, plain data.
            metrics: Values, or (value, low, high) with a 95 % interval; those that predictions or weights tell are
                taken from these instead.
            predictions: Predicted classes, (n,), or probabilities, (n, classes), in the order of the task's instances;
                or named columns (dictionary, data frame, Arrow table) `label`, `prediction`, `probabilities` or
                `logits`, `instance`. Labels are needed once per task.
            model: A torch module, or arrays or tensors by name: saved and measured tensor by tensor.
            seed: Seed that it was made with.
            class_names: What a label index means.
            others: Further models that it was made from, by role: teacher, donor.

        Returns:
            model_id

        Raises:
            CcRayError: If something does not fit, or another model of the task has the name.
        """
        from cc_ray.imports import script

        return script.log_model(
            self._store,
            name,
            task=task,
            parent=parent,
            operation=operation,
            parameters=parameters,
            metrics=metrics,
            predictions=predictions,
            model=model,
            seed=seed,
            class_names=class_names,
            others=others,
        )

    def trade_off(self, x: str = "size_bytes", y: str = "accuracy") -> hv.Overlay:
        """Scatterplot of two metrics with the trade-off front."""
        from dashboards import trade_offs

        return trade_offs.trade_off(self.views, x, y)

    def model_map(self, colour: str = "accuracy", size: str = "size_bytes") -> hv.Overlay:
        """The lineage as a map, coloured and sized by two metrics."""
        from dashboards.model_map import model_map

        return model_map(self.views, colour=colour, size=size)


def _texts(value: Any) -> list[str]:
    """A parameter as people would write it."""
    if isinstance(value, Mapping):
        return [f"{name}:{_range(held)}" for name, held in value.items()]
    return [str(value)] if isinstance(value, str) or not isinstance(value, Iterable) else [str(item) for item in value]


def _range(held: Any) -> str:
    return "..".join(map(str, held)) if isinstance(held, tuple) else str(held)


@dataclass(frozen=True)
class Answer(compare.Comparison):
    """A comparison as tables, and as a chart on demand."""

    def holoviews(self) -> hv.Overlay:
        """Change of accuracy by class against the base."""
        from dashboards import elements

        return elements.per_class(self.classes)
