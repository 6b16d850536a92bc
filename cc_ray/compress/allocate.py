"""Give each layer a bit width, sparsity or rank of its own: most where it hurts least, under a budget for all.

What each layer takes is measured on the calibration split: it alone is compressed at each level, and the divergence of
the model's answers from its own before counts. Or it is given: in a search space, `rows_of(...)` writes rows of
`cc-ray sensitivity` into the step. They are part of its identity, so it depends on nothing else that is in the store.

Source: Dong, Yao, Cai, Arfeen, Gholami, Mahoney and Keutzer, 2020, "HAWQ-V2: Hessian Aware trace-Weighted Quantization
of Neural Networks", https://arxiv.org/abs/1911.03852; as an integer program after Yao et al., 2021, "HAWQ-V3: Dyadic
Neural Network Quantization", https://arxiv.org/abs/2011.10680
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from cc_ray.compress.alone import compress_alone
from cc_ray.compress.apply import let_work
from cc_ray.compress.base import Context, Family, Finding, Operation, Representation, operation, operations
from cc_ray.compress.inputs import batches
from cc_ray.compress.solvers import Table, exact, greedy
from cc_ray.compress.steps import operation_of
from cc_ray.compress.targets import Target, Targeted, is_layer_weight, listed
from cc_ray.errors import NotApplicableError
from cc_ray.recipe import LEVELS, Step
from cc_ray.store.artifacts import save_model
from cc_ray.store.layout import Draft
from cc_ray.tasks import Split, moved, note_use
from cc_ray.tasks.arithmetic import count_multiply_adds

Given = Mapping[Annotated[str, Field(min_length=1)], tuple[float, ...]]
"""A number for each of the levels, in their order, by the path of a layer."""
_MORE_IS_LESS: Final = frozenset({"sparsity", "ratio"})
"""Levels that say what goes; the others say what stays."""
_UNITS: Final = {
    "level": "in the mean",
    "bytes": "bytes",
    "multiply_adds": "of the model's multiply-adds",
    "latency": "of the layers' time",
    "latency_ms": "ms",
}
_SHARES: Final = ("multiply_adds", "latency")
"""Units that are shares of what the model has."""
_TIMES: Final = ("latency", "latency_ms")
"""Units that `times_ms` tell."""


@operation("allocate")
class Allocate(Targeted):
    """Applies another operation to each layer at the level that suits it."""

    family: ClassVar[Family | None] = "quantization"
    reads: ClassVar[tuple[Split, ...]] = ("calibration",)
    # Whether it does depends on the other operation.
    reshapes: ClassVar[bool] = True
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"applied": "uniform_quantization", "levels": [3, 8], "budget": 5, "instances": 8},
        {
            "applied": "magnitude_pruning",
            "levels": [0.3, 0.9],
            "budget": 0.6,
            "solver": "greedy",
            "instances": 16,
        },
        {
            "applied": "low_rank",
            "levels": [0.3, 0.8],
            "may_stay": True,
            "budget": 0.95,
            "unit": "multiply_adds",
            "instances": 8,
        },
    )

    applied: str
    """Name of the operation, one on layers with a level: bits, sparsity, ratio, rank_ratio, rank, density or amount."""
    levels: Annotated[tuple[float, ...], Field(min_length=2)]
    """Levels that a layer may have."""
    may_stay: bool = False
    """Whether a layer may also stay as it is, where that is worth what it takes; it has no level that would count."""
    budget: Annotated[float, Field(gt=0.0)]
    """At most so much of `unit`; of a mean sparsity or ratio at least so much."""
    unit: Literal["level", "bytes", "multiply_adds", "latency", "latency_ms"] = "level"
    """What the budget counts: the mean level over all weights; what the layers take in the saved file; the share of the
    model's multiply-adds that is left, or of the time of its layers; or their `times_ms`, one after the other."""
    solver: Literal["exact", "greedy"] = "exact"
    """By integer programming, or step by step the cheapest harm for what it saves."""
    instances: Annotated[int, Field(ge=1, le=65_536)] = 256
    """Calibration instances on which the harm is measured."""
    settings: Mapping[str, bool | int | float | str] = Field(default_factory=dict)
    """Other parameters of the applied operation, by name."""
    harms: Given = Field(default_factory=dict, json_schema_extra={"stored": "rows_of"})
    """How much worse the model gets by each level, by layer; a search space fills it with `rows_of(...)`. Measured if
    left out."""
    metric: str = ""
    """What harms were measured in, where they are given."""
    measured_on: Literal["calibration", "evaluation"] = "calibration"
    """The split on which harms were measured, where they are given."""
    times_ms: Given = Field(default_factory=dict, json_schema_extra={"stored": "times_of"})
    """How long each layer takes at each level, and last as it is where it may stay so; for the units of latency. A
    search space fills it with `times_of(...)`."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        kind = operations[self.applied]
        if not _can_be_shared_out(kind):
            able = [name for name, each in operations.items() if _can_be_shared_out(each)]
            raise ValueError(f"applied='{self.applied}' has no level for each layer: choose one of {', '.join(able)}")
        for level in self.levels:
            self._inner(level)
        self._check_tables()
        self._check_speed(kind)
        if self.unit == "level" and self.may_stay:
            raise ValueError("may_stay: what stays as it is has no level to count; give the budget in another unit")
        if self.unit == "level" and not min(self.levels) <= self.budget <= max(self.levels):
            raise ValueError(
                f"budget={self.budget:g} lies outside the levels, {min(self.levels):g} to {max(self.levels):g}: "
                "no choice of them has such a mean"
            )
        return self

    def _check_tables(self) -> None:
        if fixed := {"include", "exclude", self._parameter} & self.settings.keys():
            raise ValueError(f"settings: {', '.join(sorted(map(str, fixed)))} is set for each layer")
        stays = " and one to stay as it is" if self.may_stay else ""
        for name, table, count, more in (
            ("harms", self.harms, len(self.levels), ""),
            ("times_ms", self.times_ms, len(self._choices), stays),
        ):
            for layer, values in table.items():
                if len(values) != count:
                    raise ValueError(f"{name}: '{layer}' has {len(values)} numbers for {len(self.levels)} levels{more}")
        if bool(self.harms) != bool(self.metric):
            raise ValueError("harms and metric belong together: give both or neither")
        if any(time <= 0 for times in self.times_ms.values() for time in times):
            raise ValueError("times_ms: a time is above 0")
        if bool(self.times_ms) != (self.unit in _TIMES):
            raise ValueError("times_ms and unit='latency' or 'latency_ms' belong together: give both or neither")

    def _check_speed(self, kind: type[Operation]) -> None:
        if self.unit in ("level", "bytes"):
            return
        if not kind.reshapes:
            able = [name for name, each in operations.items() if each.reshapes and _can_be_shared_out(each)]
            raise ValueError(
                f"unit='{self.unit}': a model takes as long at any level of {self.applied}, which leaves layers the "
                f"arithmetic they had; choose {' or '.join(able)}, or a budget in 'level' or 'bytes'"
            )
        if self.unit == "latency" and not self.may_stay:
            raise ValueError("unit='latency' is a share of the time of layers as they are: it needs may_stay=True")
        if self.unit in _SHARES and self.budget > 1:
            raise ValueError(f"budget={self.budget:g}: of {self.unit} it is a share of what the model has, at most 1")

    def makes(self, given: Representation) -> Representation:
        """What the other operation makes."""
        return operations[self.applied].gives or given

    def runs_on(self) -> frozenset[str]:
        """Where what the other operation makes does."""
        return operations[self.applied].realised_on

    def targets(self, model: nn.Module, context: Context | None = None) -> list[Target]:
        """What the other operation would work on."""
        return self._inner(self.levels[0]).targets(model, context)

    def suit(self, model: nn.Module) -> None:
        """Make sure that there are targets, and that what is given tells of each."""
        targets = self.targets(model)
        for name, table in (("harms", self.harms), ("times_ms", self.times_ms)):
            lacking = [target.name for target in targets if table and _key(target) not in table]
            if lacking:
                raise NotApplicableError(self.name, f"{name} tells nothing of {listed(lacking)}: exclude or add them.")

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Weigh, choose, and compress layer after layer."""
        targets = self.targets(model, context)
        before = self._arithmetic(model, context)
        harm, cost = self._weighed(model, targets, context)
        chosen = self._shared_out(harm, cost, self._limit(targets, cost, before))
        for target, place in zip(targets, chosen, strict=True):
            if (level := self._choices[place]) is not None:
                model = let_work(self._inner(level, target), model, context)
        spent = sum(cost[row, column] for row, column in enumerate(chosen))
        context.findings.append(self._outcome(targets, spent, self._arithmetic(model, context), before))
        context.findings.extend(self._account(targets, chosen, harm))
        return model

    @property
    def _choices(self) -> tuple[float | None, ...]:
        """What a layer may get; None is to stay as it is."""
        return (*self.levels, None) if self.may_stay else self.levels

    @property
    def _parameter(self) -> str | None:
        return _level_of(operations[self.applied])

    def _step(self, level: float, target: Target | None = None) -> Step:
        assert self._parameter
        whole = operations[self.applied].model_fields[self._parameter].annotation is int
        include, exclude = ((target.name,), ()) if target else (self.include, self.exclude)
        parameters = {self._parameter: int(level) if whole and level == int(level) else level}
        return Step(self.applied, {**self.settings, **parameters, "include": list(include), "exclude": list(exclude)})

    def _inner(self, level: float, target: Target | None = None) -> Targeted:
        made = operation_of(self._step(level, target))
        assert isinstance(made, Targeted)
        return made

    def _weighed(self, model: nn.Module, targets: Sequence[Target], context: Context) -> tuple[Table, Table]:
        """Harm and cost of each layer at each level, the others as they are."""
        if self.harms:
            note_use(self.measured_on)
        own = [] if self.harms else _answers(model, context, self.instances)
        harm, cost = np.zeros((2, len(targets), len(self._choices)))
        for row, target in enumerate(targets):
            for column, level in enumerate(self._choices):
                child = self._alone(model, target, level, context)
                harm[row, column] = self._harm(child, target, column, own, context)
                cost[row, column] = self._cost(child, target, column, context)
        # The last choice is to stay as it is.
        return harm, cost / cost[:, -1].sum() if self.unit == "latency" else cost

    def _alone(self, model: nn.Module, target: Target, level: float | None, context: Context) -> nn.Module:
        """The model with nothing but the layer at the level; as it is where nobody looks at it."""
        if level is None or (self.harms and self.unit in ("level", *_TIMES)):
            return model
        aside = Context(context.task, context.seed, context.ancestor)
        return compress_alone(self._step(level, target), model, aside)

    def _harm(self, child: nn.Module, target: Target, column: int, own: Sequence[Tensor], context: Context) -> float:
        if self._choices[column] is None:
            return 0.0
        given = self.harms.get(_key(target))
        return given[column] if given else _divergence(own, _answers(child, context, self.instances))

    def _cost(self, child: nn.Module, target: Target, column: int, context: Context) -> float:
        match self.unit:
            case "bytes":
                return _bytes(child.get_submodule(target.path))
            case "multiply_adds":
                return self._arithmetic(child, context)
            case "latency" | "latency_ms":
                return self.times_ms[_key(target)][column]
        level = self.levels[column]
        return target.tensor.numel() * (-level if self._parameter in _MORE_IS_LESS else level)

    def _arithmetic(self, model: nn.Module, context: Context) -> int:
        """Multiply-adds of the whole model for one instance; 0 where nobody asks."""
        if self.unit != "multiply_adds":
            return 0
        return count_multiply_adds(context.task, model, context.task.data("calibration").inputs[:1])

    def _limit(self, targets: Sequence[Target], cost: Table, before: int) -> float:
        """What the costs of the chosen levels may add up to."""
        if self.unit == "level":
            sign = -1 if self._parameter in _MORE_IS_LESS else 1
            return float(sign * self.budget * sum(target.tensor.numel() for target in targets))
        # Each cost of multiply-adds is that of a whole model; those of all are this much above what all save together.
        again = (len(targets) - 1) * before
        limit = self.budget * (before or 1) + again
        if (least := float(cost.min(axis=1).sum())) > limit:
            found = (least - again) / (before or 1)
            raise NotApplicableError(
                self.name,
                f"its layers take at least {_number(found)} {_UNITS[self.unit]} with these levels, not "
                f"{_number(self.budget)}.",
            )
        return limit

    def _shared_out(self, harm: Table, cost: Table, limit: float) -> list[int]:
        # What rounding leaves of a mean that is met exactly.
        limit += 1e-9 * abs(limit)
        return exact(harm, cost, limit) if self.solver == "exact" else greedy(harm, cost, limit)

    def _outcome(self, targets: Sequence[Target], spent: float, after: int, before: int) -> Finding:
        if self.unit == "multiply_adds":
            found = after / before
        else:
            found = abs(spent) / sum(target.tensor.numel() for target in targets) if self.unit == "level" else spent
        # Layers that lost channels make their neighbours smaller too: what each saves alone does not add up to it.
        over = self.unit == "multiply_adds" and found > self.budget * (1 + 1e-9)
        return Finding(
            "levels_allocated",
            "warning" if over else "info",
            f"{self._parameter} by layer: {_number(found)} {_UNITS[self.unit]} with a budget of "
            f"{_number(self.budget)}.",
            expected=self.budget,
            found=float(found),
        )

    def _account(self, targets: Sequence[Target], chosen: Sequence[int], harm: Table) -> Iterator[Finding]:
        unit = f"of {self.metric}" if self.harms else "nats of divergence"
        total = sum(harm[row, column] for row, column in enumerate(chosen))
        source = (
            f"rows of `cc-ray sensitivity` on the {self.measured_on} split"
            if self.harms
            else f"{self.instances} instances of the calibration split at most"
        )
        yield Finding(
            "harms_weighed",
            "warning" if self.harms and self.measured_on == "evaluation" else "info",
            f"The layers one by one add up to {total:.3g} {unit}, by {source}.",
            found=float(total),
        )
        for row, (target, column) in enumerate(zip(targets, chosen, strict=True)):
            level = self._choices[column]
            given = "as it is" if level is None else f"{self._parameter} {level:g}"
            yield Finding(
                "level_allocated",
                "info",
                f"{given}, which alone costs {harm[row, column]:.3g} {unit}.",
                layer=target.path,
                found=level,
            )


