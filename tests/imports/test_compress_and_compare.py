import json
import sys
from pathlib import Path
from typing import Any

import pytest

from cc_ray import cli
from cc_ray.compare import differences, findings, front, lint, models, recommendations, show, studies
from cc_ray.errors import CcRayError
from cc_ray.imports.compress_and_compare import import_results
from cc_ray.store import Store
from cc_ray.terminal.imports import imports
from cc_ray.views import Views, open_views
from tests.imports.files import ACCURACY, SIZE, model, write

ROOT = Path(__file__).parent.parent.parent
REAL = ROOT.parent / "shared" / "data" / "compress_and_compare"


def imported(folder: Path, entries: list[dict[str, Any]], **others: Any) -> Views:
    store = Store(folder / "store", create=True)
    import_results(store, write(folder, entries, **others))
    return open_views(store.root)


def by_name(views: Views) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in models(views).to_pylist()}


def checks(views: Views) -> list[tuple[str, str]]:
    return [(row["name"], row["check"]) for row in findings(views).to_pylist()]


def test_lineage_and_operations_are_those_of_the_file(tmp_path: Path) -> None:
    views = imported(
        tmp_path,
        [
            model("grandchild", "child", "train", epochs=3),
            model("child", "root", amount=0.6000000000000001, ids=[1, None]),
            model("root"),
            model("other root"),
        ],
    )

    rows = by_name(views)
    assert set(rows) == {"root", "child", "grandchild", "other root"}
    assert rows["grandchild"]["parent"] == rows["child"]["model_id"]
    assert rows["grandchild"]["root"] == rows["root"]["model_id"]
    assert (rows["root"]["operation"], rows["other root"]["parent"]) == (None, None)
    assert (rows["child"]["operation"], rows["grandchild"]["step_index"]) == ("prune", 2)
    assert json.loads(rows["child"]["parameters"]) == {"amount": 0.6000000000000001, "ids": [1, None]}
    assert views.sql("SELECT bases FROM tasks").to_pylist() == [{"bases": ["root", "other root"]}]


def test_nothing_of_the_file_is_lost(tmp_path: Path) -> None:
    entries = [{**model("root", metrics={"Accuracy": None, "Unheard": 3}), "note": {"by": "hand"}}]
    views = imported(tmp_path, entries)

    recipe, parameters = views.sql("SELECT recipe, tasks.parameters FROM models JOIN tasks USING (task_id)").columns

    assert json.loads(recipe[0].as_py())["imported"] == entries[0]
    assert json.loads(parameters[0].as_py())["declared"]["metrics"] == [ACCURACY, SIZE]


def test_missing_values_stay_missing(tmp_path: Path) -> None:
    views = imported(tmp_path, [model("root", metrics={"Accuracy": None, "Model Size": 0})])

    assert by_name(views)["root"]["accuracy"] is None
    assert by_name(views)["root"]["model_size"] == 0.0


def test_percentages_become_shares(tmp_path: Path) -> None:
    share, percent = {**ACCURACY}, {"name": "F1", "unit": "%", "min": 0, "max": 100}
    store = Store(tmp_path / "store", create=True)

    summary = import_results(
        store, write(tmp_path, [model("root", metrics={"Accuracy": 0.9, "F1": 90})], metrics=[share, percent])
    )

    row = by_name(open_views(store.root))["root"]
    assert (row["accuracy"], row["f1"]) == (0.9, pytest.approx(0.9))
    assert summary.rescaled == ("F1",)
    assert lint(open_views(store.root)).num_rows == 0


def test_what_was_never_declared_is_noticed(tmp_path: Path) -> None:
    operations = [{"name": "prune", "parameters": {"method": {"options": ["a"]}, "sparsity": {"max": None}}}]
    views = imported(
        tmp_path,
        [
            {**model("root"), "operation": {"name": "train", "parameters": {"epochs": 90}}},
            model("undeclared", "root", "distil"),
            model("unsaid", "root", None),
            model("option", "root", method="b"),
            model("parameter", "root", amount=0.1),
        ],
        operations=operations,
    )

    assert sorted(checks(views)) == [
        ("option", "option_undeclared"),
        ("parameter", "parameter_undeclared"),
        ("root", "root_with_operation"),
        ("undeclared", "operation_undeclared"),
        ("unsaid", "operation_unknown"),
    ]
    assert {"operation_undeclared", "operation_unknown"} <= set(lint(views)["check"].to_pylist())
    assert by_name(views)["unsaid"]["operation"] == "unknown"


def test_a_child_identical_to_its_parent_is_noticed(tmp_path: Path) -> None:
    views = imported(tmp_path, [model("root"), model("child", "root"), model("grandchild", "child", metrics={})])

    assert [(row["name"], row["check"]) for row in lint(views).to_pylist()] == [("child", "same_metrics_as_parent")]


