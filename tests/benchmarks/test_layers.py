"""Layers of 25 M weights beside the plain algorithm: `pytest -m benchmark -s tests/benchmarks/test_layers.py`."""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray

from cc_ray.compare.layers import tree as layers
from cc_ray.compare.layers.weight_changes import weight_changes
from cc_ray.store import Store
from cc_ray.views import open_views

Array = NDArray[Any]

LAYERS, WIDTH = 12, 1448
MODELS: Final = ("fine-tuned", "pruned 50 %", "pruned 80 %", "pruned 50 %, fine-tuned", "8 bits")
BASE: Final = "base"
BANDS: Final = np.array([0, 0.2, 0.4, 0.6, 0.8, 1.0, 1e12])


@pytest.mark.benchmark
def test_layers(tmp_path: Path) -> None:
    started = time.perf_counter()
    _make(tmp_path)
    _say(
        f"{len(MODELS)} models of {LAYERS * WIDTH**2 / 1e6:.1f} M weights made in {time.perf_counter() - started:.1f} s"
    )
    _compared("weight changes", tmp_path, _plain_weights, _our_weights)
    _compared("sparsity overlap", tmp_path, _plain_sparsity, _our_sparsity)
    _say(f"(plain copy of a block in cache: {_bandwidth():.1f} GB/s on one thread)")


def _compared(name: str, root: Path, plain: Callable[[Path], Any], ours: Callable[[Path], Any]) -> None:
    baseline, found = _alone(plain, root, 1), _alone(ours, root, 3)
    size = sum(file.stat().st_size for file in (root / "store" / "artifacts").rglob("*.safetensors")) / 1e9
    _say(
        f"{name}: plain numpy {baseline['first']:.2f} s (CPU {baseline['cpu']:.2f} s), {baseline['peak']:.0f} MB | "
        f"first {found['first']:.2f} s ({baseline['first'] / found['first']:.1f}x), again {found['again']:.2f} s "
        f"({baseline['first'] / found['again']:.1f}x; CPU {found['cpu']:.2f} s, {baseline['cpu'] / found['cpu']:.1f}x)"
        f", {found['peak']:.0f} MB | files of {size:.2f} GB, {size / found['again']:.1f} GB/s"
    )


def _alone(work: Callable[[Path], Any], root: Path, times: int) -> dict[str, float]:
    """Time some work in a process of its own, with the memory that it took beyond its imports."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_timed, work, root, times).result()


def _timed(work: Callable[[Path], Any], root: Path, times: int) -> dict[str, float]:
    before = _peak()
    found = []
    for _ in range(times):
        started, busy = time.perf_counter(), time.process_time()
        work(root)
        layers._remembered.clear()
        found.append((time.perf_counter() - started, time.process_time() - busy))
    again = min(found[1:], default=found[0])
    return {"first": found[0][0], "again": again[0], "cpu": again[1], "peak": _peak() - before}


def _peak() -> float:
    """Largest memory of this process so far, in MB; `getrusage` would tell that of the process it was forked from."""
    told = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(told["VmHWM"].split()[0]) / 1024


def _our_weights(root: Path) -> Any:
    return weight_changes(open_views(root / "store"), MODELS, BASE)


def _our_sparsity(root: Path) -> Any:
    return layers.zero_overlap(open_views(root / "store"), MODELS, BASE)


def _plain_weights(root: Path) -> list[Any]:
    """The prototype's way: whole tensors in half precision, one histogram of two dimensions each."""
    edges = np.linspace(*_reach(root), 31)
    found: list[Any] = []
    for layer in range(LAYERS):
        b = _read(root, BASE, layer).astype(np.float32)
        found.append((np.abs(b).sum(), (b * b).sum(), np.histogram(b, edges)[0]))
        for model in MODELS:
            m = _read(root, model, layer).astype(np.float32)
            change = np.abs(m - b)
            with np.errstate(all="ignore"):
                relative = np.where(change == 0, 0, np.where(b == 0, 1e9, change / np.abs(b)))
            joint = np.histogram2d(m.ravel(), relative.ravel(), bins=(edges, BANDS))[0]
            found.append((np.abs(m).sum(), (m * m).sum(), change.sum(), joint))
    return found


