"""What a user has chosen, kept in the page's address so that a link shows the same thing to someone else."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode

import param

ID_DIGITS: Final = 10
"""Digits of a model's identity in the address: enough to tell millions of models apart."""

KINDS: Final = ("flipped", "lost", "gained", "disagree", "wrong", "all")
ORDERS: Final = ("change", "loss", "instance")


class State(param.Parameterized):
    """The choices of one session. Empty text means: not chosen, take the default."""

    page = param.String("overview", doc="Name of the page shown.")
    selection = param.List([], item_type=str, doc="model_id of the selected models, in order of choice.")
    base = param.String("", doc="model_id of the model that others are compared with.")
    arrange: Any = param.Selector(default="operation", objects=["operation", "step"], doc="What a map column means.")
    colour = param.String("", doc="Metric shown as colour.")
    size = param.String("", doc="Metric shown as size.")
    x = param.String("", doc="Metric on the scatterplot's x axis.")
    y = param.String("", doc="Metric on the scatterplot's y axis.")
    log_x = param.Boolean(False, doc="Logarithmic x axis.")
    log_y = param.Boolean(False, doc="Logarithmic y axis.")
    only: Any = param.Selector(default="flipped", objects=list(KINDS), doc="Kind of instances.")
    label = param.String("", doc="Class that instances are shown of; empty for all.")
    sort: Any = param.Selector(default="change", objects=list(ORDERS), doc="Order of the instances.")
    offset = param.Integer(0, bounds=(0, None), doc="First instance shown.")
    layers = param.String("", doc="Regular expression over module paths.")
    layer = param.String("", doc="Module path whose weights are drawn; empty for the whole model.")

    def __init__(self, **choices: Any) -> None:
        super().__init__(**choices)  # type: ignore[no-untyped-call] # param's

    def query(self, **instead: Any) -> str:
        """The choices that differ from their defaults, as the query part of an address with its `?`.

        Args:
            instead: Choices that replace those made.
        """
        chosen = {}
        for name in CHOICES:
            value = instead.get(name, getattr(self, name))
            if value != self.param[name].default:
                chosen[name] = _write(name, value)
        return "?" + urlencode(chosen, quote_via=quote, safe=",") if chosen else ""

    def read(self, query: str, known: dict[str, str]) -> None:
        """Take the choices from the query part of an address; what it leaves out goes back to its default.

        Args:
            query: With or without its `?`.
            known: model_id by its first `ID_DIGITS` digits. Unknown models and impossible values are left out.
        """
        given = dict(parse_qsl(query.removeprefix("?")))
        self.param.update(**{name: _read(self.param[name], given.get(name), known) for name in CHOICES})


CHOICES: Final = tuple(name for name in State.param if name != "name")
"""Names of everything that can be chosen."""


def short(model_id: str) -> str:
    """A model's identity as the address holds it."""
    return model_id[:ID_DIGITS]


def _write(name: str, value: Any) -> str:
    if name == "selection":
        return ",".join(short(id) for id in value)
    if name == "base":
        return short(value)
    return str(int(value)) if isinstance(value, bool) else str(value)


def _read(parameter: param.Parameter[Any], text: str | None, known: dict[str, str]) -> Any:
    if text is None:
        return parameter.default
    if parameter.name == "selection":
        return [known[part] for part in dict.fromkeys(text.split(",")) if part in known]
    if parameter.name == "base":
        return known.get(text, "")
    if isinstance(parameter, param.Boolean):
        return text == "1"
    if isinstance(parameter, param.Integer):
        return int(text) if text.isdecimal() else parameter.default
    if isinstance(parameter, param.Selector):
        return text if text in parameter.objects else parameter.default
    return text
