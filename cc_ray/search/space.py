"""Search spaces: base models and recipes with open parameters, as frozen data that survives a round trip over JSON.

A space is checked where it is written: what cannot be right raises `InvalidRecipeError` with the field, its value and
what is allowed. Operations and tasks are looked up later, by `sampling`, so that a space is read without torch.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, NoReturn, Self, cast, get_args

from cc_ray.errors import InvalidRecipeError
from cc_ray.recipe import canonical_json
from cc_ray.resources import Resources
from cc_ray.search.early_stopping import EarlyStopping

Direction = Literal["higher", "lower"]
"""Which values of an objective are better."""
Method = Literal["grid", "random", "tpe", "nsga2"]
"""How recipes are taken from a space: all of them, by lot, or led by what was found so far: by Optuna's tree-structured
Parzen estimator, or its genetic algorithm for several objectives."""
Scale = Literal["uniform", "loguniform", "integer"]
"""How numbers are spread over an open range."""

OUTPUT_NOISE: Final = "output_noise"
"""What a compressed layer does to a model's scores: power of the error over power of the scores."""
FRONT: Final = "front:"
"""Before a study's name: the models on its trade-off front."""
MOST_ORDERS: Final = math.factorial(6)
"""Orders that the places of one form may come in: six places in any order."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    options: tuple[Any, ...]
    """The values; plain JSON data."""

    def __post_init__(self) -> None:
        if not self.options:
            _refuse("choice", "without options", "at least one value")
        for option in self.options:
            _plain("choice", option)

    def to_json(self) -> dict[str, Any]:
        """Plain data that `_domain` reads back."""
        return {"domain": "choice", "options": list(self.options)}


@dataclass(frozen=True)
class Range:
    """A number from an open range, both ends included."""

    low: float
    high: float
    scale: Scale = "uniform"

    def __post_init__(self) -> None:
        if not self.low < self.high:
            _refuse(self.scale, f"({self.low}, {self.high})", "a low end below the high end")
        if self.scale == "loguniform" and self.low <= 0:
            _refuse("loguniform", f"({self.low}, {self.high})", "ends above 0")
        if self.scale == "integer" and not all(isinstance(end, int) for end in (self.low, self.high)):
            _refuse("integer", f"({self.low}, {self.high})", "whole numbers")

    def to_json(self) -> dict[str, Any]:
        """Plain data that `_domain` reads back."""
        return {"domain": self.scale, "low": self.low, "high": self.high}


Domain = Choice | Range
"""An open parameter."""


@dataclass(frozen=True)
class Rows:
    """Rows of `cc-ray sensitivity`, which `measured.filled` puts in place when a space is planned."""

    metric: str
    """What got worse: a metric, or `OUTPUT_NOISE`."""
    split: str = "calibration"
    """What it was judged on."""
    model: str = ""
    """Identity of the model whose layers were compressed; empty for the one that the step is given."""

    def __post_init__(self) -> None:
        for name, value in (("metric", self.metric), ("split", self.split), ("model", self.model)):
            if not isinstance(value, str):
                _refuse(f"rows_of: {name}", value, "a text")
        if not self.metric:
            _refuse("rows_of: metric", self.metric, "the name of a metric")
        if self.split not in ("calibration", "evaluation"):
            _refuse("rows_of: split", self.split, "'calibration' or 'evaluation'")

    def to_json(self) -> dict[str, Any]:
        """Plain data that `_domain` reads back."""
        return {"domain": "rows", "metric": self.metric, "split": self.split, "model": self.model}


@dataclass(frozen=True)
class Times:
    """Rows of `cc-ray layer-times`, which `measured.filled` puts in place when a space is planned."""

    device: str = "cpu"
    """What the layers were timed on: how its name in the table begins."""
    model: str = ""
    """Identity of the model whose layers were timed; empty for the one that the step is given."""

    def __post_init__(self) -> None:
        for name, value in (("device", self.device), ("model", self.model)):
            if not isinstance(value, str):
                _refuse(f"times_of: {name}", value, "a text")
        if not self.device:
            _refuse("times_of: device", self.device, "'cpu', 'cuda', or more of the name of a device")

    def to_json(self) -> dict[str, Any]:
        """Plain data that `_domain` reads back."""
        return {"domain": "times", "device": self.device, "model": self.model}


Stored = Rows | Times
"""A parameter whose value the store has."""


@dataclass(frozen=True)
class StepSpace:
    """A step whose parameters may be open."""

    operation: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Values; a `Domain` where the value is open, a `Stored` where the store has it."""

    def __post_init__(self) -> None:
        for name, value in self.parameters.items():
            if not isinstance(value, Domain | Stored):
                _plain(f"{self.operation}: {name}", value)

    def to_json(self) -> dict[str, Any]:
        """Plain data that `from_json` reads back."""
        values = {name: _to_json(value) for name, value in self.parameters.items()}
        return {"operation": self.operation, "parameters": values}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(data["operation"], {name: _domain(value) for name, value in data["parameters"].items()})


