"""Sensitivity: what becomes of a model when one of its layers alone is compressed.

Nothing here knows of a cluster: `search/sensitivity.py` does the same in many processes, with the same results. They
are also those of a step whose `include` names the layer.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from torch import Tensor, nn

from cc_ray.compress.alone import compress_alone
from cc_ray.errors import NotApplicableError
from cc_ray.evaluate.judge import Judge, sqnr_db
from cc_ray.evaluate.metrics import Value
from cc_ray.evaluate.stored_model import StoredModel
from cc_ray.recipe import Step, canonical_json, identity
from cc_ray.store.artifacts import is_quantized
from cc_ray.tasks import Split

TARGETS: Final = ("include", "exclude")
"""Parameters of a step that say what it works on."""


@dataclass(frozen=True)
class Probe:
    """One layer of a model, to be compressed alone at one level."""

    model_id: str
    layer: str
    """Path of its module."""
    parameter: str | None
    """The parameter that is the level; None for an operation without."""
    step: Step
    """Canonical; its `include` names the layer and nothing else."""
    split: Split = "evaluation"
    """What it is judged on."""

    @property
    def key(self) -> str:
        """Names the batch of its rows; the model's identity stands for the seed too."""
        # What was measured before there was a choice of splits keeps its name.
        other = () if self.split == "evaluation" else (self.split,)
        return identity("sensitivity", self.model_id, self.parameter, self.step.to_json(), *other)

    @property
    def level(self) -> float | None:
        """Value of the parameter that is the level."""
        return None if self.parameter is None else float(self.step.parameters[self.parameter])

    @property
    def others(self) -> str:
        """The step's parameters without its level and what it works on, JSON."""
        left_out = (*TARGETS, self.parameter)
        return canonical_json({name: value for name, value in self.step.parameters.items() if name not in left_out})


class Bench:
    """A model whose layers can be compressed one at a time: it, the data and its own answers are loaded once.

    Args:
        stored: The model.
        split: What is judged on.
    """

    def __init__(self, stored: StoredModel, split: Split = "evaluation") -> None:
        self._stored = stored
        self._model = stored.load()
        self._judge = Judge(stored, split)
        self._answers = self._judge.answers(self._model)
        self._values = self._judge.values(self._model, self._answers)

    def measure(self, probe: Probe) -> list[dict[str, Any]]:
        """Rows of `schema.SENSITIVITY`, one a metric; without a value where the operation does not apply.

        Args:
            probe: A layer of this model and a step that suits it, to be judged on this split.
        """
        start = time.perf_counter()
        try:
            child = compress_alone(probe.step, self._model, self._stored.context())
        except NotApplicableError as error:
            found: dict[str, Any] = {"reason": str(error)}
            values: dict[str, Value] = {}
        else:
            answers = self._judge.answers(child)
            found = self._distances(probe.layer, child, answers.outputs)
            values = self._judge.values(child, answers)
        found |= {"duration_s": time.perf_counter() - start, "at": datetime.now(UTC)}
        return [self._row(probe, name, values.get(name)) | found for name in self._values]

    def _distances(self, layer: str, child: nn.Module, outputs: Tensor) -> dict[str, Any]:
        mine, own = (_weight(model, layer) for model in (child, self._model))
        return {"weight_sqnr_db": sqnr_db(mine, own), "output_sqnr_db": sqnr_db(outputs, self._answers.outputs)}

    def _row(self, probe: Probe, metric: str, value: Value | None) -> dict[str, Any]:
        own = self._values[metric].value
        row = {
            "model_id": probe.model_id,
            "task_id": self._stored.row["task_id"],
            "operation": probe.step.operation,
            "parameters": probe.others,
            "layer": probe.layer,
            "parameter": probe.parameter,
            "level": probe.level,
            "split": probe.split,
            "metric": metric,
            "model_value": own,
            "seed": self._stored.recipe.seed,
        }
        if value is None:
            return row
        measured = {name: getattr(value, name) for name in ("value", "ci_low", "ci_high", "n")}
        return row | measured | {"difference": value.value - own}


def _weight(model: nn.Module, layer: str) -> Tensor:
    """The real values of a layer's weight."""
    weight: Any = model.get_submodule(layer).weight
    return weight.dequantize() if is_quantized(weight) else weight  # type: ignore[no-any-return]
