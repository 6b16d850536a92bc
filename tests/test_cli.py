import csv
import json
import subprocess
import sys
from pathlib import Path

import duckdb
import optuna
import pyarrow.parquet as pq
import pytest

from cc_ray import cli, compare
from cc_ray.recipe import Recipe
from cc_ray.search.records import TrialState
from cc_ray.store import Store
from cc_ray.terminal.study import show_noise
from cc_ray.views import open_views
from tests.benchmarks.make_store import make_store
from tests.compare.small import START, add_model, new_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("cli") / "store", models=14, instances=300).layout.root


def cc_ray(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["cc-ray", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


def model_ids(store: Path) -> list[str]:
    return sorted(file.name for file in (store / "batches" / "step").iterdir())


def test_models_lists_every_model(
    store: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cc_ray(monkeypatch, "models", "--store", store, "--format", "json") == 0

    listed = json.loads(capfd.readouterr().out)
    assert sorted(row["model_id"] for row in listed) == model_ids(store)
    assert all(0 <= row["accuracy"] <= 1 for row in listed)


def test_models_are_drawn_with_their_primary_metrics(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cc_ray(monkeypatch, "models", "--store", store) == 0

    drawn = capsys.readouterr().out
    assert "Accuracy" in drawn
    assert "Effective bits" not in drawn
    assert all(model_id[:8] in drawn for model_id in model_ids(store))


def test_the_end_of_a_study_says_how_far_seeds_alone_move_its_objectives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seeded = new_store(tmp_path, directions={"accuracy": "higher"})
    for seed, accuracy in enumerate((0.89, 0.90, 0.91)):
        model_id = add_model(seeded, f"aaa{seed}", metrics={"accuracy": accuracy}, seed=seed)
        trial = TrialState("s", Recipe("net", seed=seed), "finished", model_id=model_id)
        seeded.publish("trial", trial.trial_id, {"trials": [trial.to_row(START)]})

    show_noise(open_views(tmp_path), "s", ["accuracy", "latency_p50_ms"], {"accuracy": "percent"})

    said = capsys.readouterr().out
    assert said.startswith(
        "Other seeds alone move accuracy by 1.0 % (standard deviation, 1 recipes); models of one seed"
    )
    assert "latency" not in said


def test_show_draws_lineage_metrics_and_changes(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = pq.read_table(store / "batches" / "step" / model_ids(store)[0] / "models.parquet").to_pylist()

    assert cc_ray(monkeypatch, "show", rows[0]["model_id"][:8], "--store", store) == 0

    drawn = capsys.readouterr().out
    assert rows[0]["name"] in drawn
    assert "against parent" in drawn


def test_compare_draws_every_part(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other, third = model_ids(store)[:3]

    assert cc_ray(monkeypatch, "compare", one, other, third, "--store", store) == 0

    drawn = capsys.readouterr().out
    for part in ("Metrics", "Behaviours", "Change of accuracy by class", "Layers that changed most"):
        assert part in drawn


@pytest.mark.parametrize("kind", ["table", "json", "csv", "parquet"])
def test_sql_answers_in_every_format(store: Path, kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    output = tmp_path / f"answer.{kind}"

    question = "SELECT count(*) AS n FROM models"
    assert cc_ray(monkeypatch, "sql", question, "--store", store, "--format", kind, "--output", output) == 0

    answers = {"json": '[{"n": 14}]\n', "csv": "n\n14\n", "table": "n\n14\n"}
    if kind == "parquet":
        assert pq.read_table(output).to_pylist() == [{"n": 14}]
    else:
        assert output.read_text() == answers[kind]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["models", "--store", "nowhere"], "is not a CC-Ray store"),
        (["show", "nope"], "no model 'nope'"),
        (["sql", "SELECT nope FROM models"], "nope"),
        (["sql", "DROP TABLE models"], "read-only"),
        (["plan", "digit"], "did you mean 'digits'?"),
        (["run", "missing.py"], "there is no search-space file"),
        (["sql", "SELECT 1", "--output", "nowhere/answer.csv"], "cannot write to nowhere/answer.csv"),
        (["sql", "SELECT INTERVAL 1 DAY AS i", "--format", "parquet"], "parquet cannot hold this answer"),
        (["sql", "SELECT error('a' || chr(10) || 'b')"], "a b"),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(
    store: Path,
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "--store" not in arguments:
        monkeypatch.setenv("CC_RAY_STORE", str(store))

    assert cc_ray(monkeypatch, *arguments) == 2

    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert error.count("\n") == 1


def test_a_folder_that_cannot_be_read_is_one_line_too(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(self: Store) -> str:
        raise PermissionError(13, "Permission denied", "batches")

    monkeypatch.setattr(Store, "version", refuse)

    assert cc_ray(monkeypatch, "models", "--store", store) == 2
    assert capsys.readouterr().err == "error: [Errno 13] Permission denied: 'batches'\n"


def test_every_value_of_an_answer_reaches_json(
    store: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    question = """
        SELECT 1 AS a, 2 AS a, 'nan'::DOUBLE AS n, sum(3) AS s, 1.5 AS d, 'x'::BLOB AS b, [[1], [2, 3]] AS l,
            {'k': 'x'::BLOB} AS m, NULL AS u
    """

    assert cc_ray(monkeypatch, "sql", question, "--store", store, "--format", "json") == 0

    answer = json.loads(capfd.readouterr().out, parse_constant=pytest.fail)
    expected = {"a": 1, "a_1": 2, "n": None, "s": 3, "d": 1.5, "b": "eA==", "l": [[1], [2, 3]], "m": {"k": "eA=="}}
    assert answer == [{**expected, "u": None}]


def test_csv_holds_whole_lists_and_whole_numbers(
    store: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    question = "SELECT range(2000) AS l, 9007199254740993 AS i UNION ALL SELECT NULL, NULL ORDER BY i NULLS LAST"

    assert cc_ray(monkeypatch, "sql", question, "--store", store, "--format", "csv") == 0

    header, first, second = csv.reader(capfd.readouterr().out.splitlines())
    assert header == ["l", "i"]
    assert (json.loads(first[0]), first[1]) == (list(range(2000)), "9007199254740993")
    assert second == ["", ""]


def test_brackets_are_drawn_as_they_are(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cc_ray(monkeypatch, "sql", "SELECT '[bold]x' AS \"[/y]\"", "--store", store) == 0

    assert [line.strip() for line in capsys.readouterr().out.splitlines()] == ["[/y]", "[bold]x"]


def test_operations_lists_them_with_their_parameters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cc_ray(monkeypatch, "operations") == 0

    drawn = capsys.readouterr().out
    assert "magnitude_pruning" in drawn
    assert "sparsity (required)" in drawn


def test_a_branch_is_planned_before_it_runs(
    digits_store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = ["--step", "magnitude_pruning(sparsity=[0.3, 0.5])", "--step", "calibrate"]

    code = cc_ray(monkeypatch, "branch", "resnet", *steps, "--name", "more", "--store", digits_store.root, "--plan")

    assert code == 0
    assert "more: 2 trials, 2 to run. 5 distinct models" in capsys.readouterr().out
    assert digits_store.read("studies").num_rows == 0
    assert cc_ray(monkeypatch, "resume", "more", "--store", digits_store.root) == 2
    assert "no study 'more'" in capsys.readouterr().err


def test_predictions_are_imported_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "store"
    for name, answers in {"labels": "01201", "base": "01200", "pruned": "01111"}.items():
        column = "label" if name == "labels" else "prediction"
        (tmp_path / f"{name}.csv").write_text("\n".join([column, *answers]) + "\n")
    base, pruned, labels = (tmp_path / f"{name}.csv" for name in ("base", "pruned", "labels"))
    made = ("--parent", "base", "--operation", "prune", "--parameters", '{"sparsity": 0.5}')

    assert cc_ray(monkeypatch, "import", "predictions", base, "--labels", labels, "--task", "t", "--store", root) == 0
    assert cc_ray(monkeypatch, "import", "predictions", pruned, *made, "--task", "t", "--store", root) == 0
    said = capsys.readouterr().out
    assert "1 models of t imported" in said
    assert "probabilities_missing of 1 models" in said
    for verb in (["models"], ["show", "pruned"], ["compare", "pruned", "--base", "base"], ["lint"]):
        assert cc_ray(monkeypatch, *verb, "--store", root) == 0
    assert "60.0 %" in capsys.readouterr().out
    assert cc_ray(monkeypatch, "import", "predictions", pruned, *made, "--task", "t", "--store", root) == 0
    assert "0 models of t imported" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["predictions", "nothing.csv"], "nothing.csv cannot be read"),
        (["predictions", "a.csv", "--parameters", "[1]"], "'[1]' is no JSON object"),
        (["predictions", "a.csv", "--column", "x=y"], "ROLE=NAME"),
        (["mlflow", "nothing"], "name a folder `mlruns`"),
        (["optuna", "nothing"], "there is no file"),
    ],
)
def test_an_import_that_fails_says_why_in_one_line(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cc_ray(monkeypatch, "import", *arguments, "--store", tmp_path / "store") == 2

    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_study_of_optuna_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kept = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
    study = optuna.create_study(study_name="small", storage=kept)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)

    assert cc_ray(monkeypatch, "import", "optuna", tmp_path / "study.db", "--store", tmp_path / "store") == 0
    assert "2 models of small imported" in capsys.readouterr().out
    for verb in (["models"], ["show", "trial 0"], ["lint"]):
        assert cc_ray(monkeypatch, *verb, "--store", tmp_path / "store") == 0


def test_help_names_every_verb_and_imports_nothing_heavy() -> None:
    code = """if True:
        import sys
        from cc_ray.cli import main
        sys.argv = ["cc-ray", "--help"]
        try:
            main()
        except SystemExit:
            print(sorted({"torch", "ray", "duckdb", "numpy"} & set(sys.modules)))
        """

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    for verb in ("demo", "run", "plan", "serve", "sql", "models", "show", "compare", "operations"):
        assert f" {verb} " in said
    assert said.endswith("[]\n")


@pytest.mark.parametrize("verb", ["models", "show"])
def test_a_list_and_a_card_import_nothing_that_they_do_not_need(store: Path, verb: str) -> None:
    arguments = [verb, *model_ids(store)[: verb == "show"], "--store", str(store)]
    code = f"""if True:
        import sys
        from cc_ray.cli import main
        sys.argv = ["cc-ray", *{arguments!r}]
        try:
            main()
        except SystemExit as end:
            unneeded = {{"torch", "ray", "pandas", "pyarrow.dataset", "scipy.stats", "scipy.special", "numba", "PIL"}}
            print(end.code, sorted(unneeded & set(sys.modules)))
        """

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert said.endswith("\n0 []\n")


def test_the_front_is_drawn_and_written(
    store: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cc_ray(monkeypatch, "front", "--store", store) == 0
    assert "Trade-off front" in capfd.readouterr().out

    arguments = ["accuracy", "size_bytes:lower", "--at-most", "size_bytes:60000", "--store", store, "--format", "json"]
    assert cc_ray(monkeypatch, "front", "accuracy:higher", *arguments[1:]) == 0

    rows = json.loads(capfd.readouterr().out)
    assert rows
    assert all(row["on_front"] and row["size_bytes"] <= 60_000 for row in rows)


def test_diff_shows_what_two_models_do_not_share(
    store: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ids = model_ids(store)

    assert cc_ray(monkeypatch, "diff", *ids[:2], "--store", store, "--format", "json") == 0
    assert {"kind", "name", "value", "other_value"} <= set(json.loads(capfd.readouterr().out)[0])

    assert cc_ray(monkeypatch, "diff", *ids[:4], "--store", store, "--format", "csv") == 0
    assert len(capfd.readouterr().out.splitlines()) == 5


def test_insights_are_sentences_with_their_evidence(
    store: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cc_ray(monkeypatch, "insights", "--evidence", "--limit", 3, "--store", store) == 0
    assert "SELECT" in capfd.readouterr().out

    assert cc_ray(monkeypatch, "insights", "--limit", 3, "--store", store, "--format", "json") == 0
    assert [row["rank"] for row in json.loads(capfd.readouterr().out)] == [1, 2, 3]


def test_any_question_is_asked_by_name(
    store: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    one, other = model_ids(store)[:2]

    assert cc_ray(monkeypatch, "ask", "--store", store) == 0
    assert "calibration" in capfd.readouterr().out
    assert cc_ray(monkeypatch, "ask", "transition_matrix", "--store", store) == 0
    assert "by_label" in capfd.readouterr().out
    given = [f"ids={one[:8]}", f"ids={other}", f"base={one}", "--store", store, "--format", "json"]
    assert cc_ray(monkeypatch, "ask", "behaviours", *given) == 0
    assert [row["model_id"] for row in json.loads(capfd.readouterr().out)] == [one, other]
    assert cc_ray(monkeypatch, "ask", "behaviours", "ids", "--store", store) == 2


def test_a_comparison_is_written_table_by_table(
    store: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ids = model_ids(store)[:2]

    assert cc_ray(monkeypatch, "compare", *ids, "--store", store, "--table", "classes", "--format", "json") == 0
    assert {row["label"] for row in json.loads(capfd.readouterr().out)} == set(range(10))
    assert cc_ray(monkeypatch, "compare", *ids, "--store", store, "--table", "rows", "--format", "json") == 2


def test_sql_is_explained_without_being_asked(
    store: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cc_ray(monkeypatch, "sql", "--explain", "SELECT count(*) FROM models", "--store", store) == 0
    assert "SCAN" in capfd.readouterr().out.upper()


def test_a_compacted_store_answers_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    root = make_store(tmp_path / "store", models=5, instances=50).layout.root
    cc_ray(monkeypatch, "models", "--store", root, "--format", "csv")
    before = capfd.readouterr().out

    assert cc_ray(monkeypatch, "compact", "--store", root) == 0
    assert "batches merged" in capfd.readouterr().out

    cc_ray(monkeypatch, "models", "--store", root, "--format", "csv")
    assert capfd.readouterr().out == before


def test_the_views_are_printed_for_any_client(
    store: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cc_ray(monkeypatch, "views", "--store", store) == 0

    with duckdb.connect() as client:
        client.execute(capfd.readouterr().out)
        assert client.sql("SELECT count(*) FROM models").fetchall() == [(14,)]


def test_models_are_checked_against_bounds_with_an_exit_code(
    store: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def check(*arguments: object) -> int:
        return cc_ray(monkeypatch, "check", "--store", store, *arguments)

    assert check("--require", "accuracy >= 0") == 0
    assert "14 of 14 models meet it." in capfd.readouterr().out
    sizes = sorted(size for size in compare.models(open_views(store))["size_bytes"].to_pylist())
    assert check("--require", f"size_bytes <= {sizes[0]}") == 1
    drawn = capfd.readouterr().out
    assert drawn.index("fails") < drawn.index("meets")
    assert check("--any", "--require", f"size_bytes <= {sizes[0]}") == 0
    assert check("--any", "--require", "size_bytes < 1") == 1
    capfd.readouterr()
    assert check(model_ids(store)[0], "--require", "size_bytes < 1", "--format", "json") == 1
    (row,) = json.loads(capfd.readouterr().out)
    assert (row["model_id"], row["met"]) == (model_ids(store)[0], False)
    for wrong in ("size_byte < 1", "size_bytes <", "size_bytes"):
        assert check("--require", wrong) == 2
