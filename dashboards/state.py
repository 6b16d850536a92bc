"""What a user has chosen, kept in the page's address so that a link shows the same thing to someone else."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode

import param

ID_DIGITS: Final = 10
"""Digits of a model's identity in the address: enough to tell millions of models apart."""

PARTS: Final = (
    "summary", "classes", "flips", "instances", "exemplars", "slices", "calibration", "texts", "tokens",
)  # fmt: skip
MEASURES: Final = (
    "correct", "confidence", "true_probability", "loss", "margin", "entropy", "base_class_probability", "agree", "kl",
    "mse",
)  # fmt: skip
KINDS: Final = ("flipped", "lost", "gained", "disagree", "wrong", "all")
ORDERS: Final = ("change", "loss", "instance")
LAYER_VIEWS: Final = ("modules", "heat", "sensitivity", "similarity")
VISUALS: Final = ("sparsity", "weights", "activations")
PROBE_SPLITS: Final = ("evaluation", "calibration")
STUDY_VIEWS: Final = ("trials", "log", "cluster")
TRIALS: Final = ("all", "running", "pending", "finished", "failed", "stopped")
SIDES: Final = ("details", "filter", "table", "insights", "compress")
GROUPS: Final = ("", "operation", "base", "study")
TRADE_OFFS: Final = ("front", "progress", "recipes")


class State(param.Parameterized):
    """The choices of one session. Empty text means: not chosen, take the default.

    Args:
        store: Name of the store that they are made of, which the address begins with; empty for the first one.
        choices: What is chosen already.
    """

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
    part: Any = param.Selector(default="summary", objects=list(PARTS), doc="Part of the behaviours shown.")
    measure: Any = param.Selector(default="correct", objects=list(MEASURES), doc="What is compared of single answers.")
    kind: Any = param.Selector(
        default="difference", objects=["value", "difference", "absolute", "ratio"], doc="How it is taken."
    )
    grouped: Any = param.Selector(default="class", objects=["class", "slice"], doc="What the measure is averaged over.")
    kept = param.String("", doc="Intervals of the measure in which instances lie, by model.")
    where = param.String("", doc="Condition that instances fulfil.")
    rank = param.String("", doc="Model whose values give the order, and which way.")
    focus = param.String("", doc="model_id of the model that is looked at alone.")
    flow: Any = param.Selector(default="outcome", objects=["outcome", "class"], doc="What flows from base to model.")
    pair = param.String("", doc="The two models whose flips are shown.")
    layers = param.String("", doc="Regular expression over module paths.")
    layer = param.String("", doc="Module path whose weights are drawn; empty for the whole model.")
    layer_view: Any = param.Selector(default="modules", objects=list(LAYER_VIEWS), doc="View of the Layers page.")
    visual: Any = param.Selector(default="sparsity", objects=list(VISUALS), doc="What rows of modules show.")
    layer_sort = param.String("", doc="Digits of the model that modules are sorted by; with - the least first.")
    heat = param.String("sparsity", doc="What cells of the heat map of layers show.")
    spread: Any = param.Selector(default="all", objects=["all", "selected"], doc="Models of the heat map.")
    model_search = param.String("", doc="Text in the names of the heat map's models.")
    model_sort = param.String("", doc="Module path that models are sorted by; with - the least first.")
    probed = param.String("", doc="Series of sensitivity shown: digits of its model, and its number.")
    probe_metric = param.String("", doc="Metric whose sensitivity is shown.")
    probe_split: Any = param.Selector(
        default="evaluation", objects=list(PROBE_SPLITS), doc="Split that sensitivity was measured on."
    )
    other = param.String("", doc="Digits of the model whose layer is looked at beside the base's.")
    study = param.String("", doc="study_id of the study shown; empty for the newest, one that runs first.")
    trials: Any = param.Selector(default="all", objects=list(TRIALS), doc="State of the trials shown.")
    study_view: Any = param.Selector(default="trials", objects=list(STUDY_VIEWS), doc="What is shown of the study.")
    sql = param.String("", doc="The query that was asked last.")
    side: Any = param.Selector(default="details", objects=list(SIDES), doc="Tab beside the plots of the overview.")
    filters = param.String("", doc="Intervals of metrics that models must lie in: metric:low..high, several by ;.")
    search = param.String("", doc="Words that the recipes of models must hold.")
    columns = param.String("", doc="Metrics of the table of models, by comma.")
    order = param.String("", doc="Metric that the table is sorted by, or name; with - the greatest first.")
    trade_offs: Any = param.Selector(default="front", objects=list(TRADE_OFFS), doc="View of the trade-offs.")
    groups: Any = param.Selector(default="", objects=list(GROUPS), doc="What has a trade-off front of its own.")
    fold: Any = param.Selector(default="auto", objects=["auto", "yes", "no"], doc="Whether sweeps are one node each.")
    unfolded = param.String("", doc="Digits of the sweeps that are unfolded, by comma.")
    shown: Any = param.Selector(default="all", objects=["all", "passing", "front"], doc="Models on the map.")
    dim = param.Boolean(False, doc="Dim the models that another one beats.")

    def __init__(self, store: str = "", **choices: Any) -> None:
        super().__init__(**choices)  # type: ignore[no-untyped-call] # param's
        self.store = store

    def query(self, **instead: Any) -> str:
        """The store and the choices that differ from their defaults, as the query part of an address with its `?`.

        Args:
            instead: Choices that replace those made.
        """
        return self.with_store(self.choices(**instead))

    def with_store(self, choices: str) -> str:
        """The query part of an address that holds choices, with the name of the store."""
        if not self.store:
            return choices
        return f"?store={quote(self.store)}" + (f"&{choices.removeprefix('?')}" if choices else "")

    def choices(self, **instead: Any) -> str:
        """As `query`, without the store."""
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


MODELS: Final = ("base", "focus")
"""Choices of one model."""
CHOICES: Final = tuple(name for name in State.param if name != "name")
"""Names of everything that can be chosen."""


def short(model_id: str) -> str:
    """A model's identity as the address holds it."""
    return model_id[:ID_DIGITS]


def _write(name: str, value: Any) -> str:
    if name == "selection":
        return ",".join(short(id) for id in value)
    if name in MODELS:
        return short(value)
    return str(int(value)) if isinstance(value, bool) else str(value)


def _read(parameter: param.Parameter[Any], text: str | None, known: dict[str, str]) -> Any:
    if text is None:
        return parameter.default
    if parameter.name == "selection":
        return [known[part] for part in dict.fromkeys(text.split(",")) if part in known]
    if parameter.name in MODELS:
        return known.get(text, "")
    if isinstance(parameter, param.Boolean):
        return text == "1"
    if isinstance(parameter, param.Integer):
        return int(text) if text.isdecimal() else parameter.default
    if isinstance(parameter, param.Selector):
        return text if text in parameter.objects else parameter.default
    return text
