"""How far what the modules of models put out lies from a base's, over the stored sample of instances.

The errors are accumulated: they hold what all modules before did. `isolated_sqnr_db` is a module's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cc_ray.compare.asking import Row, comparable, marks
from cc_ray.compare.layers.module_paths import matching, natural
from cc_ray.compare.recipes.lineage import parents
from cc_ray.views import Views

Outputs = NDArray[np.float64]
"""(instances, channels)."""

ACTIVATION_CHANGES: Final = pa.schema(
    {
        "path": pa.string(),
        "module": pa.string(),
        "model_id": pa.string(),
        "instances": pa.int64(),
        "channels": pa.int64(),
        "base_channels": pa.int64(),
        "sqnr_db": pa.float64(),
        "cosine": pa.float64(),
        "mse": pa.float64(),
        "relative_error": pa.float64(),
        "cka": pa.float64(),
        "isolated_sqnr_db": pa.float64(),
        "reason": pa.string(),
    }
)


def activation_changes(views: Views, ids: Iterable[str], base: str, *, pattern: str = "") -> pa.Table:
    """How the outputs of models' modules differ from a base's, over the sampled instances that both have.

    A row per module and model; a module that only one of both has is there with nulls. Sorted by path, then model.
    Columns:

    - path, module (class), model_id, instances (that both have in their samples), channels, base_channels (null where
      there is no such module);
    - for outputs x of the base and y of the model, (instances, channels) as `activations.values` holds them: sqnr_db
      (20 log10(||x|| / ||x - y||); null when equal), cosine (of x and y as two vectors), mse (mean of (x - y)^2),
      relative_error (||x - y|| / ||x||, accumulated over all modules before), cka (linear centred kernel alignment, in
      [0, 1]; null where x or y are the same for all instances);
    - isolated_sqnr_db: of the module alone, where the base is the model's parent; null when equal or not recorded;
    - reason: why values are null; empty where none is missing for a reason of its own.

    Where channels were removed only cka has an answer.

    Args:
        views: The store.
        ids: Models.
        base: Model that they are compared with; any model.
        pattern: Only the topmost modules in whose path this regular expression is found, upper and lower case alike.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If the models are of several tasks.
        QueryError: If the pattern is none.

    Source of CKA: Kornblith et al., 2019, "Similarity of Neural Network Representations Revisited".
    """
    models = comparable(views, ids, base)
    held = stored_outputs(views, list(dict.fromkeys([base, *models])))
    paths = sorted({path for path, _ in held}, key=natural)
    if pattern:
        paths = matching(views, paths, pattern)
    made_from = {model_id: base in parents(views, [model_id]) for model_id in models}
    # Of models of several architectures some paths are those of a third one.
    pairs = [(path, id) for path in paths for id in models if (path, id) in held or (path, base) in held]
    found = [_row(path, id, held.get((path, id)), held.get((path, base)), made_from[id]) for path, id in pairs]
    return pa.Table.from_pylist(found, ACTIVATION_CHANGES)


def linear_cka(first: Outputs, second: Outputs) -> float | None:
    """Linear centred kernel alignment of two representations of the same instances, in [0, 1].

    Args:
        first: (instances, channels).
        second: (instances, other channels).

    Returns:
        None where one of them is the same for all instances.

    Source: Kornblith et al., 2019, "Similarity of Neural Network Representations Revisited".
    """
    x, y = (values - values.mean(axis=0) for values in (first, second))
    # By the kernels of the instances: there are fewer of them than channels.
    ours, theirs = x @ x.T, y @ y.T
    scale = float(np.linalg.norm(ours) * np.linalg.norm(theirs))
    return float((ours * theirs).sum()) / scale if scale > 0 else None


def stored_outputs(views: Views, models: Sequence[str]) -> dict[tuple[str, str], Row]:
    """What the modules of models put out, by path and model_id: `values` is (instances, channels)."""
    text = f"""
        SELECT model_id, layer, module, instances, shape, "values", isolated_sqnr_db
        FROM activations
        WHERE model_id IN {marks(models)}
    """
    table = views.sql(text, models)
    rows = table.drop(["values"]).to_pylist()
    values = table["values"]
    for place, row in enumerate(rows):
        row["values"] = values[place].values.to_numpy(zero_copy_only=False).astype(np.float64).reshape(row["shape"])
    return {(row["layer"], row["model_id"]): row for row in rows}


def _row(path: str, model_id: str, own: Row | None, base: Row | None, is_child: bool) -> Row:
    there = own or base
    assert there is not None
    head = {
        "path": path,
        "module": there["module"],
        "model_id": model_id,
        "channels": own["shape"][1] if own else None,
        "base_channels": base["shape"][1] if base else None,
        "isolated_sqnr_db": own["isolated_sqnr_db"] if own and is_child else None,
    }
    if own is None or base is None:
        who = "the base" if own else "the model"
        return head | {"instances": 0, "reason": f"{who} has no such module, or nothing was recorded of it"}
    x, y = _matched(base, own)
    return head | {"instances": len(x), **_measures(x, y)}


def _matched(base: Row, own: Row) -> tuple[Outputs, Outputs]:
    """Outputs for the instances that both have, in the same order."""
    _, theirs, mine = np.intersect1d(base["instances"], own["instances"], return_indices=True)
    return base["values"][theirs], own["values"][mine]


def _measures(x: Outputs, y: Outputs) -> Row:
    if not len(x):
        return {"reason": "the samples have no instance in common"}
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return {"reason": "outputs are NaN or infinite"}
    cka = linear_cka(x, y)
    if x.shape != y.shape:
        return {"cka": cka, "reason": f"{y.shape[1]} channels against {x.shape[1]} of the base"}
    signal, own, noise = (float(np.linalg.norm(values)) for values in (x, y, x - y))
    relative = noise / signal if signal else (None if noise else 0.0)
    return {
        "cka": cka,
        "sqnr_db": -20 * math.log10(relative) if relative else None,
        "cosine": float((x * y).sum()) / (signal * own) if signal and own else None,
        "mse": float(np.square(x - y).mean()),
        "relative_error": relative,
        "reason": "" if signal else "the base's outputs are all zeros",
    }
