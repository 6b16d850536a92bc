"""The list of questions, from which the command line, the web and the notebook are made.

A question is a function whose signature and docstring say all: its parameters with kinds and meanings, and its answer.
To add one is to add a line to `QUESTIONS`.
"""

from __future__ import annotations

import difflib
import inspect
import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import pyarrow as pa

from cc_ray import compare
from cc_ray.compare.behaviour.pairing import PARENT, ROOT
from cc_ray.errors import ParameterError
from cc_ray.views import Views

TABLE: Final = "table"
"""Name of an answer's only table."""

_MODELS: Final = frozenset({"ids", "models", "compressed_ids", "base_ids"})
_MODEL: Final = frozenset({"base", "model", "other", "text", "by"})
_USUAL: Final[Mapping[str, str]] = {
    "ids": "Models: identities, first digits of them, or names.",
    "model": "A model: its identity, first digits of it, or its name.",
    "base": "The model that they are compared with; @parent or @base for each model's own.",
    "study": "Identity of a study.",
}
"""Meaning of parameters of which a docstring says nothing of its own."""
_TRUE: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class Kind(StrEnum):
    """What a parameter is, and so how it is written as text."""

    models = "models"
    """Several models, as `compare.resolve` takes them."""
    model = "model"
    """One model."""
    objectives = "objectives"
    """Metrics, or `metric:higher` and `metric:lower`."""
    bounds = "bounds"
    """`metric:number`, several of them."""
    ranges = "ranges"
    """`model:low..high`, several of them."""
    named = "named"
    """`name:text`, several of them."""
    texts = "texts"
    """Several texts."""
    integers = "integers"
    """Several whole numbers."""
    choice = "choice"
    """One of a few words."""
    text = "text"
    """Any text."""
    integer = "integer"
    """A whole number."""
    number = "number"
    """A number."""
    flag = "flag"
    """True or false."""


SEVERAL: Final = frozenset(
    {Kind.models, Kind.objectives, Kind.bounds, Kind.ranges, Kind.named, Kind.texts, Kind.integers}
)


@dataclass(frozen=True)
class Parameter:
    """One parameter of a question."""

    name: str
    kind: Kind
    required: bool
    default: Any = None
    choices: tuple[str, ...] = ()
    meaning: str = ""

    @property
    def several(self) -> bool:
        """Whether it may be given more than once."""
        return self.kind in SEVERAL

    def parse(self, views: Views, given: Sequence[str]) -> Any:
        """The value that the function takes, from texts.

        Args:
            views: The store, whose models are meant.
            given: One text, or several where `several`.

        Raises:
            ParameterError: If a text does not fit the kind.
            ModelNotFoundError: If the store has no such model.
        """
        if self.several:
            return _PARSED_SEVERAL[self.kind](self, views, given)
        if len(given) != 1:
            raise ParameterError(f"{self.name} is one value, {len(given)} were given.")
        return self._parse_one(views, given[0])

    def _parse_one(self, views: Views, text: str) -> Any:
        match self.kind:
            case Kind.model:
                # Each model's own parent or base model.
                return text if text in (PARENT, ROOT) else compare.resolve(views, text)
            case Kind.choice:
                return self._chosen(text)
            case Kind.integer:
                return self._converted(int, text, "a whole number")
            case Kind.number:
                return self._converted(float, text, "a number")
            case Kind.flag:
                return self._converted(lambda word: _TRUE[word.lower()], text, "true or false")
            case _:
                return text

    def _chosen(self, text: str) -> str:
        if text not in self.choices:
            nearest = difflib.get_close_matches(text, self.choices, n=1)
            hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
            raise ParameterError(f"{self.name} is one of {', '.join(self.choices)}, not '{text}'.{hint}")
        return text

    def _converted(self, convert: Callable[[str], Any], text: str, expected: str) -> Any:
        try:
            return convert(text)
        except (ValueError, KeyError, OverflowError):
            raise ParameterError(f"{self.name} is {expected}, not '{text}'.") from None

    def _pair(self, text: str, expected: str) -> tuple[str, str]:
        name, sign, value = text.partition(":")
        if not (name and sign and value):
            raise ParameterError(f"{self.name} is written {expected}, not '{text}'.")
        return name, value

    def models(self, views: Views, given: Sequence[str]) -> list[str]:
        """Identities of models."""
        return [compare.resolve(views, text) for text in given]

    def objectives(self, _: Views, given: Sequence[str]) -> list[str] | dict[str, str]:
        """Metrics, with their directions as soon as one is given."""
        if not any(":" in text for text in given):
            return list(given)
        return dict(self._pair(text, "metric:higher or metric:lower, for all or for none") for text in given)

    def bounds(self, _: Views, given: Sequence[str]) -> dict[str, float]:
        """Numbers by metric."""
        pairs = (self._pair(text, "metric:number") for text in given)
        return {name: self._converted(float, value, "metric:number") for name, value in pairs}

    def ranges(self, views: Views, given: Sequence[str]) -> dict[str, tuple[float, float]]:
        """Pairs of numbers by model."""
        pairs = (self._pair(text, "model:low..high") for text in given)
        return {compare.resolve(views, name): self._range(value) for name, value in pairs}

    def _range(self, text: str) -> tuple[float, float]:
        low, _, high = text.partition("..")
        return self._converted(float, low, "model:low..high"), self._converted(float, high, "model:low..high")

    def named(self, _: Views, given: Sequence[str]) -> dict[str, str]:
        """Texts by name."""
        return dict(self._pair(text, "name:text") for text in given)

    def integers(self, _: Views, given: Sequence[str]) -> list[int]:
        """Whole numbers."""
        return [self._converted(int, text, "whole numbers") for text in given]


