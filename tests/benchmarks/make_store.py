"""Make a store as an exploration would leave it, of any size, in seconds: for benchmarks, screens and tests.

Weights are small arrays that the operations really change, so layers, sparsity and size follow from them. Logits are
drawn: an operation adds noise in proportion to what it destroys, fine-tuning pulls back towards the base model.
Everything follows from the seed. Run it with `python -m tests.benchmarks.make_store PATH --models 65`.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import special, stats

from cc_ray.recipe import Recipe, Step, canonical_json, identity
from cc_ray.store import Store

Floats = NDArray[np.float32]
Weights = dict[tuple[str, str], Floats]
Module = tuple[str, dict[str, tuple[int, ...]]]
"""Class and tensor shapes."""
Architecture = dict[str, Module]
"""Modules by path."""

STUDY: Final = "digits"
DEPTH: Final = 4
START: Final = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SAMPLE: Final = 16
"""Instances in the activation sample."""


def _module(kind: str, *weight: int, bias: bool = True) -> Module:
    return kind, {"weight": weight, "bias": weight[:1]} if bias else {"weight": weight}


def _resnet_block(name: str, outputs: int, inputs: int) -> Architecture:
    return {
        f"{name}.conv1": _module("Conv2d", outputs, inputs, 3, 3, bias=False),
        f"{name}.norm1": _module("BatchNorm2d", outputs),
        f"{name}.conv2": _module("Conv2d", outputs, outputs, 3, 3, bias=False),
        f"{name}.norm2": _module("BatchNorm2d", outputs),
    }


def _vit_layer(name: str) -> Architecture:
    return {
        f"{name}.layernorm_before": _module("LayerNorm", 32),
        **{f"{name}.attention.attention.{part}": _module("Linear", 32, 32) for part in ("query", "key", "value")},
        f"{name}.attention.output.dense": _module("Linear", 32, 32),
        f"{name}.layernorm_after": _module("LayerNorm", 32),
        f"{name}.intermediate.dense": _module("Linear", 64, 32),
        f"{name}.output.dense": _module("Linear", 32, 64),
    }


RESNET: Final[Architecture] = {
    "conv1": _module("Conv2d", 16, 1, 3, 3, bias=False),
    "norm1": _module("BatchNorm2d", 16),
    **_resnet_block("blocks.0", 16, 16),
    **_resnet_block("blocks.1", 32, 16),
    **_resnet_block("blocks.2", 32, 32),
    "head": _module("Linear", 10, 32),
}
VIT: Final[Architecture] = {
    "vit.embeddings.patch_embeddings.projection": _module("Conv2d", 32, 1, 2, 2),
    **_vit_layer("vit.encoder.layer.0"),
    **_vit_layer("vit.encoder.layer.1"),
    "vit.layernorm": _module("LayerNorm", 32),
    "classifier": _module("Linear", 10, 32),
}
ARCHITECTURES: Final = {"resnet": RESNET, "vit": VIT}
MARGINS: Final = {"resnet": 7.0, "vit": 6.0}
TARGETS: Final[dict[str, list[str]]] = {"include": [], "exclude": []}
PRUNED: Final[dict[str, Any]] = {**TARGETS, "levels": {}, "semi_structured": None}
CUT: Final[dict[str, Any]] = {**TARGETS, "importance": "l2", "split": "calibration", "instances": 512}
ROUNDED: Final[dict[str, Any]] = {**TARGETS, "symmetric": True, "group_size": None}
TRAINED: Final[dict[str, Any]] = {
    "batch_size": 64, "warm_up": 0.3, "largest_gradient": None, "precision": "float32",
}  # fmt: skip

METRICS: Final[list[tuple[str, str, str, str, float | None, float | None, bool, str, str]]] = [
    ("accuracy", "Accuracy", "", "higher", 0, 1, True, "percent", "share of instances predicted correctly"),
    ("loss", "Loss", "nats", "lower", 0, None, False, "number", "mean of -ln of the true class's probability"),
    ("size_bytes", "Size", "bytes", "lower", 0, None, True, "bytes", "size of the saved model on disk"),
    ("num_parameters", "Parameters", "", "lower", 0, None, False, "count", "number of weights"),
    ("num_nonzero_parameters", "Non-zero parameters", "", "lower", 0, None, False, "count", "weights that are not 0"),
    ("sparsity", "Sparsity", "", "none", 0, 1, True, "percent", "share of weights that are zero"),
    ("effective_bits", "Effective bits", "bits", "lower", 0, None, False, "bits", "bits on disk per weight"),
    ("multiply_adds", "Multiply-adds", "", "lower", 0, None, True, "count", "multiplications and additions a forward"),
    ("latency_p50_ms", "Latency p50", "ms", "lower", 0, None, True, "ms", "median time of one forward pass"),
    (
        "latency_p90_ms",
        "Latency p90",
        "ms",
        "lower",
        0,
        None,
        False,
        "ms",
        "time that 90 % of forward passes stay below",
    ),
    ("speedup", "Speed-up", "", "higher", 0, None, False, "number", "base model's median time over this model's"),
]


@dataclass
class Node:
    """A model: how it came to be, its weights and its answers."""

    recipe: Recipe
    parent: Node | None
    weights: Weights
    logits: Floats
    """Unnormalised class scores, (instances, classes)."""
    bits: int = 32
    representation: str = "float"
    index: int = 0
    children: list[Node] = field(default_factory=list)

    @property
    def step(self) -> Step:
        """The step that made it."""
        return self.recipe.steps[-1]

    @property
    def root(self) -> Node:
        """Its base model."""
        return self if self.parent is None else self.parent.root

    @cached_property
    def probabilities(self) -> Floats:
        """Softmax of the logits."""
        return np.asarray(special.softmax(self.logits, axis=1), np.float32)

    @property
    def made_at(self) -> datetime:
        """When the step was done: models come five seconds apart."""
        return START + timedelta(seconds=5 * self.index)


@dataclass(frozen=True)
class World:
    """What all models of a store share."""

    task_id: str
    labels: NDArray[np.int32]
    classes: int

    def model_id(self, node: Node) -> str:
        """Identity of a model."""
        return node.recipe.model_ids(self.task_id)[-1]


def make_store(
    root: Path | str,
    *,
    models: int = 65,
    instances: int = 10_000,
    classes: int = 10,
    seed: int = 0,
    save_weights: bool = False,
) -> Store:
    """Fill a new store.

    Args:
        root: Folder of the store; made if it is not there.
        models: Number of models, base models included.
        instances: Number of evaluation instances.
        classes: Number of classes.
        seed: The same seed gives the same store.
        save_weights: Save the models' weights, too, so that any two of them can be compared.
    """
    rng = np.random.default_rng(seed)
    store = Store(root, create=True)
    world = World(identity("task", "synthetic", instances, classes, seed), _labels(rng, instances, classes), classes)
    store.publish("task", world.task_id, _task_rows(rng, world))
    nodes = grow(rng, world, models, seed)
    for node in nodes:
        rows = _step_rows(rng, world, node)
        if save_weights:
            rows["models"][0]["artifact"] = _saved(store, node)
        store.publish("step", world.model_id(node), rows)
        store.publish("latency", world.model_id(node), {"metrics": list(_latency_rows(rng, world, node))})
    _publish_runs(store, rng, world, nodes)
    _publish_study(store, world, nodes)
    return store


def _saved(store: Store, node: Node) -> str:
    """Save a model that is nothing but its weights; its digest."""
    # Takes seconds, and few stores need it.
    import torch

    from cc_ray.store.artifacts import save_model

    whole = torch.nn.Module()
    for (layer, tensor), value in node.weights.items():
        module = whole
        for part in layer.split("."):
            if part not in dict(module.named_children()):
                module.add_module(part, torch.nn.Module())
            module = module.get_submodule(part)
        module.register_parameter(tensor, torch.nn.Parameter(torch.from_numpy(value.copy())))
    return save_model(store.layout, whole).digest


def grow(rng: np.random.Generator, world: World, models: int, seed: int) -> list[Node]:
    """Grow the lineage: sweeps of one operation under models drawn at random, parents before children."""
    nodes = [_base(rng, world, base, seed) for base in list(ARCHITECTURES)[:models]]
    known = {world.model_id(node) for node in nodes}
    while len(nodes) < models:
        parent = _growing(rng, nodes)
        for step in _sweep(rng, parent):
            recipe = replace(parent.recipe, steps=(*parent.recipe.steps, step))
            if len(nodes) < models and recipe.model_ids(world.task_id)[-1] not in known:
                nodes.append(_child(rng, parent, recipe, len(nodes)))
                known.add(world.model_id(nodes[-1]))
    return nodes


def _labels(rng: np.random.Generator, instances: int, classes: int) -> NDArray[np.int32]:
    return rng.permutation(np.arange(instances) % classes).astype(np.int32)


def _base(rng: np.random.Generator, world: World, base: str, seed: int) -> Node:
    logits = rng.normal(0, 1.2, (len(world.labels), world.classes))
    logits[np.arange(len(world.labels)), world.labels] = rng.normal(MARGINS[base], 2.2, len(world.labels))
    weights: Weights = {}
    for layer, (_, tensors) in ARCHITECTURES[base].items():
        for tensor, shape in tensors.items():
            scale = 1 / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.1
            centre = 1.0 if "norm" in layer and tensor == "weight" else 0.0
            weights[layer, tensor] = rng.normal(centre, scale, shape).astype(np.float32)
    return Node(Recipe(base, (), seed), None, weights, logits.astype(np.float32), index=list(ARCHITECTURES).index(base))


def _growing(rng: np.random.Generator, nodes: list[Node]) -> Node:
    able = [node for node in nodes if node.representation == "float" and len(node.recipe.steps) < DEPTH]
    fresh = [node for node in able if not node.children]
    pool = fresh if fresh and rng.random() < 0.7 else able
    return pool[int(rng.integers(len(pool)))]


def _sweep(rng: np.random.Generator, parent: Node) -> list[Step]:
    """One operation with one parameter varied."""
    count = int(rng.integers(2, 5))
    scope = str(rng.choice(["global", "layer"]))
    levels = sorted(round(float(level), 2) for level in rng.choice(np.arange(0.1, 0.96, 0.05), count, replace=False))
    granularity = str(rng.choice(["tensor", "channel"]))
    widths = sorted(int(bits) for bits in rng.choice(np.arange(2, 9), count, replace=False))
    sweeps = [
        [Step("magnitude_pruning", {"sparsity": level, "scope": scope, **PRUNED}) for level in levels],
        [Step("magnitude_pruning", {"sparsity": level, "scope": scope, **PRUNED}) for level in levels],
        [Step("random_pruning", {"sparsity": level, "scope": scope, **PRUNED}) for level in levels[:2]],
        [Step("channel_pruning", {"ratio": round(level / 2, 3), **CUT}) for level in levels],
        [Step("quantize_weights", TARGETS), Step("quantize_dynamic", TARGETS)],
        [Step("uniform_quantization", {"bits": bits, "granularity": granularity, **ROUNDED}) for bits in widths],
    ]
    healing = [[Step("calibrate", {"batch_size": 64})], [_fine_tune(epochs, rng) for epochs in (1, 2, 5)[:count]]]
    if len(parent.recipe.steps) > 0:
        restore = Step("restore", {"include": ["*norm*"], "from_step": int(rng.integers(len(parent.recipe.steps)))})
        sweeps += [*healing, healing[1], healing[1], [restore]]
    return sweeps[int(rng.integers(len(sweeps)))]


def _fine_tune(epochs: int, rng: np.random.Generator) -> Step:
    rate = float(rng.choice([0.001, 0.0003]))
    return Step("fine_tune", {"epochs": epochs, "learning_rate": rate, **TRAINED})


def _child(rng: np.random.Generator, parent: Node, recipe: Recipe, index: int) -> Node:
    step = recipe.steps[-1]
    noise, healed = _damage(step)
    bias = rng.normal(0, noise / 3, parent.logits.shape[1])
    logits = parent.logits + rng.normal(0, max(noise, 0.02), parent.logits.shape) + bias
    logits = (1 - healed) * logits + healed * parent.root.logits
    child = Node(recipe, parent, _changed(rng, parent, step), logits.astype(np.float32), _bits(step, parent))
    child.representation = {"uniform_quantization": "simulated"}.get(step.operation, "float")
    child.representation = "quantized" if step.operation.startswith("quantize_") else child.representation
    child.index = index
    parent.children.append(child)
    return child


def _damage(step: Step) -> tuple[float, float]:
    """Noise that a step adds to logits, and the share of the way back to the base model that it goes."""
    values = step.parameters
    match step.operation:
        case "magnitude_pruning":
            return 5 * values["sparsity"] ** 5, 0.0
        case "random_pruning":
            return 7 * values["sparsity"] ** 2, 0.0
        case "channel_pruning":
            return 5 * values["ratio"] ** 1.5, 0.0
        case "uniform_quantization":
            return 14 * 2.0 ** -values["bits"], 0.0
        case "fine_tune":
            return 0.15, 1 - 0.45 ** values["epochs"]
        case "calibrate":
            return 0.05, 0.3
        case "restore":
            return 0.05, 0.5
    return 0.06, 0.0


def _bits(step: Step, parent: Node) -> int:
    if step.operation.startswith("quantize_"):
        return 8
    return int(step.parameters.get("bits", parent.bits))


def _changed(rng: np.random.Generator, parent: Node, step: Step) -> Weights:
    values = step.parameters
    match step.operation:
        case "magnitude_pruning":
            return _pruned(parent, {key: np.abs(value) for key, value in parent.weights.items()}, values)
        case "random_pruning":
            scores = {k: rng.random(v.shape).astype(np.float32) * (v != 0) for k, v in parent.weights.items()}
            return _pruned(parent, scores, values)
        case "channel_pruning":
            return {k: v if _is_head(k) else v[: _kept(v, values["ratio"])] for k, v in parent.weights.items()}
        case "fine_tune":
            return {k: _moved(rng, v) for k, v in parent.weights.items()}
        case "restore":
            return _restored(parent, values["from_step"])
        case "calibrate":
            return dict(parent.weights)
    return {k: _rounded(v, _bits(step, parent)) if v.ndim > 1 else v for k, v in parent.weights.items()}


def _pruned(parent: Node, scores: Weights, values: Any) -> Weights:
    matrices = {key: score for key, score in scores.items() if parent.weights[key].ndim > 1}
    everything = np.concatenate([score.ravel() for score in matrices.values()])
    result = dict(parent.weights)
    for key, score in matrices.items():
        pool = everything if values["scope"] == "global" else score
        result[key] = np.where(score > np.quantile(pool, values["sparsity"]), parent.weights[key], np.float32(0))
    return result


def _is_head(key: tuple[str, str]) -> bool:
    return key[0] in {"head", "classifier"}


def _kept(value: Floats, ratio: float) -> int:
    return max(1, round(len(value) * (1 - ratio)))


def _moved(rng: np.random.Generator, value: Floats) -> Floats:
    return np.where(value == 0, value, value * (1 + rng.normal(0, 0.05, value.shape))).astype(np.float32)


def _rounded(value: Floats, bits: int) -> Floats:
    scale = float(np.abs(value).max()) / max(2 ** (bits - 1) - 1, 1) or 1.0
    return (np.round(value / scale) * scale).astype(np.float32)


def _restored(parent: Node, from_step: int) -> Weights:
    donor = parent
    while len(donor.recipe.steps) > from_step and donor.parent is not None:
        donor = donor.parent
    return {
        key: donor.weights[key] if "norm" in key[0] and donor.weights[key].shape == value.shape else value
        for key, value in parent.weights.items()
    }


def _task_rows(rng: np.random.Generator, world: World) -> dict[str, list[dict[str, Any]]]:
    task = {
        "task_id": world.task_id,
        "task": "synthetic",
        "parameters": "{}",
        "class_names": [str(label) for label in range(world.classes)],
        "bases": list(ARCHITECTURES),
        "created_at": START,
    }
    names = ("metric", "label", "unit", "direction", "min", "max", "primary", "format", "meaning")
    metrics = [dict(zip(names, metric, strict=True)) for metric in METRICS]
    return {"tasks": [task], "metric_definitions": metrics, "instances": list(_instance_rows(rng, world))}


def _instance_rows(rng: np.random.Generator, world: World) -> Iterator[dict[str, Any]]:
    font = ImageFont.load_default(size=22)
    offsets = rng.integers(-3, 4, (len(world.labels), 2))
    for instance, label in enumerate(world.labels):
        yield {
            "task_id": world.task_id,
            "instance": instance,
            "label": int(label),
            "label_name": str(label),
            "slices": [f"class:{label}"],
            "payload": _png(str(label), font, tuple(offsets[instance])),
            "payload_type": "image/png",
        }


def _png(text: str, font: Any, offset: tuple[int, ...]) -> bytes:
    image = Image.new("L", (28, 28))
    ImageDraw.Draw(image).text((14 + int(offset[0]), 14 + int(offset[1])), text, fill=255, font=font, anchor="mm")
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _step_rows(rng: np.random.Generator, world: World, node: Node) -> dict[str, Any]:
    layers = [_layer_row(world, node, key) for key in node.weights]
    return {
        "models": [_model_row(world, node)],
        "lineage": list(_lineage_rows(world, node)),
        "metrics": [*_answer_metrics(world, node), *_weight_metrics(world, node, layers)],
        "predictions": _predictions(world, node),
        "layers": layers,
        "activations": [_activation_row(rng, world, node, layer) for layer, _ in _matrices(node)],
        "findings": _finding_rows(world, node),
    }


def _model_row(world: World, node: Node) -> dict[str, Any]:
    base = node.parent is None
    return {
        "model_id": world.model_id(node),
        "task_id": world.task_id,
        "base": node.recipe.base,
        "name": str(node.recipe),
        "operation": None if base else node.step.operation,
        "parameters": "{}" if base else canonical_json(node.step.parameters),
        "recipe": canonical_json(node.recipe.to_json()),
        "step_index": len(node.recipe.steps),
        "seed": node.recipe.seed,
        "artifact": sha256(world.model_id(node).encode()).hexdigest(),
        "representation": node.representation,
        "study_id": STUDY,
        "device": "cpu",
        "duration_s": 2.0 if base else 0.1,
        "created_at": node.made_at,
    }


def _lineage_rows(world: World, node: Node) -> Iterator[dict[str, str]]:
    if node.parent is None:
        return
    child = world.model_id(node)
    yield {"child": child, "parent": world.model_id(node.parent), "role": "parent"}
    if node.step.operation == "restore":
        donor = node.recipe.prefix(node.step.parameters["from_step"]).model_ids(world.task_id)[-1]
        yield {"child": child, "parent": donor, "role": "donor"}


def _metric(world: World, node: Node, metric: str, value: float, **more: Any) -> dict[str, Any]:
    row = {"model_id": world.model_id(node), "metric": metric, "split": "", "slice": "all", "device": ""}
    return {**row, "value": float(value), **more}


def _answer_metrics(world: World, node: Node) -> Iterator[dict[str, Any]]:
    correct = node.probabilities.argmax(axis=1) == world.labels
    for label in [None, *range(world.classes)]:
        chosen = correct if label is None else correct[world.labels == label]
        interval = stats.binomtest(int(chosen.sum()), len(chosen)).proportion_ci(method="wilson")
        more = {"split": "evaluation", "slice": "all" if label is None else f"class:{label}", "n": len(chosen)}
        yield _metric(world, node, "accuracy", chosen.mean(), ci_low=interval.low, ci_high=interval.high, **more)
    losses = -np.log(_true_probability(world, node))
    half = 1.96 * float(losses.std()) / np.sqrt(len(losses))
    mean = float(losses.mean())
    yield _metric(world, node, "loss", mean, ci_low=mean - half, ci_high=mean + half, split="evaluation", n=len(losses))


def _weight_metrics(world: World, node: Node, layers: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    parameters = sum(layer["parameters"] for layer in layers)
    zeros = sum(layer["zeros"] for layer in layers)
    bits = sum(layer["effective_bits"] * layer["parameters"] for layer in layers)
    yield _metric(world, node, "size_bytes", round(bits / 8) + 2_048)
    yield _metric(world, node, "num_parameters", parameters)
    yield _metric(world, node, "num_nonzero_parameters", parameters - zeros)
    yield _metric(
        world, node, "sparsity", np.mean(np.concatenate([value.ravel() for _, value in _matrices(node)]) == 0)
    )
    yield _metric(world, node, "effective_bits", bits / parameters)
    yield _metric(world, node, "multiply_adds", _multiply_adds(node))


def _multiply_adds(node: Node) -> int:
    return sum(value.size * (64 if value.ndim == 4 else 17) for _, value in _matrices(node))


def _matrices(node: Node) -> list[tuple[str, Floats]]:
    return [(layer, value) for (layer, _), value in node.weights.items() if value.ndim > 1]


def _latency_rows(rng: np.random.Generator, world: World, node: Node) -> Iterator[dict[str, Any]]:
    share = (_multiply_adds(node) / _multiply_adds(node.root)) ** 0.6
    share *= {"quantize_dynamic": 0.7}.get(node.step.operation, 1.0) if node.parent else 1.0
    median = (0.9 if node.recipe.base == "resnet" else 1.4) * share * rng.normal(1, 0.01)
    for metric, value in (("latency_p50_ms", median), ("latency_p90_ms", median * 1.15), ("speedup", 1 / share)):
        interval = {"ci_low": value * 0.985, "ci_high": value * 1.015}
        yield _metric(world, node, metric, value, **interval, device="cpu, 1 thread, batch 1", n=60)


def _true_probability(world: World, node: Node) -> Floats:
    return np.maximum(node.probabilities[np.arange(len(world.labels)), world.labels], np.float32(1e-12))


def _predictions(world: World, node: Node) -> pa.Table:
    count = len(world.labels)
    p = node.probabilities
    prediction = p.argmax(axis=1).astype(np.int32)
    true = _true_probability(world, node)
    others = p.copy()
    others[np.arange(count), world.labels] = -1
    offsets = np.arange(0, p.size + 1, world.classes, dtype=np.int32)
    return pa.table(
        {
            "model_id": pa.repeat(world.model_id(node), count),
            "instance": np.arange(count),
            "label": world.labels,
            "prediction": prediction,
            "correct": prediction == world.labels,
            "confidence": p.max(axis=1),
            "true_probability": true,
            "loss": -np.log(true),
            "margin": true - others.max(axis=1),
            "entropy": special.entr(p).sum(axis=1).astype(np.float32),
            "probabilities": pa.ListArray.from_arrays(pa.array(offsets), pa.array(p.ravel())),
        }
    )


def _layer_row(world: World, node: Node, key: tuple[str, str]) -> dict[str, Any]:
    value = node.weights[key]
    parent = None if node.parent is None else node.parent.weights[key]
    counts, edges = np.histogram(value, 30)
    return {
        "model_id": world.model_id(node),
        "layer": key[0],
        "tensor": key[1],
        "module": ARCHITECTURES[node.recipe.base][key[0]][0],
        "shape": list(value.shape),
        "dtype": "int8" if node.bits == 8 and node.representation == "quantized" and value.ndim > 1 else "float32",
        "parameters": value.size,
        "zeros": int((value == 0).sum()),
        "effective_bits": _effective_bits(node, value),
        "l1": float(np.abs(value).sum()),
        "l2": float(np.linalg.norm(value)),
        "min": float(value.min()),
        "max": float(value.max()),
        "histogram": counts.tolist(),
        "histogram_edges": edges.tolist(),
        **_change(value, parent),
    }


def _effective_bits(node: Node, value: Floats) -> float:
    width = node.bits + 32 / value.size if node.bits < 32 and value.ndim > 1 else 32.0
    return float(min(width, 1 + 32 * np.count_nonzero(value) / value.size))


def _change(value: Floats, parent: Floats | None) -> dict[str, Any]:
    if parent is None or parent.shape != value.shape:
        return {"sqnr_db": None, "relative_change": None, "reshaped": parent is not None}
    change = float(np.linalg.norm(value - parent) / np.linalg.norm(parent))
    return {
        "sqnr_db": -20 * float(np.log10(change)) if change else None,
        "relative_change": change,
        "reshaped": False,
    }


def _activation_row(rng: np.random.Generator, world: World, node: Node, layer: str) -> dict[str, Any]:
    count = min(SAMPLE, len(world.labels))
    values = np.maximum(rng.normal(0, 1, (count, 32)), 0).astype(np.float32)
    counts, edges = np.histogram(values, 20)
    return {
        "model_id": world.model_id(node),
        "layer": layer,
        "module": ARCHITECTURES[node.recipe.base][layer][0],
        "mean": float(values.mean()),
        "std": float(values.std()),
        "zeros": float((values == 0).mean()),
        "histogram": counts.tolist(),
        "histogram_edges": edges.tolist(),
        "instances": list(range(count)),
        "shape": list(values.shape),
        "values": values.ravel().tolist(),
    }


def _finding_rows(world: World, node: Node) -> list[dict[str, Any]]:
    if node.parent is None or node.step.operation != "calibrate":
        return []
    row = {"model_id": world.model_id(node), "check": "nothing_changed", "severity": "warning", "layer": ""}
    return [{**row, "message": "The operation changed no weight: the model is its parent."}]


def _publish_runs(store: Store, rng: np.random.Generator, world: World, nodes: list[Node]) -> None:
    for node in nodes:
        for kind, seconds in (("step", rng.uniform(0.5, 3)), ("latency", rng.uniform(0.3, 0.6))):
            run_id = identity("run", world.model_id(node), kind)
            row = {
                "run_id": run_id,
                "model_id": world.model_id(node),
                "kind": kind,
                "study_id": STUDY,
                "outcome": "published",
                "node": f"node-{node.index % 2}",
                "process": 4_000 + node.index % 4,
                "started_at": node.made_at,
                "duration_s": float(seconds),
            }
            store.publish("run", run_id, {"step_runs": [row]})


def _publish_study(store: Store, world: World, nodes: list[Node]) -> None:
    end = nodes[-1].made_at + timedelta(seconds=5)
    study = {
        "study_id": STUDY,
        "task_id": world.task_id,
        "search_space": json.dumps({"name": STUDY, "method": "grid"}),
        "objectives": json.dumps({"accuracy": "higher", "size_bytes": "lower", "latency_p50_ms": "lower"}),
        "started_at": START,
        "code_version": "0.1.0",
        "environment": json.dumps({"torch": "2.13.0", "device": "cpu"}),
    }
    store.publish("study", f"{STUDY}-1", {"studies": [{**study, "state": "running", "at": START}]})
    ended = {**study, "state": "finished", "finished_at": end, "at": end}
    store.publish("study", f"{STUDY}-2", {"studies": [ended]})
    made: set[str] = set()
    for node in nodes:
        if not node.children:
            _publish_trial(store, world, node, made)
    _publish_failed_trial(store, nodes[0].recipe)


def _publish_trial(store: Store, world: World, node: Node, made: set[str]) -> None:
    ids = node.recipe.model_ids(world.task_id)
    reused = len(made.intersection(ids))
    made.update(ids)
    counts = {"steps_reused": reused, "steps_run": len(ids) - reused}
    states = [
        {"state": "running", "steps_reused": 0, "steps_run": 0, "duration_s": 0.0, "at": node.made_at},
        {"state": "finished", **counts, "model_id": ids[-1], "duration_s": 5.0},
    ]
    states[1]["at"] = node.made_at + timedelta(seconds=5)
    _publish_states(store, node.recipe, states)


def _publish_failed_trial(store: Store, start: Recipe) -> None:
    step = Step("fine_tune", {"epochs": 1, "learning_rate": 1000.0, "batch_size": 64})
    failure = {"reason": "loss is NaN after epoch 1", "failed_step": str(step)}
    state = {"state": "failed", "steps_reused": 1, "steps_run": 0, "duration_s": 1.5, "at": START, **failure}
    _publish_states(store, replace(start, steps=(step,)), [state])


def _publish_states(store: Store, recipe: Recipe, states: list[dict[str, Any]]) -> None:
    trial_id = identity(STUDY, recipe.to_json())
    trial = {"study_id": STUDY, "trial_id": trial_id, "recipe": canonical_json(recipe.to_json())}
    for state in states:
        rows = [{**trial, "recipe_text": str(recipe), **state}]
        store.publish("trial", f"{trial_id}-{state['state']}", {"trials": rows})


def main() -> None:
    """Make a store from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    for name, default in (("models", 65), ("instances", 10_000), ("classes", 10), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = vars(parser.parse_args())
    make_store(arguments.pop("path"), **arguments)


if __name__ == "__main__":
    main()