def _can_be_shared_out(kind: type[Operation]) -> bool:
    return issubclass(kind, Targeted) and kind is not Allocate and _level_of(kind) is not None


def _key(target: Target) -> str:
    """How a given table calls a target: a layer by its path, as `cc-ray sensitivity` does, any other tensor by name."""
    return target.path if target.path and is_layer_weight(target) else target.name


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _level_of(kind: type[Operation]) -> str | None:
    return next((name for name in LEVELS if name in kind.model_fields), None)


def _answers(model: nn.Module, context: Context, instances: int) -> list[Tensor]:
    """Log-probabilities of the answers, (n, ..., classes), in batches."""
    with moved(model) as device, torch.no_grad():
        scores = [context.task.logits(model, batch.to(device)) for batch in batches(context, instances)]
    return [each.float().log_softmax(-1) for each in scores]


def _divergence(own: Sequence[Tensor], found: Sequence[Tensor]) -> float:
    """Mean KL divergence from the own answers, in nats."""
    each = [
        nn.functional.kl_div(theirs, ours, reduction="none", log_target=True).sum(-1).flatten()
        for ours, theirs in zip(own, found, strict=True)
    ]
    # A model that is broken harms most, whatever the sum says.
    return float(torch.cat(each).double().mean().nan_to_num(nan=1e9, posinf=1e9).clamp_min(0))


def _bytes(layer: nn.Module) -> float:
    """What a layer takes in a saved file."""
    with tempfile.TemporaryDirectory() as folder:
        return float(sum(save_model(Draft(Path(folder)), layer).tensor_bytes.values()))
