"""What the store knows of the layers that `allocate` is to choose levels for, as numbers by layer."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import pyarrow.compute as pc

from cc_ray.errors import InvalidRecipeError, ModelNotFoundError
from cc_ray.search.layer_times import stored_times
from cc_ray.search.sensitivity import ProbePlan, plan_probes
from cc_ray.search.space import OUTPUT_NOISE, Rows, Stored, Times
from cc_ray.store import Store

if TYPE_CHECKING:
    from cc_ray.compress.allocate import Allocate
    from cc_ray.schema import Judged

_SHOWN: Final = 3
"""How many missing rows a message names."""
_DIGITS: Final = 9
"""Of a harm; what is beyond them differs between machines."""
_TIME_DIGITS: Final = 4
"""Of a time; what is beyond them is noise."""

Place = tuple[str, float | None]
"""A layer and its level."""


@dataclass(frozen=True)
class Look:
    """Where rows are looked for."""

    store: Store
    task_id: str

    def numbers(self, asked: Stored, made: Allocate, model_id: str) -> dict[str, Any]:
        """The parameters that stand for what is asked.

        Args:
            asked: Says which rows.
            made: The step, with what it works on and how.
            model_id: The model whose layers are meant.

        Raises:
            InvalidRecipeError: If rows are missing; says what measures them.
            UnknownMetricError: If layers were not judged by the metric.
        """
        if isinstance(asked, Times):
            return {"times_ms": self._times(asked, made, model_id)}
        return {"harms": self._harms(asked, made, model_id), "metric": asked.metric, "measured_on": asked.split}

    def _harms(self, asked: Rows, made: Allocate, model_id: str) -> dict[str, list[float]]:
        """How much worse the metric gets at each level."""
        # Imported here: torch is not needed to read a space.
        from cc_ray.evaluate import metrics

        plan = self._plan(asked, made, model_id, asked.metric, asked.split)
        rows = self._rows(plan)
        command = _command("sensitivity", plan, made, "--metric", plan.metric, "--split", plan.split)
        layers = self._complete(asked, rows, plan, made, command)
        if asked.metric == OUTPUT_NOISE:
            harm = _noise
        elif metrics[plan.metric].definition.direction == "higher":
            harm = _fall
        else:
            harm = _rise
        return {layer: [_told(asked, rows[layer, level], harm) for level in made.levels] for layer in layers}

    def _times(self, asked: Times, made: Allocate, model_id: str) -> dict[str, list[float]]:
        """Milliseconds at each level, and last as they are where layers may stay so."""
        plan = self._plan(asked, made, model_id)
        known = {name: each for name, each in stored_times(self.store, plan).items() if name.startswith(asked.device)}
        if len(known) > 1:
            refuse(asked, f"layers were timed on {' and '.join(map(repr, sorted(known)))}", "name one of them")
        times = next(iter(known.values()), {})
        command = _command("layer-times", plan, made, *(["--gpu"] if asked.device.startswith("cuda") else []))
        layers = self._complete(asked, times, plan, made, command)
        levels = (*made.levels, None) if made.may_stay else made.levels
        return {layer: [float(f"{times[layer, level]:.{_TIME_DIGITS}g}") for level in levels] for layer in layers}

    def _plan(
        self, asked: Stored, made: Allocate, model_id: str, metric: str = OUTPUT_NOISE, split: str = "evaluation"
    ) -> ProbePlan:
        levels = [int(level) if level.is_integer() else level for level in made.levels]
        # The rows of every metric tell of the noise.
        named = None if metric == OUTPUT_NOISE else metric
        try:
            return plan_probes(
                self.store,
                model_id,
                made.applied,
                levels,
                metric=named,
                fixed=made.settings,
                split=cast("Judged", split),
            )
        except ModelNotFoundError:
            verb = "sensitivity" if isinstance(asked, Rows) else "layer-times"
            refuse(
                asked,
                f"{self.store.root} does not hold the model {model_id} yet",
                f"make it by running recipes that begin alike, then measure it with `cc-ray {verb} {model_id}`",
            )

    def _rows(self, plan: ProbePlan) -> dict[Place, dict[str, Any]]:
        table = self.store.read("sensitivity")
        wanted = {"model_id": plan.model_id, "operation": plan.operation, "parameters": plan.others}
        for name, value in {**wanted, "parameter": plan.parameter, "metric": plan.metric}.items():
            table = table.filter(pc.equal(table[name], value))
        table = table.filter(pc.equal(pc.fill_null(table["split"], "evaluation"), plan.split))
        return {(row["layer"], row["level"]): row for row in table.to_pylist()}

    def _complete(
        self, asked: Stored, known: Collection[Place], plan: ProbePlan, made: Allocate, command: str
    ) -> list[str]:
        """The layers that the operation is to work on, of which every level is known."""
        layers = _chosen(plan.layers, made)
        missing = [(layer, level) for layer in layers for level in made.levels if (layer, level) not in known]
        if missing:
            named = ", ".join(f"'{layer}' at {level:g}" for layer, level in missing[:_SHOWN])
            refuse(
                asked,
                f"{len(missing)} of {len(layers) * len(made.levels)} rows are not in {self.store.root} ({named}"
                f"{', ...' if len(missing) > _SHOWN else ''})",
                f"measure them first: `{command}`",
            )
        return layers


def refuse(asked: Stored, what: str, remedy: str) -> NoReturn:
    """Say what is wrong with rows that are asked for, and the way out."""
    name = "rows_of" if isinstance(asked, Rows) else "times_of"
    raise InvalidRecipeError(f"search space: {name}(...): {what}; {remedy}.")


def _chosen(layers: Sequence[str], made: Allocate) -> list[str]:
    """Those of a model's layers that the operation is to work on."""
    from cc_ray.compress.targets import matches

    def named(layer: str, patterns: Sequence[str]) -> bool:
        return any(matches(pattern, name) for pattern in patterns for name in (layer, f"{layer}.weight"))

    return [layer for layer in layers if named(layer, made.include or ("*",)) and not named(layer, made.exclude)]


def _told(asked: Stored, row: Mapping[str, Any], harm: Callable[[Mapping[str, Any]], float]) -> float:
    if row["difference"] is None:
        refuse(asked, f"'{row['layer']}' has no value ({row['reason']})", "exclude it")
    return float(f"{harm(row):.{_DIGITS}g}")


def _noise(row: Mapping[str, Any]) -> float:
    # Of outputs that are equal there is no ratio.
    return 0.0 if row["output_sqnr_db"] is None else float(10 ** (-row["output_sqnr_db"] / 10))


def _rise(row: Mapping[str, Any]) -> float:
    return float(row["difference"])


def _fall(row: Mapping[str, Any]) -> float:
    return -_rise(row)


def _command(verb: str, plan: ProbePlan, made: Allocate, *more: str) -> str:
    levels = ",".join(f"{level:g}" for level in made.levels)
    settings = [f"--set={name}={json.dumps(value)}" for name, value in made.settings.items()]
    words = ["cc-ray", verb, plan.model_id, "--operation", plan.operation, "--levels", levels, *settings, *more]
    return shlex.join(words)
