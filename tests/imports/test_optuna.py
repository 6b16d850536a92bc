import json
from pathlib import Path
from typing import Any

import optuna
import pytest

from cc_ray import compare
from cc_ray.imports.optuna import import_optuna
from cc_ray.imports.reading import ResultFileError
from cc_ray.store import Store
from cc_ray.views import open_views

optuna.logging.set_verbosity(optuna.logging.ERROR)


def storage(folder: Path, kind: str) -> tuple[Any, Path]:
    file = folder / f"study.{kind}"
    if kind == "db":
        return optuna.storages.RDBStorage(f"sqlite:///{file}"), file
    return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(file))), file


def objective(trial: optuna.Trial) -> float:
    sparsity = trial.suggest_float("prune.sparsity", 0, 1)
    trial.suggest_categorical("quantize.bits", [4, 8])
    trial.set_user_attr("note", {"by": "hand"})
    trial.report(sparsity, 1)
    if trial.number == 1:
        raise optuna.TrialPruned
    if trial.number == 2:
        raise ValueError("boom")
    return float(1 - sparsity)


@pytest.fixture(params=["db", "journal"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    kept, place = storage(tmp_path, request.param)
    study = optuna.create_study(study_name="small", storage=kept, direction="maximize")
    study.optimize(objective, n_trials=5, catch=ValueError)
    study.ask()
    return place


def test_trials_become_models_and_the_others_keep_their_reasons(file: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)

    brought = import_optuna(store, file)

    views = open_views(store.root)
    models = compare.models(views).to_pylist()
    assert sorted(row["name"] for row in models) == ["trial 0", "trial 3", "trial 4"]
    assert {row["operation"] for row in models} == {"quantize"}
    recipe = json.loads(views.sql("SELECT recipe FROM models WHERE name = 'trial 0'").to_pylist()[0]["recipe"])
    assert [step["operation"] for step in recipe["steps"]] == ["prune", "quantize"]
    sparsity = recipe["steps"][0]["parameters"]["sparsity"]
    assert next(row for row in models if row["name"] == "trial 0")["value"] == pytest.approx(1 - sparsity)
    assert recipe["imported"]["optuna"]["user_attributes"] == {"note": {"by": "hand"}}
    (definition,) = compare.metric_definitions(views).to_pylist()
    assert (definition["metric"], definition["direction"]) == ("value", "higher")
    states = {row["trial_id"]: row for row in compare.trials(views, "optuna small").to_pylist()}
    assert (states["trial 1"]["state"], states["trial 2"]["state"]) == ("stopped", "failed")
    assert states["trial 1"]["reason"].startswith("pruned after step 1")
    assert states["trial 2"]["reason"] == "failed; Optuna does not say why"
    assert compare.studies(views).to_pylist()[0]["study_id"] == "optuna small"
    assert any("1 trials that are waiting or running" in told for told in brought.guessed)
    assert compare.differences(views, [row["model_id"] for row in models]) is not None


def test_importing_again_brings_what_ended_since(file: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    before = file.read_bytes()
    import_optuna(store, str(file))
    version = store.version()

    assert import_optuna(store, file, study="small").new == 0
    assert store.version() == version
    assert file.read_bytes() == before

    kept, _ = storage(file.parent, file.suffix[1:])
    optuna.load_study(study_name="small", storage=kept).optimize(objective, n_trials=1)
    assert import_optuna(store, file).new == 1
    assert len(compare.trials(open_views(store.root), "optuna small")) == 6


def test_several_objectives_keep_their_directions(tmp_path: Path) -> None:
    kept, place = storage(tmp_path, "db")
    study = optuna.create_study(study_name="two", storage=kept, directions=["maximize", "minimize"])
    study.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 2.0), n_trials=2)
    store = Store(tmp_path / "store", create=True)

    import_optuna(store, place)

    views = open_views(store.root)
    senses = {row["metric"]: row["direction"] for row in compare.metric_definitions(views).to_pylist()}
    assert senses == {"value_0": "higher", "value_1": "lower"}
    assert {row["operation"] for row in compare.models(views).to_pylist()} == {"optuna_trial"}
    assert compare.front(views, ["value_0", "value_1"]).num_rows == 2


def test_what_is_no_storage_is_refused(tmp_path: Path, file: Path) -> None:
    import sqlite3

    other, text = tmp_path / "other.db", tmp_path / "text"
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE a (b)")
    database.close()
    text.write_text("hello\n")
    store = Store(tmp_path / "store", create=True)

    with pytest.raises(ResultFileError, match="but not of Optuna"):
        import_optuna(store, other)
    with pytest.raises(ResultFileError, match="storage of Optuna"):
        import_optuna(store, text)
    with pytest.raises(ResultFileError, match="there is no file"):
        import_optuna(store, tmp_path / "nothing")
    with pytest.raises(ResultFileError, match="no study 'x'; there are: small"):
        import_optuna(store, file, study="x")
    assert not store.keys("step")