_PARSED_SEVERAL: Final[Mapping[Kind, Callable[[Parameter, Views, Sequence[str]], Any]]] = {
    Kind.models: Parameter.models,
    Kind.objectives: Parameter.objectives,
    Kind.bounds: Parameter.bounds,
    Kind.ranges: Parameter.ranges,
    Kind.named: Parameter.named,
    Kind.texts: lambda _, __, given: list(given),
    Kind.integers: Parameter.integers,
}


@dataclass(frozen=True)
class Answer:
    """What a question answers."""

    tables: Mapping[str, pa.Table]
    """By name; the first is what is shown where there is room for one."""
    facts: Mapping[str, Any]
    """What stands beside the tables: counts, identities."""


@dataclass(frozen=True)
class Question:
    """One question of the catalogue."""

    function: Callable[..., Any]
    local: frozenset[str] = frozenset()
    """Parameters that only the store's own machine may give, such as SQL expressions."""

    @property
    def name(self) -> str:
        """How it is asked for."""
        return self.function.__name__

    @property
    def summary(self) -> str:
        """What it asks, in one sentence."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @property
    def description(self) -> str:
        """Summary and columns: the docstring up to its parameters."""
        return re.split(r"\n(?:Args|Raises|Returns):\n", inspect.getdoc(self.function) or "")[0].strip()

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """In the order of the signature, the store left out."""
        hints = get_type_hints(self.function, localns={"Views": Views, "pa": pa})
        meanings = _meanings(inspect.getdoc(self.function) or "")
        signature = list(inspect.signature(self.function).parameters.values())[1:]
        return tuple(_parameter(p, hints[p.name], meanings.get(p.name) or _USUAL.get(p.name, "")) for p in signature)

    def ask(self, views: Views, given: Mapping[str, Sequence[str]]) -> Answer:
        """Ask with parameters as people write them.

        Args:
            views: The store.
            given: Texts by parameter.

        Raises:
            ParameterError: If a parameter is unknown, missing or does not fit.
            CcRayError: As the function says.
        """
        by_name = {parameter.name: parameter for parameter in self.parameters}
        for name in given:
            if name not in by_name:
                raise ParameterError(f"{self.name} has no parameter '{name}': {', '.join(by_name) or 'it has none'}.")
        for parameter in self.parameters:
            if parameter.required and not given.get(parameter.name):
                raise ParameterError(f"{self.name} needs {parameter.name}: {parameter.meaning}".rstrip(": "))
        return answer(
            self.function(views, **{name: by_name[name].parse(views, texts) for name, texts in given.items() if texts})
        )


def answer(found: Any) -> Answer:
    """What a function returned, as tables and facts.

    An Arrow table is the only table; a dataclass gives a table per field that is one; a list becomes a column.
    """
    if not is_dataclass(found):
        table = _table(found)
        return Answer({TABLE: table}, {}) if table is not None else Answer({}, {"answer": found})
    parts = {part.name: getattr(found, part.name) for part in fields(found)}
    tables = {name: part for name, part in parts.items() if isinstance(part, pa.Table)}
    return Answer(tables, {name: part for name, part in parts.items() if name not in tables})


def _table(found: Any) -> pa.Table | None:
    if isinstance(found, pa.Table):
        return found
    if isinstance(found, list):
        return pa.table({"model_id": pa.array(found, pa.string())})
    if isinstance(found, Mapping):
        return pa.table({"key": pa.array(list(found)), "value": pa.array(list(found.values()))})
    return None


def _parameter(parameter: inspect.Parameter, hint: Any, meaning: str) -> Parameter:
    hint = _without_none(hint)
    kind = _kind(parameter.name, hint)
    required = parameter.default is inspect.Parameter.empty
    if kind is Kind.model and isinstance(parameter.default, str):
        # Named as models are elsewhere, but a word is its default.
        kind = Kind.text
    choices = tuple(str(choice) for choice in get_args(hint)) if kind is Kind.choice else ()
    return Parameter(parameter.name, kind, required, None if required else parameter.default, choices, meaning)


def _without_none(hint: Any) -> Any:
    parts = [part for part in get_args(hint) if part is not types.NoneType]
    if get_origin(hint) not in (Union, types.UnionType):
        return hint
    return parts[0] if len(parts) == 1 else Union[tuple(parts)]  # noqa: UP007 - made while it runs


_BY_NAME: Final = {float: Kind.bounds, str: Kind.named}
_SIMPLE: Final = {bool: Kind.flag, int: Kind.integer, float: Kind.number}


def _kind(name: str, hint: Any) -> Kind:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return Kind.choice
    if origin in (Union, types.UnionType):
        return Kind.objectives
    if inner and isinstance(origin, type) and issubclass(origin, Mapping):
        return _BY_NAME.get(inner[1], Kind.ranges)
    if inner == (int,):
        return Kind.integers
    if inner:
        return Kind.models if name in _MODELS else Kind.texts
    if hint in _SIMPLE:
        return _SIMPLE[hint]
    if hint is not str:
        raise TypeError(f"the catalogue knows no way to write parameter '{name}' of type {hint}: add a Kind.")
    return Kind.model if name in _MODEL else Kind.text


def _meanings(doc: str) -> dict[str, str]:
    """Meaning by parameter, from the `Args` part of a docstring in Google's style."""
    part = re.search(r"^Args:\n((?: +.*\n?|\n)*)", doc, re.MULTILINE)
    found: dict[str, str] = {}
    name = ""
    for line in part[1].splitlines() if part else []:
        start = re.match(r" {4}(\w+): (.*)", line)
        if start:
            name = start[1]
            found[name] = start[2]
        elif name and line.strip():
            found[name] += f" {line.strip()}"
    return found


