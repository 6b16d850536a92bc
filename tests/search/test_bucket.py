"""A study in a bucket is the study that it is in a folder."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from cc_ray.store import Store
from cc_ray.views import open_views

SPACE = """
from cc_ray.search import SearchSpace, optional, recipe, step

PRUNE = step("magnitude_pruning", sparsity=0.5)
RECIPES = [recipe("resnet", [PRUNE]), recipe("resnet", [PRUNE, optional(step("uniform_quantization", bits=4))])]

def search_space():
    return SearchSpace("s", "digits", tuple(RECIPES[:{count}]), baselines=False)
"""


def cc_ray(*words: str) -> str:
    """What a command prints, on a Ray of its own that has this process's environment."""
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    ran = subprocess.run([sys.executable, "-m", "cc_ray.cli", *words], capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_study_in_a_bucket_makes_the_same_models_and_none_twice(bucket_url: str, tmp_path: Path) -> None:
    for count in (1, 2):
        (tmp_path / f"space_{count}.py").write_text(SPACE.format(count=count))
    url, folder = f"{bucket_url}/study", str(tmp_path / "store")

    cc_ray("run", str(tmp_path / "space_2.py"), "--store", folder)
    cc_ray("run", str(tmp_path / "space_1.py"), "--store", url)
    first = Store(url).keys("step")
    cc_ray("run", str(tmp_path / "space_2.py"), "--store", url)
    cc_ray("run", str(tmp_path / "space_2.py"), "--store", url)

    stores = [Store(folder), Store(url)]
    here, there = (store.read("models").select(["model_id", "artifact"]).sort_by("model_id") for store in stores)
    assert here.num_rows == 3 and here.equals(there)
    assert len(first) == 2 and stores[0].keys("latency") == stores[1].keys("latency")
    runs = Counter((row["kind"], row["model_id"]) for row in stores[1].read("step_runs").to_pylist())
    assert len(runs) == 6 and set(runs.values()) == {1}
    assert open_views(url).sql("SELECT state FROM studies")["state"].to_pylist() == ["finished"]
    name = there["model_id"].to_pylist()[0]
    assert name[:8] in cc_ray("models", "--store", url, "--format", "csv")
    assert cc_ray("show", name, "--store", url)
    assert cc_ray("sql", "SELECT count(*) AS n FROM predictions", "--store", url, "--format", "csv").split()[0] == "n"