def test_a_file_is_imported_once(tmp_path: Path) -> None:
    store, file = Store(tmp_path / "store", create=True), write(tmp_path, [model("root"), model("child", "root")])

    first, version = import_results(store, file), store.version()
    again = import_results(store, file, study="another")

    assert (first.published, again.published) == (True, False)
    assert store.version() == version
    assert first.models == again.models == 2


def test_an_import_that_ended_in_between_is_completed(tmp_path: Path) -> None:
    whole, broken = (Store(tmp_path / name, create=True) for name in ("whole", "broken"))
    file = write(tmp_path, [model("root"), model("child", "root")])
    task = import_results(whole, file).task_id
    broken.publish("task", task, {table: whole.read(table) for table in ("tasks", "metric_definitions")})

    assert import_results(broken, file).published
    assert models(open_views(broken.root))["name"].to_pylist() == ["root", "child"]


def test_other_content_under_the_same_name_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    import_results(store, write(tmp_path, [model("root")]))
    version = store.version()

    with pytest.raises(CcRayError, match="Rename the file"):
        import_results(store, write(tmp_path, [model("root"), model("child", "root")]))

    assert store.version() == version


def test_files_of_different_names_stand_beside_one_another(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    for name in ("one.json", "two.json"):
        import_results(store, write(tmp_path, [model("root")], name=name))

    found = models(open_views(store.root))
    assert len(set(found["model_id"].to_pylist())) == len(set(found["task_id"].to_pylist())) == 2


def test_a_bad_file_writes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    version = store.version()

    with pytest.raises(CcRayError):
        import_results(store, write(tmp_path, [model("root"), model("child", "nobody")]))

    assert store.version() == version


def test_the_study_has_the_primary_metrics_as_objectives(tmp_path: Path) -> None:
    study = studies(imported(tmp_path, [model("root")])).to_pylist()[0]

    assert (study["study_id"], study["state"]) == ("small", "finished")
    assert json.loads(study["objectives"]) == {"accuracy": "higher", "model_size": "lower"}


def test_models_without_predictions_have_a_front(tmp_path: Path) -> None:
    entries = [
        model("root", metrics={"Accuracy": 0.9, "Model Size": 100}),
        model("child", "root", metrics={"Accuracy": 0.8, "Model Size": 10}),
    ]
    views = imported(tmp_path, entries)

    assert recommendations(views, ["accuracy", "model_size"])["name"].to_pylist() == ["root", "child"]


@pytest.mark.parametrize(
    ("name", "count", "deepest", "odd"),
    [
        ("cifar10_resnet20", 65, 9, ["spread_exceeds_mean", "unit_contradicts_values"]),
        ("imagenet_tutorial", 5, 2, ["unit_contradicts_values"]),
    ],
)
def test_the_published_files_answer_every_question(
    tmp_path: Path, name: str, count: int, deepest: int, odd: list[str]
) -> None:
    file = REAL / f"{name}.json"
    if not file.exists():
        pytest.skip(f"{file.name} of the research prototype is not beside this checkout")
    store = Store(tmp_path, create=True)

    summary = import_results(store, file)

    views = open_views(store.root)
    rows = models(views).to_pylist()
    ids = [row["model_id"] for row in rows]
    assert (summary.models, len(rows), max(row["step_index"] for row in rows)) == (count, count, deepest)
    assert all(0 <= row["top_1_accuracy"] <= 1 for row in rows)
    assert 0 < sum(front(views, ["top_1_accuracy", "model_size"])["on_front"].to_pylist()) < count
    assert differences(views, ids).table["model_id"].to_pylist() == ids
    assert show(views, ids[-1]).ancestors.num_rows == rows[-1]["step_index"]
    assert lint(views)["check"].to_pylist() == odd


def test_the_command_line_imports_and_lints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, [model("root", metrics={"Accuracy": 7}), model("child", "root", "distil")])

    assert run(monkeypatch, "import", "compress-and-compare", file, "--store", tmp_path / "store") == 0
    assert "2 models of small imported" in capfd.readouterr().out
    assert run(monkeypatch, "lint", "--store", tmp_path / "store", "--format", "json") == 0
    noticed = json.loads(capfd.readouterr().out)
    assert {"metric_out_of_range", "operation_undeclared"} <= {row["check"] for row in noticed}


def test_the_command_line_refuses_a_bad_file_before_there_is_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, [model("child", "nobody")])

    assert run(monkeypatch, "import", "compress-and-compare", file, "--store", tmp_path / "store") == 2

    assert "nobody" in capfd.readouterr().err
    assert not (tmp_path / "store").exists()


def test_every_import_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()

    assert all(f"cc-ray import {command.name}" in readme for command in imports.registered_commands)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["cc-ray", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)
