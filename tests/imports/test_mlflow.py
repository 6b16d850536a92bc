import sqlite3
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from cc_ray import compare
from cc_ray.imports.mlflow import import_mlflow
from cc_ray.imports.mlflow_store import read_runs
from cc_ray.imports.reading import ResultFileError
from cc_ray.store import Store
from cc_ray.views import open_views

# In a process of its own: MLflow warns while it is imported, and imports much.
WRITE = """
import sys, warnings
warnings.simplefilter("ignore")
from mlflow import MlflowClient

client = MlflowClient(tracking_uri=sys.argv[1])
place = client.create_experiment("pruning", artifact_location=sys.argv[2])

def run(name, params=None, metrics=None, parent=None, status="FINISHED", tags=None):
    tags = {**(tags or {}), **({"mlflow.parentRunId": parent} if parent else {})}
    id = client.create_run(place, run_name=name, tags=tags).info.run_id
    for key, value in (params or {}).items():
        client.log_param(id, key, value)
    for key, values in (metrics or {}).items():
        for step, value in enumerate(values):
            client.log_metric(id, key, value, step=step)
    if status:
        client.set_terminated(id, status)
    return id

base = run("base", {"lr": 0.1, "net": "resnet"}, {"accuracy": [0.5, 0.9], "val loss": [2.0, 0.3], "odd/thing": [7]})
run("pruned", {"sparsity": 0.5, "seed": 3}, {"accuracy": [0.8]}, base, tags={"cc_ray.operation": "prune"})
run("failed", {"sparsity": 0.9}, {"accuracy": [float("nan")]}, base, "FAILED")
run("twice", None, {"accuracy": [0.7]})
run("twice", None, {"accuracy": [0.6]})
open_run = run("open", None, {"accuracy": [0.1]}, status=None)
client.delete_run(run("deleted", None, {"accuracy": [0.2]}))
client.log_text(base, "hello", "notes/readme.txt")
"""


@pytest.fixture(scope="module", params=["folder", "sqlite"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_spec("mlflow") is None:
        pytest.skip("mlflow-skinny is not installed")
    folder = tmp_path_factory.mktemp("mlflow")
    place = folder / ("mlruns" if request.param == "folder" else "mlflow.db")
    uri = place.as_uri() if request.param == "folder" else f"sqlite:///{place}"
    quiet = {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), **quiet}
    command = [sys.executable, "-c", WRITE, uri, (folder / "files").as_uri()]
    subprocess.run(command, check=True, capture_output=True, env=environment, cwd=folder)
    return place


def test_runs_become_models_with_their_lineage(source: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)

    brought = import_mlflow(store, source)

    views = open_views(store.root)
    models = {row["name"].split(" (")[0]: row for row in compare.models(views).to_pylist()}
    assert set(models) == {"base", "pruned", "failed", "twice"}
    assert brought.new == 5
    assert models["pruned"]["parent"] == models["base"]["model_id"]
    assert (models["pruned"]["operation"], models["base"]["operation"]) == ("prune", "mlflow_run")
    assert models["base"]["accuracy"] == 0.9
    assert models["base"]["val_loss"] == 0.3
    assert models["base"]["odd_thing"] == 7
    assert models["failed"]["accuracy"] is None
    assert {row["check"] for row in compare.lint(views).to_pylist()} >= {"run_not_finished", "value_not_finite"}
    definitions = {row["metric"]: row for row in compare.metric_definitions(views).to_pylist()}
    senses = {name: row["direction"] for name, row in definitions.items()}
    assert senses == {"accuracy": "higher", "val_loss": "lower", "odd_thing": "none"}
    assert any("val loss: lower is better (guessed" in told for told in brought.guessed)
    assert any("1 runs that are still running" in told for told in brought.guessed)
    assert compare.studies(views).to_pylist()[0]["study_id"] == "mlflow pruning"
    variables = compare.differences(views, [models["base"]["model_id"], models["pruned"]["model_id"]])
    assert variables is not None


def test_nothing_that_mlflow_says_is_lost(source: Path) -> None:
    base = next(run for run in read_runs(source) if run.name == "base")

    assert base.params == {"lr": "0.1", "net": "resnet"}
    assert (base.steps["accuracy"], base.recorded["accuracy"]) == (1, 2)
    assert base.artifacts == ("notes/readme.txt",) or not base.artifacts
    assert base.ended_ms is not None
    assert base.started_ms is not None


def test_importing_twice_changes_nothing(source: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    import_mlflow(store, str(source))
    version = store.version()

    assert import_mlflow(store, source, experiment="pruning").new == 0
    assert store.version() == version


def test_an_unknown_experiment_is_refused_with_those_that_there_are(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ResultFileError, match=r"no experiment 'x' with runs; there are: pruning \(6 runs\)"):
        import_mlflow(Store(tmp_path / "store", create=True), source, experiment="x")


def test_what_is_no_store_of_mlflow_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.db").write_text("hello " * 100)
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE runs (a)")
    other.close()

    for where in ("empty", "text.db", "other.db", "nothing.db"):
        with pytest.raises(ResultFileError):
            read_runs(tmp_path / where)
    with pytest.raises(ResultFileError, match="on this machine"):
        read_runs("http://localhost:5000")

    assert not (tmp_path / "nothing.db").exists()


def test_a_hostile_folder_executes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    experiment = tmp_path / "mlruns" / "1"
    experiment.mkdir(parents=True)
    (experiment / "meta.yaml").write_text("name: !!python/object/apply:os.mkdir ['sprung']\n")

    with pytest.raises(ResultFileError, match="no MLflow store that can be read"):
        read_runs(tmp_path / "mlruns")

    assert not (tmp_path / "sprung").exists()
