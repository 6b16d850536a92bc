import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cc_ray import cli
from tests.benchmarks.make_store import make_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("cli") / "store", models=14, instances=300).root


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

    answers = {"json": '[\n {\n  "n": 14\n }\n]\n', "csv": "n\n14\n", "table": "n\n14\n"}
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


def test_operations_lists_them_with_their_parameters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cc_ray(monkeypatch, "operations") == 0

    drawn = capsys.readouterr().out
    assert "magnitude_pruning" in drawn
    assert "sparsity (required)" in drawn


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
