import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from cc_ray.cli import app
from cc_ray.imports.predictions import Reading, import_predictions
from cc_ray.imports.reading import ResultFileError
from cc_ray.imports.script import log_model
from cc_ray.overlap import exact_match, f1
from cc_ray.store import Store

COLUMNS: dict[str, list[Any]] = {
    "question": ["Who?", "When?", "Which?"],
    "references": [["Ada", "Ada Lovelace"], ["1843"], ["the [first] one"]],
    "text": ["Ada", "in 1843", ""],
    "loss": [0.5, 1.5, 2.5],
    "tokens": [2, 4, 3],
}


def new(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", create=True)


def rows(store: Store, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = store.read(table).to_pylist()
    return found


def csv(folder: Path, text: str, name: str = "net.csv") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def refused(store: Store, *files: Path, **how: Any) -> str:
    with pytest.raises(ResultFileError) as error:
        import_predictions(store, files, **how)
    return str(error.value)


@pytest.mark.parametrize("kind", ["csv", "parquet", "json"])
def test_every_kind_of_file_says_the_same(tmp_path: Path, kind: str) -> None:
    store, file = new(tmp_path), tmp_path / f"net.{kind}"
    if kind == "csv":
        lines = ["question,reference,text,loss,tokens", 'Who?,"[""Ada"", ""Ada Lovelace""]",Ada,0.5,2']
        file.write_text("\n".join([*lines, "When?,1843,in 1843,1.5,4", "Which?,the [first] one,,2.5,3"]))
    elif kind == "parquet":
        pq.write_table(pa.table(COLUMNS | {"text": ["Ada", "in 1843", None]}), file)
    else:
        file.write_text(json.dumps(COLUMNS))

    brought = import_predictions(store, [file], task="questions")

    assert (brought.new, brought.predictions) == (1, 3)
    found = rows(store, "predictions")
    assert [row["text"] for row in found] == COLUMNS["text"]
    assert [row["correct"] for row in found] == [True, False, False]
    assert [row["f1"] for row in found] == pytest.approx([1, 2 / 3, 0])
    assert [(row["loss"], row["tokens"]) for row in found] == [(0.5, 2), (1.5, 4), (2.5, 3)]
    assert {(row["label"], row["prediction"], row["confidence"], row["probabilities"]) for row in found} == {
        (None,) * 4
    }
    instances = rows(store, "instances")
    assert [row["references"] for row in instances] == COLUMNS["references"]
    assert [row["payload"].decode() for row in instances] == COLUMNS["question"]
    assert {(row["label"], row["label_name"]) for row in instances} == {(None, None)}
    values = {row["metric"]: row["value"] for row in rows(store, "metrics")}
    assert values == pytest.approx({"exact_match": 1 / 3, "f1": 5 / 9, "perplexity": np.exp((1 + 6 + 7.5) / 9)})


def test_the_command_line_takes_text_in_columns_of_any_name(tmp_path: Path) -> None:
    store = new(tmp_path)
    file = csv(tmp_path, "asked,truth,said\nWho?,Ada,ada\nWhen?,1843,\n")
    names = ["--column", "prompt=asked", "--column", "references=truth", "--column", "text=said"]

    ran = CliRunner().invoke(
        app, ["import", "predictions", str(file), "--store", str(store.root), "--task", "questions", *names]
    )

    assert ran.exit_code == 0, ran.output
    assert [(row["text"], row["correct"]) for row in rows(store, "predictions")] == [("ada", True), ("", False)]


def test_a_child_needs_no_references_and_the_same_again_changes_nothing(tmp_path: Path) -> None:
    store = new(tmp_path)
    base = log_model(store, "net", task="questions", predictions=COLUMNS)
    answers = {"text": ["Ada", "1843", "first one"], "kl_from_base": [0.1, 0.2, 0.3], "tokens": [2, 4, 3]}
    answers |= {"loss": [1.0, 1.0, 1.0]}

    ids = [log_model(store, "less", task="questions", parent="net", predictions=answers) for _ in range(2)]

    assert ids[0] == ids[1] != base
    found = [row for row in rows(store, "predictions") if row["model_id"] == ids[0]]
    assert [row["correct"] for row in found] == [True, True, True]
    assert [row["kl_from_base"] for row in found] == pytest.approx([0.1, 0.2, 0.3])
    assert len(rows(store, "instances")) == 3
    with pytest.raises(ResultFileError, match="other content"):
        log_model(store, "less", task="questions", parent="net", predictions=answers | {"text": ["a", "b", "c"]})


def test_rows_are_matched_by_identity_and_sliced(tmp_path: Path) -> None:
    store = new(tmp_path)
    base = csv(tmp_path, "id,reference,text,kind\n7,a b,a b,long\n3,c,d,short\n")
    model = csv(tmp_path, "id,text\n3,c\n7,b\n", "less.csv")

    import_predictions(store, [base], task="questions", reading=Reading(slices=("kind",)))
    import_predictions(store, [model], task="questions", parent="net")

    found = {(row["metric"], row["slice"], row["value"]) for row in rows(store, "metrics")}
    assert {("exact_match", "kind:long", 1.0), ("exact_match", "kind:short", 0.0)} <= found
    # "a" is an article.
    assert [row["correct"] for row in rows(store, "predictions")] == [False, True, True, True]


def test_text_without_references_has_no_score(tmp_path: Path) -> None:
    store = new(tmp_path)

    brought = import_predictions(store, [csv(tmp_path, "prompt,text\nSay,hello\n")])

    assert [finding.check for finding in brought.findings] == ["references_missing"]
    assert [(row["text"], row["correct"], row["f1"]) for row in rows(store, "predictions")] == [("hello", None, None)]
    assert rows(store, "metrics") == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("reference\nyes\n", "has references, and neither generated texts"),
        ("reference,text\n,yes\n", "column 'reference' has no value in row 0"),
        ("reference,text\n[],yes\n", "references: row 0, counted from 0, has no accepted answer"),
        ("reference,text,loss\na,b,1\n", "a column of losses without the other"),
        ("reference,text,tokens\na,b,1\n", "a column of tokens without the other"),
        ("text,loss,tokens\nb,-1,1\n", "loss: -1 in row 0, counted from 0; a number in \\[0, 700\\] is expected"),
        ("text,loss,tokens\nb,1,0\n", "tokens: 0 in row 0, counted from 0; a whole number from 1 is expected"),
        ("text,loss,tokens\nb,x,1\n", "loss: numbers are expected"),
        ("text,kl_from_base\nb,0.1\n", "kl_from_base are means over tokens"),
        ("text,loss,tokens,same_top_from_base\nb,1,1,2\n", "same_top_from_base: 2 in row 0"),
        ("id,text\n1,a\n1,b\n", "instance 1 stands there 2 times"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, text: str, said: str) -> None:
    store = new(tmp_path)

    with pytest.raises(ResultFileError, match=said):
        import_predictions(store, [csv(tmp_path, text)])

    assert not rows(store, "models") and not rows(store, "tasks")


def test_classes_and_text_are_tasks_of_their_own(tmp_path: Path) -> None:
    store = new(tmp_path)
    text = csv(tmp_path, "reference,text\na,b\nc,d\n", "text.csv")
    classes = csv(tmp_path, "label,prediction\n0,1\n1,1\n", "classes.csv")

    assert "a task is solved by one or the other" in refused(store, text, classes)
    import_predictions(store, [text], task="text")
    import_predictions(store, [classes], task="classes")

    assert "is solved by generating text: classes do not answer it" in refused(store, classes, task="text")
    assert "have classes: generated text does not answer them" in refused(store, text, task="classes")
    other = csv(tmp_path, "reference,text\na,b\nz,d\n", "other.csv")
    assert "instance 1 has the references ['z'], and ['c'] elsewhere" in refused(store, other, task="text")


def test_scores_follow_the_rules_of_squad() -> None:
    assert exact_match("The  Eiffel-Tower!", ["eiffeltower"])
    assert not exact_match("Eiffel Tower", ["eiffeltower"])
    assert f1("a b b", ["b b c"]) == pytest.approx(0.8)
    assert f1("x", ["y", "x z"]) == pytest.approx(2 / 3)
    assert (f1("the", ["a"]), f1("the", ["cat"])) == (1, 0)


TOKENS: dict[str, list[Any]] = {
    "token_losses": [[0.5, 1.5], [2.0], [1.0, 1.0, 4.0]],
    "token_texts": [["Who", "?"], ["When"], ["Wh", "ich", "?"]],
}


@pytest.mark.parametrize("kind", ["csv", "parquet", "json", "jsonl"])
def test_losses_of_tokens_come_from_every_kind_of_file(tmp_path: Path, kind: str) -> None:
    store, file = new(tmp_path), tmp_path / f"net.{kind}"
    each = [dict(zip(TOKENS, row, strict=True)) for row in zip(*TOKENS.values(), strict=True)]
    if kind == "csv":
        table = {name: [json.dumps(row) for row in values] for name, values in TOKENS.items()}
        pa.csv.write_csv(pa.table(table), file)
    elif kind == "parquet":
        pq.write_table(pa.table(TOKENS), file)
    else:
        file.write_text(json.dumps(TOKENS) if kind == "json" else "\n".join(json.dumps(row) for row in each))

    import_predictions(store, [file], task="words")

    found = rows(store, "predictions")
    assert [row["token_losses"] for row in found] == TOKENS["token_losses"]
    assert [(row["loss"], row["tokens"]) for row in found] == [(1.0, 2), (2.0, 1), (2.0, 3)]
    assert [row["token_texts"] for row in rows(store, "instances")] == TOKENS["token_texts"]
    values = {row["metric"]: row["value"] for row in rows(store, "metrics")}
    assert values == pytest.approx({"perplexity": np.exp(10 / 6)})


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"token_losses": [[1.0], []]}, "row 1, counted from 0, must be a list of one or more values"),
        ({"token_losses": [[1.0], [-1.0]]}, "list 1: -1 in row 0"),
        ({"token_losses": [[1.0], [2.0]], "loss": [1.0, 3.0]}, "loss is 3 in row 1, counted from 0, and 2 by its"),
        ({"token_losses": [[1.0], [2.0]], "tokens": [1, 2]}, "tokens is 2 in row 1, counted from 0, and 1 by its"),
        ({"token_losses": [[1.0], [2.0]], "token_texts": [["a"], ["b", "c"]]}, "has 2 texts, and 1 losses"),
        ({"token_losses": [["x"], [2.0]]}, "lists of numbers"),
    ],
)
def test_losses_of_tokens_that_do_not_fit_are_refused(tmp_path: Path, columns: dict[str, Any], said: str) -> None:
    file = tmp_path / "net.json"
    file.write_text(json.dumps(columns))

    assert said in refused(new(tmp_path), file, task="words")