def _reach(root: Path) -> tuple[float, float]:
    ends = [(values.min(), values.max()) for values in (_read(root, BASE, layer) for layer in range(LAYERS))]
    return float(min(low for low, _ in ends)), float(max(high for _, high in ends))


def _plain_sparsity(root: Path) -> list[Any]:
    """The prototype's way: masks of one byte a weight."""
    found = []
    for layer in range(LAYERS):
        b = np.load(root / f"{BASE}-{layer}-mask.npy", mmap_mode="r")
        for model in MODELS:
            m = np.load(root / f"{model}-{layer}-mask.npy", mmap_mode="r")
            found.append((((1 - b) * m).sum(), (b * (1 - m)).sum(), ((1 - b) * (1 - m)).sum()))
    return found


def _read(root: Path, model: str, layer: int) -> Array:
    values: Array = np.load(root / f"{model}-{layer}.npy")
    return values


def _make(root: Path) -> None:
    """The same models twice: saved by the real store, and as the arrays that the plain algorithm reads."""
    import torch

    from cc_ray.evaluate.layers import layers as described
    from cc_ray.store.artifacts import save_model
    from cc_ray.store.weights import read_weights

    store = Store(root / "store", create=True)
    for position, (name, model) in enumerate(_models(torch)):
        saved = save_model(store.layout, model)
        weights = read_weights(store.layout, saved.digest)
        rows = [layer.row(name) for layer in described(model, weights)]
        about = _model_row(name, saved.digest, position)
        store.publish(
            "step", name.replace(" ", "").replace("%", "").replace(",", "-"), {"models": [about], "layers": rows}
        )
        for index in range(LAYERS):
            values = weights[f"{index}.weight"].values
            np.save(root / f"{name}-{index}.npy", values.astype(np.float16))
            np.save(root / f"{name}-{index}-mask.npy", (values != 0).astype(np.uint8))


def _models(torch: Any) -> Any:
    from cc_ray.store.artifacts import set_scale

    torch.manual_seed(0)
    norms = torch.nn.BatchNorm1d(WIDTH)
    with torch.no_grad():
        model = torch.nn.Sequential(*(torch.nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS)), norms).eval()
        base = [model[index].weight.clone() for index in range(LAYERS)]
        yield BASE, model
        moved = [weight + 0.1 * weight.std() * torch.randn_like(weight) for weight in base]
        for name in MODELS:
            share = 0.8 if "80" in name else 0.5 if "50" in name else 0.0
            for index, weight in enumerate(moved if "fine" in name else base):
                level = torch.quantile(base[index].abs().flatten()[:100_000], share)
                values = torch.where(base[index].abs() > level, weight, 0.0) if share else weight
                if name == "8 bits":
                    scale = values.abs().amax(1, keepdim=True) / 127
                    values = (values / scale).round().int() * scale
                    set_scale(model[index], scale)
                model[index].weight.copy_(values)
            yield name, model


def _model_row(name: str, digest: str, position: int) -> dict[str, Any]:
    texts = {"task_id": "task", "base": "net", "representation": "float", "study_id": "", "device": "cpu"}
    return {
        **texts, "model_id": name, "name": name, "parameters": "{}", "recipe": "{}", "step_index": 0, "seed": position,
        "artifact": digest, "duration_s": 0.0, "created_at": datetime(2026, 1, 1, tzinfo=UTC),
    }  # fmt: skip


def _bandwidth() -> float:
    block, out = np.ones(2**26, np.float32), np.empty(2**26, np.float32)
    np.copyto(out, block)
    started = time.perf_counter()
    np.copyto(out, block)
    return 2 * block.nbytes / (time.perf_counter() - started) / 1e9


def _say(text: str) -> None:
    sys.stdout.write(f"{text} [{os.cpu_count()} CPUs]\n")