QUESTIONS: Final[tuple[Question, ...]] = (
    # What there is.
    Question(compare.models),
    Question(compare.show),
    Question(compare.compare),
    Question(compare.metric_definitions),
    Question(compare.metric_histogram),
    Question(compare.passing),
    Question(compare.class_names),
    Question(compare.studies),
    Question(compare.trials),
    Question(compare.study_best),
    Question(compare.study_costs),
    Question(compare.study_repeats),
    Question(compare.failures),
    Question(compare.trial_output),
    Question(compare.requests),
    Question(compare.stopped_early),
    Question(compare.reports),
    Question(compare.repeated_steps),
    Question(compare.comparisons),
    # Lineage and recipes.
    Question(compare.parents),
    Question(compare.children),
    Question(compare.ancestors),
    Question(compare.descendants),
    Question(compare.siblings),
    Question(compare.edges),
    Question(compare.sweeps),
    Question(compare.nearest),
    Question(compare.differences),
    Question(compare.only_what_differs),
    # Trade-offs and efficiency.
    Question(compare.front),
    Question(compare.fronts),
    Question(compare.recommendations),
    Question(compare.spanning),
    Question(compare.knee),
    Question(compare.best_under),
    Question(compare.check),
    Question(compare.hypervolume),
    Question(compare.hypervolume_history),
    Question(compare.efficiency),
    # Behaviours.
    Question(compare.behaviours),
    Question(compare.behaviours_by_class),
    # Conditions are SQL: they are asked on the store's own machine only.
    Question(compare.slice_behaviours, local=frozenset({"conditions"})),
    Question(compare.worst_slices),
    Question(compare.measures),
    Question(compare.measure_distribution),
    Question(compare.prediction_changes),
    Question(compare.frequent_predictions),
    Question(compare.transition_matrix),
    Question(compare.confusion_matrices),
    Question(compare.instances),
    Question(compare.error_overlap),
    Question(compare.lost_overlap),
    Question(compare.flip_matrix),
    Question(compare.outcomes),
    Question(compare.exemplars),
    Question(compare.calibration),
    Question(compare.reliability),
    Question(compare.accuracy_tests),
    Question(compare.same_accuracy),
    Question(compare.answering),
    Question(compare.generates),
    Question(compare.generation),
    Question(compare.texts),
    Question(compare.scores_tokens),
    Question(compare.token_losses),
    Question(compare.hurt_tokens),
    Question(compare.perplexity_by_position),
    Question(compare.noise_floor),
    Question(compare.one_seed_warning),
    # Layers.
    Question(compare.with_layers),
    Question(compare.with_activations),
    Question(compare.layer_tree),
    Question(compare.most_changed_layers),
    Question(compare.zero_overlap),
    Question(compare.weight_changes),
    Question(compare.weight_distribution),
    Question(compare.activation_changes),
    Question(compare.activation_distribution),
    Question(compare.activation_histograms),
    Question(compare.layer_similarity),
    Question(compare.sensitivity),
    Question(compare.bisections),
    # What stands out, and what looks wrong.
    Question(compare.insights),
    Question(compare.findings),
    Question(compare.lint),
)


def question(name: str) -> Question:
    """A question by its name.

    Raises:
        ParameterError: If there is none; the message names the nearest.
    """
    by_name = {question.name: question for question in QUESTIONS}
    if name not in by_name:
        nearest = difflib.get_close_matches(name, by_name, n=1)
        hint = f"did you mean '{nearest[0]}'? " if nearest else ""
        raise ParameterError(f"no question '{name}': {hint}There are {', '.join(by_name)}.")
    return by_name[name]