@dataclass(frozen=True)
class Slot:
    """One place in a recipe: one of several steps, or none where it is optional."""

    options: tuple[StepSpace, ...]
    optional: bool = False

    def __post_init__(self) -> None:
        if not self.options:
            _refuse("either", "without steps", "at least one step(...)")

    @property
    def candidates(self) -> tuple[StepSpace | None, ...]:
        """What may stand here; None is nothing."""
        return (None, *self.options) if self.optional else self.options

    def to_json(self) -> dict[str, Any]:
        """Plain data that `from_json` reads back."""
        return {"one_of": [option.to_json() for option in self.options], "optional": self.optional}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(tuple(StepSpace.from_json(option) for option in data["one_of"]), data["optional"])


@dataclass(frozen=True)
class AnyOrder:
    """Neighbouring places whose steps may come in any order."""

    slots: tuple[Slot, ...]

    def __post_init__(self) -> None:
        if len(self.slots) < 2:
            _refuse("in_any_order", f"{len(self.slots)} steps", "two steps or more")


@dataclass(frozen=True)
class RecipeSpace:
    """Recipes of one form: where they begin and the places for steps."""

    bases: tuple[str, ...]
    """Base models; none where recipes go on from `models`."""
    slots: tuple[Slot, ...]
    """In the order in which they are written."""
    models: tuple[str, ...] = ()
    """Models of the store whose recipes are gone on with: identities, or `FRONT` and the name of a study."""
    seeds: tuple[int, ...] = ()
    """Seeds of this form; none for those of the whole space, or, where it goes on from `models`, for theirs."""
    in_any_order: tuple[tuple[int, int], ...] = ()
    """Stretches of `slots` that may come in any order: the first place of each and the one after its last."""

    def __post_init__(self) -> None:
        count = math.prod(math.factorial(end - start) for start, end in self.in_any_order)
        if count > MOST_ORDERS:
            _refuse("in_any_order", f"{count} orders", f"at most {MOST_ORDERS} in a recipe, those of six steps")

    @classmethod
    def of(cls, bases: tuple[str, ...], items: Iterable[StepSpace | Slot | AnyOrder], **fields: Any) -> Self:
        """The form with these steps."""
        slots: list[Slot] = []
        stretches = []
        for item in items:
            held = item.slots if isinstance(item, AnyOrder) else (_slot("recipe", item),)
            if isinstance(item, AnyOrder):
                stretches.append((len(slots), len(slots) + len(held)))
            slots.extend(held)
        return cls(bases, tuple(slots), in_any_order=tuple(stretches), **fields)

    def after(self, base: str, steps: Sequence[StepSpace], seeds: tuple[int, ...]) -> Self:
        """The same form with other steps before its own."""
        shifted = tuple((start + len(steps), end + len(steps)) for start, end in self.in_any_order)
        return type(self)((base,), (*map(_one, steps), *self.slots), seeds=seeds, in_any_order=shifted)

    def orders(self) -> list[tuple[int, ...]]:
        """The ways to go through the places; the one that is written comes first."""
        fixed = set(range(len(self.slots))).difference(*(range(*stretch) for stretch in self.in_any_order))
        parts = sorted([*self.in_any_order, *((place, place + 1) for place in fixed)])
        found = itertools.product(*(itertools.permutations(range(*part)) for part in parts))
        return [tuple(itertools.chain.from_iterable(order)) for order in found]

    def to_json(self) -> dict[str, Any]:
        """Plain data that `from_json` reads back."""
        where = {"bases": list(self.bases), "models": list(self.models), "seeds": list(self.seeds)}
        orders = {"in_any_order": [list(stretch) for stretch in self.in_any_order]}
        return {**where, **orders, "steps": [slot.to_json() for slot in self.slots]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        slots = tuple(Slot.from_json(slot) for slot in data["steps"])
        stretches = tuple((start, end) for start, end in data.get("in_any_order", ()))
        return cls(tuple(data["bases"]), slots, tuple(data.get("models", ())), tuple(data.get("seeds", ())), stretches)


@dataclass(frozen=True)
class Constraint:
    """A bound on a metric that a model has to keep to count as a solution."""

    metric: str
    sense: Literal["at_most", "at_least"]
    limit: float

    def __post_init__(self) -> None:
        if not isinstance(self.limit, int | float) or not math.isfinite(self.limit):
            _refuse(f"constraint: {self.metric} {self.sense}", self.limit, "a finite number")

    def excess(self, value: float) -> float:
        """How far a value lies beyond the bound; 0 or less keeps it."""
        return value - self.limit if self.sense == "at_most" else self.limit - value

    def to_json(self) -> dict[str, Any]:
        """Plain data that the constructor takes as keywords."""
        return {"metric": self.metric, "sense": self.sense, "limit": self.limit}


@dataclass(frozen=True)
class SearchSpace:
    """What a study searches: recipes with open parameters, what is better, and how to look.

    Its name names the study: running a space again goes on with the study, and only what is new runs.
    """

    name: str
    """Letters, digits, '.', '_' and '-', at most 80."""
    task: str
    """Name of a registered task."""
    recipes: Sequence[RecipeSpace]
    """What may be done; made with `recipe(...)`."""
    objectives: Mapping[str, Direction] = field(default_factory=lambda: {"accuracy": "higher", "size_bytes": "lower"})
    """Metric names with the direction that is better."""
    constraints: Sequence[Constraint] = ()
    """Bounds that count when the best are named; made with `at_most(...)` and `at_least(...)`."""
    seeds: Sequence[int] = (0,)
    """Every recipe is run with each of them."""
    method: Method = "grid"
    """`grid` runs all recipes, the others run `samples` of them."""
    samples: int | None = None
    """Trials of the whole study, over all its sessions, without its baselines; not with `grid`."""
    sampler_seed: int = 0
    """Seeds which recipes are taken."""
    baselines: bool = True
    """Add what recipes have to beat: random and magnitude pruning, and rounding to fewer bits, of every base model."""
    time_budget_s: float | None = None
    """A session stops after this time; the next one goes on."""
    gpu_hours: float | None = None
    """The study stops when its steps have held GPUs for so long, over all its sessions."""
    cpu_hours: float | None = None
    """As `gpu_hours`, of CPUs."""
    patience: int | None = None
    """A session stops after so many trials in a row that did not make the hypervolume larger."""
    step_time_limit_s: float | None = None
    """A step that takes longer is ended and fails."""
    early_stopping: EarlyStopping | None = None
    """Ends last steps of recipes whose models do badly, by `asha(...)` or `median(...)`."""
    resources: Mapping[str, Resources] = field(default_factory=dict)
    """What steps ask for, by operation; "*" is for all that are not named, `train base` for base models and `latency`
    for timing. It goes before what operations and the task ask for themselves."""
    task_parameters: Mapping[str, Any] = field(default_factory=dict)
    """The task's fields by name."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            _refuse("name", self.name, "letters, digits, '.', '_' and '-', at most 80, a letter or digit first")
        self._check_recipes()
        self._check_method()
        self._check_limits()
        self._check_objectives()
        _plain("task_parameters", dict(self.task_parameters))

    def _check_recipes(self) -> None:
        if not self.recipes or not all(isinstance(form, RecipeSpace) for form in self.recipes):
            _refuse("recipes", self.recipes, "a list with at least one recipe(...)")
        if not self.seeds or not all(isinstance(seed, int) and 0 <= seed < 2**63 for seed in self.seeds):
            _refuse("seeds", self.seeds, "at least one whole number, none below 0 or of more than 63 bits")
        if not all(isinstance(constraint, Constraint) for constraint in self.constraints):
            _refuse("constraints", self.constraints, "a list of at_most(...) and at_least(...)")
        for name in ("recipes", "constraints", "seeds"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def _check_method(self) -> None:
        if self.method not in get_args(Method):
            _refuse("method", self.method, f"one of {', '.join(get_args(Method))}")
        if self.method == "grid" and self.samples is not None:
            _refuse("samples", self.samples, "nothing with method='grid', which runs every recipe")
        if self.method != "grid" and not (isinstance(self.samples, int) and self.samples > 0):
            _refuse("samples", self.samples, f"a whole number above 0 with method='{self.method}'")

    def _check_limits(self) -> None:
        units = {"time_budget_s": "seconds", "gpu_hours": "hours", "cpu_hours": "hours", "step_time_limit_s": "seconds"}
        for name, unit in units.items():
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                _refuse(name, value, f"{unit} above 0, or None")
        if self.patience is not None and not (isinstance(self.patience, int) and self.patience > 0):
            _refuse("patience", self.patience, "a whole number of trials above 0, or None")
        if not isinstance(self.early_stopping, EarlyStopping | None):
            _refuse("early_stopping", self.early_stopping, "asha(...), median(...) or None")
        for name, asked in self.resources.items():
            if not isinstance(asked, Resources):
                _refuse(f"resources: {name}", asked, "Resources(...)")

    def _check_objectives(self) -> None:
        for metric, direction in self.objectives.items():
            if direction not in get_args(Direction):
                _refuse(f"objectives: {metric}", direction, "'higher' or 'lower'")
        if not self.objectives:
            _refuse("objectives", self.objectives, "at least one metric with 'higher' or 'lower'")

    @property
    def guided(self) -> bool:
        """Whether what was found so far decides which recipes come next."""
        return self.method in ("tpe", "nsga2")

    def to_json(self) -> dict[str, Any]:
        """Plain data that `from_json` reads back."""
        return {
            "name": self.name,
            "task": self.task,
            "task_parameters": dict(self.task_parameters),
            "recipes": [form.to_json() for form in self.recipes],
            "objectives": dict(self.objectives),
            "constraints": [constraint.to_json() for constraint in self.constraints],
            "seeds": list(self.seeds),
            "method": self.method,
            "samples": self.samples,
            "sampler_seed": self.sampler_seed,
            "baselines": self.baselines,
            **{name: getattr(self, name) for name in _LIMITS},
            "early_stopping": self.early_stopping and self.early_stopping.to_json(),
            "resources": {name: asked.to_json() for name, asked in self.resources.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        recipes = tuple(RecipeSpace.from_json(form) for form in data["recipes"])
        constraints = tuple(Constraint(**constraint) for constraint in data["constraints"])
        resources = {name: Resources.from_json(asked) for name, asked in data.get("resources", {}).items()}
        stopping = data.get("early_stopping")
        read = {
            "recipes": recipes,
            "constraints": constraints,
            "seeds": tuple(data["seeds"]),
            "resources": resources,
            "early_stopping": stopping and EarlyStopping.from_json(stopping),
        }
        return cls(**{**data, **read})


_LIMITS: Final = ("time_budget_s", "gpu_hours", "cpu_hours", "patience", "step_time_limit_s")


def recipe(base: str | Choice, steps: Iterable[StepSpace | Slot | AnyOrder] = ()) -> RecipeSpace:
    """Recipes of one form.

    Args:
        base: A base model of the task, or a `choice` of several.
        steps: `step(...)`, `either(...)`, `optional(...)` and `in_any_order(...)`, in the order in which they are
            applied.
    """
    bases = base.options if isinstance(base, Choice) else (base,)
    for name in bases:
        if not isinstance(name, str):
            _refuse("recipe: base", name, "the name of a base model, or a choice of names")
    return RecipeSpace.of(bases, steps)


def branch(model: str | Choice, steps: Iterable[StepSpace | Slot | AnyOrder]) -> RecipeSpace:
    """Recipes that go on from models of the store, whichever study made them; what leads to these is not run again.

    Args:
        model: Identity of a model as `cc-ray models` shows it, a `choice` of several, or `front_of(study)`.
        steps: As `recipe` takes them; applied after the model's own.
    """
    models = model.options if isinstance(model, Choice) else (model,)
    for name in models:
        if not isinstance(name, str) or not name:
            _refuse("branch: model", name, "a model_id, a choice of them, or front_of(...)")
    return RecipeSpace.of((), steps, models=models)


def front_of(study: str) -> str:
    """The models that are on a study's trade-off front when the space is run, for `branch`."""
    return FRONT + study


def step(operation: str, **parameters: Any) -> StepSpace:
    """A step; each parameter is a value or open (`choice`, `uniform`, `loguniform`, `integer`)."""
    return StepSpace(operation, parameters)


def either(*steps: StepSpace) -> Slot:
    """One of several steps."""
    return Slot(steps)


def optional(item: StepSpace | Slot) -> Slot:
    """A step that is there or not."""
    return replace(_slot("optional", item), optional=True)


def in_any_order(*steps: StepSpace | Slot) -> AnyOrder:
    """Steps that come in any order, at most six. Orders in which one of them cannot work are left out."""
    return AnyOrder(tuple(_slot("in_any_order", item) for item in steps))


def choice(*options: Any) -> Choice:
    """One of several values."""
    return Choice(options)


def uniform(low: float, high: float) -> Range:
    """A number between two ends, all equally likely."""
    return Range(float(low), float(high))


def loguniform(low: float, high: float) -> Range:
    """A number between two ends above 0, all orders of magnitude equally likely."""
    return Range(float(low), float(high), "loguniform")


def integer(low: int, high: int) -> Range:
    """A whole number between two ends, both included."""
    return Range(low, high, "integer")


def rows_of(metric: str = OUTPUT_NOISE, *, split: str = "calibration", model: str = "") -> Rows:
    """What `cc-ray sensitivity` measured of the layers that `allocate` is to choose levels for, as its `harms`.

    Args:
        metric: By how much it gets worse counts. Metrics of few instances are noisy, and may get better by chance; the
            noise in the model's scores needs no labels, and is none only where nothing changed.
        split: What it was judged on. By `evaluation` the step has seen what its model is measured on, and the lint says
            so.
        model: Identity of the model whose layers were compressed; empty for the one that the step is given.
    """
    return Rows(metric, split, model)


def times_of(device: str = "cpu", *, model: str = "") -> Times:
    """What `cc-ray layer-times` measured of the layers that `allocate` is to choose levels for, as its `times_ms`.

    Args:
        device: What they were timed on: `cpu`, or `cuda` with as much of the name as tells one GPU from others.
        model: Identity of the model whose layers were timed; empty for the one that the step is given.
    """
    return Times(device, model)


def at_most(metric: str, limit: float) -> Constraint:
    """Models whose metric is above the limit are no solutions."""
    return Constraint(metric, "at_most", limit)


def at_least(metric: str, limit: float) -> Constraint:
    """Models whose metric is below the limit are no solutions."""
    return Constraint(metric, "at_least", limit)


def _slot(place: str, item: StepSpace | Slot) -> Slot:
    if isinstance(item, Slot):
        return item
    if not isinstance(item, StepSpace):
        _refuse(f"{place}: steps", item, "step(...), either(...) or optional(...)")
    return _one(item)


def _one(step: StepSpace) -> Slot:
    return Slot((step,))


def _to_json(value: Any) -> Any:
    return value.to_json() if isinstance(value, Domain | Stored) else value


def _domain(value: Any) -> Any:
    if not isinstance(value, Mapping) or "domain" not in value:
        return value
    if value["domain"] == "choice":
        return Choice(tuple(value["options"]))
    if value["domain"] == "rows":
        return Rows(value["metric"], value["split"], value["model"])
    if value["domain"] == "times":
        return Times(value["device"], value["model"])
    return Range(value["low"], value["high"], cast("Scale", value["domain"]))


def _plain(place: str, value: Any) -> None:
    try:
        canonical_json(value)
    except (TypeError, ValueError):
        _refuse(place, value, "plain data: text, numbers (not NaN), true, false, null, lists and mappings of them")


def _refuse(place: str, value: object, allowed: str) -> NoReturn:
    raise InvalidRecipeError(f"search space: '{place}' is {value!r}; allowed: {allowed}.")
