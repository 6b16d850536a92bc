"""Steps of a study that share one GPU: `pytest -m gpu tests/gpu/test_search.py`."""

import json
import logging
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

ray = pytest.importorskip("ray")

from cc_ray.search import Resources, SearchSpace, choice, recipe, step  # noqa: E402
from cc_ray.search.tuner import explore  # noqa: E402
from cc_ray.store import Store  # noqa: E402
from cc_ray.tasks import device_name  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]

SPACE = SearchSpace(
    "shared",
    "digits",
    [recipe("resnet", [step("fine_tune", epochs=choice(30, 31, 32, 33)), step("quantize_dynamic")])],
    baselines=False,
    resources={"*": Resources(gpus=0.25)},
)


@pytest.fixture
def _cluster() -> Iterator[None]:
    """A Ray of this test alone, with the GPU of this machine."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not any(name in os.environ for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH")):
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    ray.init(
        "local", num_cpus=4, num_gpus=1, include_dashboard=False, object_store_memory=128 * 2**20,
        log_to_driver=False, logging_level=logging.ERROR,
    )  # fmt: skip
    yield
    ray.shutdown()


@pytest.mark.usefixtures("_cluster")
def test_steps_share_a_gpu_several_at_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)

    summary = explore(SPACE, store)

    assert summary.state == "finished" and not summary.failures, summary
    assert summary.progress.trials_done == 4
    name = device_name(torch.device("cuda"))
    made = {row["operation"]: row["device"] for row in store.read("models").to_pylist()}
    assert made == {None: name, "fine_tune": name, "quantize_dynamic": "cpu"}
    timed = {row["device"] for row in store.read("metrics").to_pylist() if row["metric"] == "latency_p50_ms"}
    assert timed == {name}
    assert most_at_once(store) > 1
    study = max(store.read("studies").to_pylist(), key=lambda row: row["at"])["environment"]
    assert json.loads(study)["cluster"]["GPU"] == 1.0
    assert json.loads(study)["device"].startswith("cpu, ")


def most_at_once(store: Store) -> int:
    """How many steps that trained ran at the same time."""
    trained = {row["model_id"] for row in store.read("models").to_pylist() if row["operation"] == "fine_tune"}
    runs = [row for row in store.read("step_runs").to_pylist() if row["model_id"] in trained and row["kind"] == "step"]
    spans = [(row["started_at"].timestamp(), row["duration_s"]) for row in runs]
    counts: list[int] = [sum(start <= moment < start + lasts for start, lasts in spans) for moment, _ in spans]
    return max(counts)
