"""Give each layer a bit width, sparsity or rank of its own: most where it hurts least, under a budget for all.

What each layer takes is measured on the calibration split: it alone is compressed at each level, and the divergence of
the model's answers from its own before counts. The rows of `cc-ray sensitivity` are not used: they come from the
evaluation split, on which the model is yet to be judged, and a step must not depend on what else is in the store.

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
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from cc_ray.compress.alone import compress_alone
from cc_ray.compress.apply import let_work
from cc_ray.compress.base import Context, Family, Finding, Operation, Representation, operation, operations
from cc_ray.compress.inputs import batches
from cc_ray.compress.steps import operation_of
from cc_ray.compress.targets import Target, Targeted
from cc_ray.errors import NotApplicableError
from cc_ray.recipe import LEVELS, Step
from cc_ray.store.artifacts import save_model
from cc_ray.store.layout import Draft
from cc_ray.tasks import Split, moved

Table = NDArray[np.float64]
"""A number for each layer and level, (layers, levels)."""
_MORE_IS_LESS: Final = frozenset({"sparsity", "ratio", "amount"})
"""Levels that say what goes; the others say what stays."""


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
    )

    applied: str
    """Name of the operation, one on layers with a level: bits, sparsity, ratio, rank_ratio, rank, density or amount."""
    levels: Annotated[tuple[float, ...], Field(min_length=2)]
    """Levels that a layer may have."""
    budget: Annotated[float, Field(gt=0.0)]
    """At most so much: the mean level over all weights (of a sparsity, ratio or amount at least it), or bytes."""
    unit: Literal["level", "bytes"] = "level"
    """What the budget counts: the mean level, or what the chosen layers take in the saved file."""
    solver: Literal["exact", "greedy"] = "exact"
    """By integer programming, or step by step the cheapest harm for what it saves."""
    instances: Annotated[int, Field(ge=1, le=65_536)] = 256
    """Calibration instances on which the harm is measured."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        kind = operations[self.applied]
        if not issubclass(kind, Targeted) or kind is Allocate or self._parameter is None:
            able = [name for name, each in operations.items() if issubclass(each, Targeted) and _level_of(each)]
            raise ValueError(f"applied='{self.applied}' has no level for each layer: choose one of {', '.join(able)}")
        for level in self.levels:
            self._inner(level)
        if self.unit == "level" and not min(self.levels) <= self.budget <= max(self.levels):
            raise ValueError(
                f"budget={self.budget:g} lies outside the levels, {min(self.levels):g} to {max(self.levels):g}: "
                "no choice of them has such a mean"
            )
        return self

    def makes(self, given: Representation) -> Representation:
        """What the other operation makes."""
        return operations[self.applied].gives or given

    def runs_on(self) -> frozenset[str]:
        """Where what the other operation makes does."""
        return operations[self.applied].realised_on

    def targets(self, model: nn.Module, context: Context | None = None) -> list[Target]:
        """What the other operation would work on."""
        return self._inner(self.levels[0]).targets(model, context)

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Measure, choose, and compress layer after layer."""
        targets = self.targets(model, context)
        harm, cost = self._measured(model, targets, context)
        chosen = self._shared_out(harm, cost, self._limit(targets, cost))
        for target, place in zip(targets, chosen, strict=True):
            model = let_work(self._inner(self.levels[place], target), model, context)
        context.findings.extend(self._account(targets, chosen, harm, cost))
        return model

    @property
    def _parameter(self) -> str | None:
        return _level_of(operations[self.applied])

    def _step(self, level: float, target: Target | None = None) -> Step:
        assert self._parameter
        whole = operations[self.applied].model_fields[self._parameter].annotation is int
        include, exclude = ((target.name,), ()) if target else (self.include, self.exclude)
        parameters = {self._parameter: int(level) if whole and level == int(level) else level}
        return Step(self.applied, {**parameters, "include": list(include), "exclude": list(exclude)})

    def _inner(self, level: float, target: Target | None = None) -> Targeted:
        made = operation_of(self._step(level, target))
        assert isinstance(made, Targeted)
        return made

    def _measured(self, model: nn.Module, targets: Sequence[Target], context: Context) -> tuple[Table, Table]:
        """Harm and cost of each layer at each level, the others as they are."""
        own = _answers(model, context, self.instances)
        harm, cost = np.zeros((2, len(targets), len(self.levels)))
        for row, target in enumerate(targets):
            for column, level in enumerate(self.levels):
                aside = Context(context.task, context.seed, context.ancestor)
                child = compress_alone(self._step(level, target), model, aside)
                harm[row, column] = _divergence(own, _answers(child, context, self.instances))
                cost[row, column] = self._cost(child, target, level)
        return harm, cost

    def _cost(self, child: nn.Module, target: Target, level: float) -> float:
        if self.unit == "bytes":
            return _bytes(child.get_submodule(target.path))
        return target.tensor.numel() * (-level if self._parameter in _MORE_IS_LESS else level)

    def _limit(self, targets: Sequence[Target], cost: Table) -> float:
        least = cost.min(axis=1).sum()
        if self.unit == "level":
            sign = -1 if self._parameter in _MORE_IS_LESS else 1
            return float(sign * self.budget * sum(target.tensor.numel() for target in targets))
        if least > self.budget:
            raise NotApplicableError(
                self.name, f"its layers take at least {least:,.0f} bytes with these levels, not {self.budget:,.0f}."
            )
        return self.budget

    def _shared_out(self, harm: Table, cost: Table, limit: float) -> list[int]:
        # What rounding leaves of a mean that is met exactly.
        limit += 1e-9 * abs(limit)
        return _exact(harm, cost, limit) if self.solver == "exact" else _greedy(harm, cost, limit)

    def _account(self, targets: Sequence[Target], chosen: Sequence[int], harm: Table, cost: Table) -> Iterator[Finding]:
        spent = sum(cost[row, column] for row, column in enumerate(chosen))
        size = sum(target.tensor.numel() for target in targets)
        found = float(spent if self.unit == "bytes" else abs(spent) / size)
        yield Finding(
            "levels_allocated",
            "info",
            f"{self._parameter} by layer: {found:,.4g} {'bytes' if self.unit == 'bytes' else 'in the mean'} with a "
            f"budget of {self.budget:,.4g}; of the layers one by one the divergences add up to "
            f"{sum(harm[row, column] for row, column in enumerate(chosen)):.3g} nats.",
            expected=self.budget,
            found=found,
        )
        for row, (target, column) in enumerate(zip(targets, chosen, strict=True)):
            yield Finding(
                "level_allocated",
                "info",
                f"{self._parameter} {self.levels[column]:g}, which alone moves the answers by {harm[row, column]:.3g} "
                "nats.",
                layer=target.path,
                found=self.levels[column],
            )


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


def _exact(harm: Table, cost: Table, limit: float) -> list[int]:
    """The choice of least harm: one level for each layer, as an integer program."""
    # Imported here: it takes a while, and most who import operations need it not.
    from scipy.optimize import Bounds, LinearConstraint, milp

    layers, levels = harm.shape
    one_each = np.kron(np.eye(layers), np.ones(levels))
    # Costs of millions of weights and harms of thousandths: both are brought to the size of one.
    scale = np.abs(cost).max() or 1.0
    solved = milp(
        harm.ravel() / (harm.max() or 1.0),
        integrality=np.ones(harm.size, dtype=np.int64),
        bounds=Bounds(0, 1),
        constraints=[LinearConstraint(one_each, 1, 1), LinearConstraint(cost.ravel() / scale, ub=limit / scale)],
        options={"mip_rel_gap": 0.0},
    )
    if solved.x is None:
        return _greedy(harm, cost, limit)
    return [int(column) for column in solved.x.reshape(harm.shape).argmax(axis=1)]


def _greedy(harm: Table, cost: Table, limit: float) -> list[int]:
    """From the choice of least harm on, take again and again the change of least further harm for what it saves."""
    rows = range(len(harm))
    chosen = [int(column) for column in harm.argmin(axis=1)]
    while sum(cost[row, chosen[row]] for row in rows) > limit:
        changes = [
            ((harm[row, column] - harm[row, chosen[row]]) / saved, row, column)
            for row in rows
            for column in range(harm.shape[1])
            if (saved := cost[row, chosen[row]] - cost[row, column]) > 0
        ]
        _, row, column = min(changes)
        chosen[row] = column
    return chosen
