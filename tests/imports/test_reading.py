import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from cc_ray.errors import CcRayError
from cc_ray.imports.reading import MOST_STEPS, ResultFileError, read_results
from tests.imports.files import ACCURACY, PRUNE, model, write


def operation(name: str, parameters: Any) -> dict[str, Any]:
    return {"name": name, "parameters": parameters}


def test_parameters_may_be_a_list_or_specifications(tmp_path: Path) -> None:
    specified = {"method": {"type": "nominal", "method": ["a", "b"]}, "amount": {"max": None}}
    declared = [operation("prune", ["amount"]), operation("quantize", specified), {"name": "train"}]

    found = read_results(write(tmp_path, [model("root")], operations=declared))

    assert found.operations == {"prune": {"amount": {}}, "quantize": specified, "train": {}}


@pytest.mark.parametrize(
    "root",
    [
        {"id": "root"},
        {"id": "root", "base": None, "operation": None, "metrics": None},
        {"id": "root", "base": "", "metrics": {}},
        {"id": "root", "base": None, "operation": {"name": "train", "parameters": {"epochs": 90}}},
    ],
    ids=["no keys", "nulls", "empty", "operation"],
)
def test_roots_of_every_form(tmp_path: Path, root: dict[str, Any]) -> None:
    found = read_results(write(tmp_path, [model("child", "root"), root]))

    assert [found.recipe(model).base for model in found.models] == ["root", "root"]
    assert [len(found.recipe(model).steps) for model in found.models] == [1, 0]


def test_values_that_no_float_holds_are_missing(tmp_path: Path) -> None:
    file = tmp_path / "small.json"
    file.write_text('{"models": [{"id": "a", "metrics": {"x": NaN, "y": 1e999, "z": null, "n": 3, "one": 1.0}}]}')

    found = read_results(file)

    assert found.models[0].metrics == {"x": None, "y": None, "z": None, "n": 3.0, "one": 1.0}


def test_the_file_names_the_task_unless_its_name_is_the_common_one(tmp_path: Path) -> None:
    own, common = write(tmp_path, [model("a")]), write(tmp_path, [model("a")], name="cifar/models.json")

    assert (read_results(own).task, read_results(common).task) == ("small", "cifar")
    assert read_results(own).model_id(read_results(own).models[0]) == read_results(own).model_id(
        read_results(write(tmp_path / "elsewhere", [model("a", metrics={})])).models[0]
    )


def chain(length: int) -> list[dict[str, Any]]:
    return [model("0"), *(model(str(n), str(n - 1)) for n in range(1, length))]


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ([], "no models"),
        ([model("a"), model("a")], "two models have the id 'a'"),
        ([model("a", "b")], "base 'b', which is not in the file"),
        ([model("a", "a")], "'a' descends from itself"),
        ([model("r"), model("a", "b"), model("b", "c"), model("c", "b")], "descends from itself"),
        (chain(MOST_STEPS + 2), "more than 100 steps"),
        (chain(1000)[::-1], "more than 100 steps"),
        ([{"tag": "nameless"}], "id of a model"),
        ([{"id": True}], "id of a model"),
        ([{"id": "a", "base": ["b"]}], "base of model 'a'"),
        ([model("a", metrics={"Accuracy": "high"})], "expected a number or null"),
        ([model("a", metrics={"Accuracy": True})], "expected a number or null"),
        ([model("a", metrics={"Accuracy": 10**400})], "larger than any float"),
        ([model("a", metrics=[1])], "must be an object"),
        ([{"id": "a", "operation": "prune"}], "with name and parameters"),
        ([{"id": "a", "operation": {"parameters": {}}}], "operation's name of model 'a'"),
        ([{"id": "a", "operation": {"name": "p", "parameters": [1]}}], "parameters of model 'a'"),
        (["a"], "list of objects"),
    ],
)
def test_models_that_contradict_one_another_are_refused(tmp_path: Path, models: Any, message: str) -> None:
    with pytest.raises(ResultFileError, match=message):
        read_results(write(tmp_path, models))


def test_the_longest_chain_is_read(tmp_path: Path) -> None:
    assert len(read_results(write(tmp_path, chain(MOST_STEPS + 1))).models) == MOST_STEPS + 1


@pytest.mark.parametrize(
    ("metrics", "operations", "message"),
    [
        ([ACCURACY, ACCURACY], [], "metric 'Accuracy' is declared twice"),
        ([{"unit": "ms"}], [], "name of a metric"),
        ([], [PRUNE, PRUNE], "operation 'prune' is declared twice"),
        ([], [operation("prune", 3)], "list or an object"),
        ({"Accuracy": {}}, [], "'metrics' must be a list"),
    ],
)
def test_declarations_that_cannot_be_read_are_refused(
    tmp_path: Path, metrics: Any, operations: Any, message: str
) -> None:
    with pytest.raises(ResultFileError, match=message):
        read_results(write(tmp_path, [model("a")], metrics=metrics, operations=operations))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b'"models"',
        b'{"models": 3}',
        b"[" * 200_000,
        b'{"models": [{"id": "\\ud800"}]}',
        json.dumps({"models": [{"id": "a"}], "deep": json.loads("[" * 40 + "]" * 40)}).encode(),
    ],
    ids=lambda content: content[:12].decode("latin-1"),
)
def test_what_is_no_result_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "bad.json"
    file.write_bytes(content)

    with pytest.raises(CcRayError, match=r"bad\.json cannot be imported: .* Nothing was imported\."):
        read_results(file)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultFileError, match="No such file"):
        read_results(tmp_path / "absent.json")
    with pytest.raises(ResultFileError, match="directory"):
        read_results(tmp_path)


def test_the_error_travels() -> None:
    error = pickle.loads(pickle.dumps(ResultFileError("what is wrong")))

    assert (type(error), str(error)) == (ResultFileError, "what is wrong")
