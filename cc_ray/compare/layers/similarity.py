"""Which layers of two models say the same: every layer of one beside every layer of the other."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cc_ray.compare.asking import Row, comparable
from cc_ray.compare.layers.activations import Outputs, stored_outputs
from cc_ray.compare.layers.module_paths import natural
from cc_ray.views import Views

LAYER_SIMILARITY: Final = pa.schema(
    {
        "base_path": pa.string(),
        "path": pa.string(),
        "base_module": pa.string(),
        "module": pa.string(),
        "instances": pa.int64(),
        "cka": pa.float64(),
    }
)
_FROM: Final = ("base_layer", "layer", "base_module", "module", "instances", "cka")


def layer_similarity(views: Views, model: str, base: str) -> pa.Table:
    """How alike the outputs of every layer of a model and every layer of another are, over the sampled instances.

    A row per pair of innermost modules, by the base's path, then the model's; empty where nothing was recorded of one
    of the models. The base may be the model itself. Columns:

    - base_path, path, base_module and module (classes), instances (that both have in their samples);
    - cka (linear centred kernel alignment of their outputs, in [0, 1]; null where one of them is the same for all
      instances, NaN or infinite). With as few instances as are sampled it lies above its value for many.

    Args:
        views: The store.
        model: Model.
        base: Model that it is compared with.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If the models are of two tasks.

    Source of CKA: Kornblith et al., 2019, "Similarity of Neural Network Representations Revisited".
    """
    comparable(views, [model], base)
    held = stored_outputs(views, list(dict.fromkeys([base, model])))
    ours, theirs = ({path: row for (path, id), row in held.items() if id == one} for one in (model, base))
    if not ours or not theirs:
        return LAYER_SIMILARITY.empty_table()
    shared = _in_both(ours, theirs)
    mine, bases = (_kernels(outputs, shared) for outputs in (ours, theirs))
    cka = np.clip(bases @ mine.T, 0.0, 1.0)
    pairs = [(theirs[up], ours[path]) for up in _ordered(theirs) for path in _ordered(ours)]
    columns = {
        **{f"base_{name}": [row[name] for row, _ in pairs] for name in ("layer", "module")},
        **{name: [row[name] for _, row in pairs] for name in ("layer", "module")},
        "instances": [len(shared)] * len(pairs),
        "cka": pa.array(cka.ravel(), from_pandas=True),
    }
    return pa.table([columns[name] for name in _FROM], LAYER_SIMILARITY)


def _ordered(outputs: dict[str, Row]) -> list[str]:
    return sorted(outputs, key=natural)


def _in_both(ours: dict[str, Row], theirs: dict[str, Row]) -> NDArray[np.int64]:
    """Identities of the instances that every module of both models has."""
    samples = [row["instances"] for row in (*ours.values(), *theirs.values())]
    return np.array(sorted(set(samples[0]).intersection(*samples[1:])), np.int64)


def _kernels(outputs: dict[str, Row], instances: NDArray[np.int64]) -> Outputs:
    """Of each module, by path, the centred kernel of the instances as a vector of length 1; NaN where there is none."""
    return np.stack([_kernel(outputs[path], instances) for path in _ordered(outputs)])


def _kernel(row: Row, instances: NDArray[np.int64]) -> Outputs:
    place = {instance: at for at, instance in enumerate(row["instances"])}
    values = row["values"][[place[instance] for instance in instances.tolist()]]
    nothing = np.full(max(len(instances), 1) ** 2, np.nan)
    if not len(values) or not np.isfinite(values).all():
        return nothing
    centred = values - values.mean(axis=0)
    kernel = (centred @ centred.T).ravel()
    norm = float(np.linalg.norm(kernel))
    return kernel / norm if norm > 0 else nothing
