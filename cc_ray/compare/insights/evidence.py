"""The queries that insights rest on: plain SQL over the documented views, with every id written out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def literal(text: str) -> str:
    """A text as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A column's name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def beside(model: str, other: str, columns: Mapping[str, str]) -> str:
    """Metrics of two models in one row.

    Args:
        model: model_id of the one.
        other: model_id of the other.
        columns: Column of `model_metrics` by its name in the answer; the other model's gets `other_` before it, and
            model - other gets `_change` behind it.
    """
    wanted = ", ".join(part for name, column in columns.items() for part in _both(name, identifier(column)))
    return (
        f"SELECT {wanted} FROM model_metrics AS own, model_metrics AS other "
        f"WHERE own.model_id = {literal(model)} AND other.model_id = {literal(other)}"
    )


def metrics_of(model: str, columns: Mapping[str, str]) -> str:
    """Metrics of one model in one row: column of `model_metrics` by its name in the answer."""
    wanted = ", ".join(f"{identifier(column)} AS {name}" for name, column in columns.items())
    return f"SELECT {wanted} FROM model_metrics WHERE model_id = {literal(model)}"


def answers(model: str, other: str, label: int | None = None) -> str:
    """Two models' answers to the same instances, counted: value, other_value, change, lost, gained, differing, n.

    Args:
        model: model_id of the one.
        other: model_id of the other, whose rights and wrongs are the measure.
        label: Only instances of this class.
    """
    only = "" if label is None else f" AND own.label = {label}"
    return (
        "SELECT avg(own.correct::INT) AS value, avg(other.correct::INT) AS other_value, "
        "(count_if(own.correct) - count_if(other.correct)) / count(*) AS change, "
        "count_if(other.correct AND NOT own.correct)::BIGINT AS lost, "
        "count_if(own.correct AND NOT other.correct)::BIGINT AS gained, "
        "count_if(own.prediction <> other.prediction) / count(*) AS differing, count(*) AS n "
        f"{_joined(model, other)}{only}"
    )


def lost_as(model: str, other: str, label: int, prediction: int) -> str:
    """Instances that only the other gets right: lost, those among them of a class, and those then called another."""
    return (
        "SELECT count(*) AS lost, "
        f"count_if(own.label = {label} AND own.prediction = {prediction})::BIGINT AS moved, "
        f"count_if(own.label = {label} AND own.prediction = {prediction}) / count(*) AS share, "
        f"count_if(own.label = {label})::BIGINT AS of_class "
        f"{_joined(model, other)} AND other.correct AND NOT own.correct"
    )


def lost_in(model: str, other: str, label: int) -> str:
    """Net losses against another model: all of them, those of one class, and that class's share of them."""
    change = "(other.correct::INT - own.correct::INT)"
    return (
        f"SELECT sum({change}) / count(*) AS loss, sum({change})::BIGINT AS net_lost, "
        f"(sum({change}) FILTER (own.label = {label}))::BIGINT AS class_lost, class_lost / net_lost AS share, "
        f"count(*) AS n {_joined(model, other)}"
    )


def slices(model: str, other: str, metric: str, slice_: str) -> str:
    """One metric of two models on a slice: value, other_value, change."""
    return (
        "SELECT own.value AS value, other.value AS other_value, own.value - other.value AS change "
        "FROM metrics AS own JOIN metrics AS other USING (metric, split, slice, device) "
        f"WHERE own.metric = {literal(metric)} AND own.slice = {literal(slice_)} "
        f"AND own.model_id = {literal(model)} AND other.model_id = {literal(other)}"
    )


def union(queries: Iterable[str]) -> str:
    """The rows of several queries of one row each, side by side."""
    return "SELECT * FROM " + ", ".join(f"({query})" for query in queries)


def _joined(model: str, other: str) -> str:
    return (
        "FROM predictions AS own JOIN predictions AS other USING (instance) "
        f"WHERE own.model_id = {literal(model)} AND other.model_id = {literal(other)}"
    )


def _both(name: str, column: str) -> tuple[str, str, str]:
    return (
        f"own.{column} AS {name}",
        f"other.{column} AS other_{name}",
        f"own.{column} - other.{column} AS {name}_change",
    )
