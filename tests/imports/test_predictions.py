import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cc_ray import compare
from cc_ray.errors import ModelNotFoundError
from cc_ray.imports import columns
from cc_ray.imports.models import Brought
from cc_ray.imports.predictions import Reading, import_predictions, reading
from cc_ray.imports.reading import ResultFileError
from cc_ray.store import Store
from cc_ray.views import open_views
from dashboards.behaviour.asked import Asked
from dashboards.behaviour.sums import sums
from dashboards.chosen import Chosen
from dashboards.gallery import gallery
from dashboards.snapshot import Source

REAL = Path(__file__).parent.parent.parent.parent / "shared" / "data" / "cifar_predictions"
real = pytest.mark.skipif(not REAL.exists(), reason="the real predictions are not on this machine")
SETS = {"original": "cifar10_test", "v4": "cifar10.1_v4", "v6": "cifar10.1_v6"}


def new(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", create=True)


def csv(folder: Path, text: str, name: str = "net.csv") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def rows(store: Store, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = store.read(table).to_pylist()
    return found


def refused(store: Store, *files: Path, **how: Any) -> str:
    with pytest.raises(ResultFileError) as error:
        import_predictions(store, files, **how)
    for table in ("tasks", "instances", "models", "metrics", "predictions"):
        assert not rows(store, table), table
    return str(error.value)


@real
@pytest.mark.parametrize(("folder", "task"), SETS.items())
def test_real_predictions_are_compared(tmp_path: Path, folder: str, task: str) -> None:
    store = new(tmp_path)
    files = sorted((REAL / folder).glob("*.json"))
    labels = np.load(REAL / f"{task}_labels.npy").astype(int)
    answers = {file.stem.removesuffix("_predictions"): np.array(json.loads(file.read_text())) for file in files}

    brought = import_predictions(store, files, labels=REAL / f"{task}_labels.npy")

    assert (brought.task, brought.new, brought.predictions) == (task, 5, 5 * len(labels))
    views = open_views(store.root)
    listed = {row["name"]: row for row in compare.models(views).to_pylist()}
    assert {name: row["accuracy"] for name, row in listed.items()} == pytest.approx(
        {name: (given == labels).mean() for name, given in answers.items()}
    )
    base, model = "resnet_basic_110", "vgg16_keras"
    (row,) = compare.behaviours(views, [listed[model]["model_id"]], listed[base]["model_id"]).to_pylist()
    right, other = answers[base] == labels, answers[model] == labels
    assert (row["lost"], row["gained"]) == ((right & ~other).sum(), (~right & other).sum())
    assert 0 <= row["mcnemar_p"] <= 1
    assert row["kl_mean"] is None
    by_class = compare.behaviours_by_class(views, [listed[model]["model_id"]], listed[base]["model_id"])
    assert by_class.num_rows == 10
    shown = compare.instances(views, [listed[model]["model_id"]], listed[base]["model_id"], sort="loss", limit=3)
    assert shown.table["answers"][0].as_py()[0]["confidence"] is None
    assert compare.lint(views).num_rows == 0


def test_probabilities_give_what_an_evaluation_gives(tmp_path: Path) -> None:
    store = new(tmp_path)
    file = csv(tmp_path, "label,p0,p1\n0,1,0\n1,0.75,0.25\n1,0.5,0.5\n")

    import_predictions(store, [file])

    found = rows(store, "predictions")
    assert [row["prediction"] for row in found] == [0, 0, 0]
    assert [row["confidence"] for row in found] == [1.0, 0.75, 0.5]
    assert [row["loss"] for row in found] == pytest.approx([0, -np.log(0.25), -np.log(0.5)], abs=1e-6)
    assert [row["margin"] for row in found] == pytest.approx([1, -0.5, 0], abs=1e-6)
    assert found[2]["entropy"] == pytest.approx(np.log(2))
    assert found[1]["probabilities"] == [0.75, 0.25]
    values = {(row["metric"], row["slice"]): row for row in rows(store, "metrics")}
    assert values["accuracy", "all"]["value"] == pytest.approx(1 / 3)
    # Wilson's interval of 1 of 3.
    assert values["accuracy", "all"]["ci_low"] == pytest.approx(0.0615, abs=1e-3)
    assert values["accuracy", "class:1"]["value"] == 0
    assert values["loss", "all"]["value"] == pytest.approx((np.log(4) + np.log(2)) / 3)


@pytest.mark.parametrize("kind", ["csv", "parquet", "npy", "npz", "json"])
def test_every_kind_of_file_says_the_same(tmp_path: Path, kind: str) -> None:
    store, scores = new(tmp_path), np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])
    labels, file = tmp_path / "labels.npy", tmp_path / f"net.{kind}"
    np.save(labels, np.array([0, 1, 0]))
    if kind == "csv":
        file.write_text("probabilities\n" + "".join(f'"{row.tolist()}"\n' for row in scores))
    elif kind == "parquet":
        pq.write_table(pa.table({"probabilities": scores.tolist()}), file)
    elif kind == "npy":
        np.save(file, scores)
    elif kind == "npz":
        np.savez(file, probabilities=scores)
    else:
        file.write_text(json.dumps(scores.tolist()))

    import_predictions(store, [file], labels=labels, task="small")

    assert [row["prediction"] for row in rows(store, "predictions")] == [0, 1, 1]
    assert [row["true_probability"] for row in rows(store, "predictions")] == pytest.approx([0.9, 0.8, 0.4])


def test_classes_have_names_and_instances_slices(tmp_path: Path) -> None:
    store = new(tmp_path)
    text = "id,label,prob_cat,prob_dog,light,text\n7,dog,0.1,0.9,dim,a dog\n3,cat,0.2,0.8,bright,a cat\n"

    import_predictions(store, [csv(tmp_path, text)], task="pets", reading=Reading(slices=("light",)))

    views = open_views(store.root)
    assert [row["class_names"] for row in rows(store, "tasks")] == [["cat", "dog"]]
    instances = {row["instance"]: row for row in rows(store, "instances")}
    assert (instances[3]["label_name"], instances[3]["slices"]) == ("cat", ["class:cat", "light:bright"])
    assert instances[7]["payload"] == b"a dog"
    accuracy = views.sql("SELECT slice, value FROM metrics WHERE metric = 'accuracy'").to_pylist()
    assert {row["slice"]: row["value"] for row in accuracy}["light:bright"] == 0


def test_logits_become_probabilities(tmp_path: Path) -> None:
    store = new(tmp_path)
    np.savez(tmp_path / "net.npz", logits=np.array([[1000.0, 1000.0 + np.log(3)]]), label=np.array([1]))

    import_predictions(store, [tmp_path / "net.npz"])

    assert rows(store, "predictions")[0]["probabilities"] == pytest.approx([0.25, 0.75])


def test_importing_twice_changes_nothing_and_a_child_comes_later(tmp_path: Path) -> None:
    store = new(tmp_path)
    base = csv(tmp_path, "label,prediction\n0,0\n1,1\n2,0\n")
    child = csv(tmp_path, "prediction\n0\n1\n2\n", "pruned.csv")

    def run(file: Path, **how: Any) -> Brought:
        return import_predictions(store, [file], task="three", **how)

    assert (run(base).new, run(base).new) == (1, 0)
    brought = run(child, parent="net", operation="my_pruning", parameters={"sparsity": 0.5})

    views = open_views(store.root)
    card = compare.show(views, brought.models[0])
    assert [row["name"] for row in card.ancestors.to_pylist()] == ["net"]
    assert (card.model["operation"], card.model["accuracy"]) == ("my_pruning", 1.0)
    assert len(rows(store, "instances")) == 3
    (row,) = compare.behaviours(views, brought.models, card.ancestors["model_id"][0].as_py()).to_pylist()
    assert (row["gained"], row["lost"]) == (1, 0)


def test_other_content_under_a_name_is_refused(tmp_path: Path) -> None:
    store = new(tmp_path)
    import_predictions(store, [csv(tmp_path, "label,prediction\n0,0\n1,1\n")])
    version = store.version()

    with pytest.raises(ResultFileError, match=r"'net' with other content .* Choose another name"):
        import_predictions(store, [csv(tmp_path, "label,prediction\n0,0\n1,0\n")])
    with pytest.raises(ResultFileError, match="3 instances, and task 'predictions' in the store has 2: 0 are missing"):
        import_predictions(store, [csv(tmp_path, "label,prediction\n0,0\n1,0\n1,1\n", "b.csv")])
    with pytest.raises(ResultFileError, match=r"1 labels differ .* instance 0: 1, and 0 in the store"):
        import_predictions(store, [csv(tmp_path, "label,prediction\n1,0\n1,0\n", "b.csv")])
    with pytest.raises(ModelNotFoundError, match=r"no model 'nett'.*did you mean 'net'"):
        import_predictions(store, [csv(tmp_path, "prediction\n0\n1\n", "b.csv")], parent="nett")

    assert store.version() == version


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("label,prediction\n0,0\n-1,0\n", "net.csv: label: -1 in row 1, counted from 0, is no class"),
        ("label,p0,p1\n0,1,0\n2,1,0\n", "label: 2 in row 1, counted from 0, is no class of 0 to 1"),
        ("label,prediction,p0,p1\n0,5,1,0\n", "prediction: 5 in row 0"),
        ("label,p0,p1\n0,1,0\n1,nan,0\n", "row 1, counted from 0, holds a score that is not a finite number"),
        ("label,p0,p1\n0,1,0\n1,0.5,0.2\n", "row 1, counted from 0, sums to 0.7, not to 1"),
        ("label,p0,p1\n0,-1,2\n", "holds -1, which is no probability .*--logits"),
        ("label,p0,p2\n0,0,1\n", "numbered 0 to 1 without gaps"),
        ("instance,label,prediction\n4,0,0\n4,0,0\n", "instance 4 stands there 2 times"),
        ("label,prediction\n0,0\n0.5,0\n", "0.5 in row 1, counted from 0, is not a whole number"),
        ("label,prediction\n0,\n", "column 'prediction' has no value in row 0"),
        ("label,prediction\n0\n", "cannot be read"),
        ("label,prediction\n", "holds no rows"),
        ("prediction\n0\n", "the true labels are missing"),
        ("what\n0\n", "no column of labels, predictions, probabilities or generated text among what"),
        ("", "cannot be read"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_row(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ResultFileError, match=said):
        import_predictions(new(tmp_path), [csv(tmp_path, text)])

    assert not rows(new(tmp_path), "models")


def test_one_wrong_file_keeps_all_out(tmp_path: Path) -> None:
    good, bad = (csv(tmp_path, f"label,prediction\n0,0\n1,{n}\n", f"{n}.csv") for n in ("1", "x"))

    assert "x" in refused(new(tmp_path), good, bad)


def test_ragged_rows_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "net.json"
    file.write_text("[[0.5, 0.5], [1.0]]")
    assert "not of one length" in refused(new(tmp_path), file)
    pq.write_table(pa.table({"probabilities": [[0.5, 0.5], [1.0]], "label": [0, 0]}), tmp_path / "net.parquet")
    assert "rows of 'probabilities' are of 1 to 2 values" in refused(new(tmp_path), tmp_path / "net.parquet")


class Trap:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (Path.touch, (Path("sprung"),))  # type: ignore[return-value]


@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_pickles_are_never_loaded(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file, array = tmp_path / f"net.{kind}", np.array([Trap()], dtype=object)
    if kind == "npy":
        np.save(file, array)
    else:
        np.savez(file, prediction=array)

    assert "cannot be read" in refused(new(tmp_path), file)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("kind", ["parquet", "npy", "npz", "json", "csv", "pkl"])
def test_damaged_files_are_refused(tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"net.{kind}"
    file.write_bytes(b"\x93NUMPY\x01\x00 PAR1 \xff\xfe{[")

    assert file.name in refused(new(tmp_path), file)


def test_too_large_a_file_is_refused_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "MOST_BYTES", 10_000)
    np.save(tmp_path / "net.npy", np.zeros(2_000, int))
    pq.write_table(pa.table({"prediction": np.zeros(20_000, int)}), tmp_path / "net.parquet")

    for kind in ("npy", "parquet"):
        assert "GiB in memory" in refused(new(tmp_path), tmp_path / f"net.{kind}")


def test_what_is_odd_is_found(tmp_path: Path) -> None:
    store = new(tmp_path)
    brought = import_predictions(store, [csv(tmp_path, "label,prediction,p0,p1\n1,1,1,0\n0,0,1,0\n")])

    checks = {finding.check for finding in brought.findings}
    assert checks == {"true_class_impossible", "prediction_not_most_probable"}
    assert {row["check"] for row in compare.lint(open_views(store.root)).to_pylist()} == checks
    assert [row["correct"] for row in rows(store, "predictions")] == [True, True]


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    store = new(tmp_path)
    how = reading(columns=["label=wahr", "prediction=geraten"], slices=[], classes="a, b", logits=False)

    import_predictions(store, [csv(tmp_path, "wahr,geraten\na,b\nb,b\n")], reading=how)

    assert [row["prediction"] for row in rows(store, "predictions")] == [1, 1]
    with pytest.raises(ResultFileError, match="role among instance, label"):
        reading(columns=["colour=x"], slices=[], classes="", logits=False)
    with pytest.raises(ResultFileError, match="has no column 'x' for label"):
        import_predictions(store, [csv(tmp_path, "a\n1\n")], reading=Reading({"label": "x"}))


def test_predictions_of_others_stand_beside_our_own(digits_store: Store, tmp_path: Path) -> None:
    own = digits_store.read("predictions").sort_by("instance")
    pq.write_table(own.select(["instance", "prediction"]), tmp_path / "theirs.parquet")
    before = digits_store.read("instances").num_rows

    brought = import_predictions(digits_store, [tmp_path / "theirs.parquet"], task="digits")

    views = open_views(digits_store.root)
    base = next(row["model_id"] for row in compare.models(views).to_pylist() if row["name"] == "resnet")
    (row,) = compare.behaviours(views, brought.models, base).to_pylist()
    assert (row["flips"], row["agreement"]) == (0, 1)
    assert digits_store.read("instances").num_rows == before
    slices = {row["slice"] for row in rows(digits_store, "metrics") if row["metric"] == "accuracy"}
    assert slices == {"all", *(f"class:{digit}" for digit in range(10))}


def test_the_dashboard_shows_what_is_unknown_as_unknown(tmp_path: Path) -> None:
    store = new(tmp_path)
    files = [csv(tmp_path, f"label,prediction\n0,0\n1,{answer}\n", f"net {answer}.csv") for answer in (0, 1)]
    ids = import_predictions(store, files).models
    views = open_views(store.root)
    snapshot = Source(str(store.root)).snapshot

    page = gallery(compare.instances(views, [ids[1]], ids[0]), [ids[1]], 0)
    asked = Asked(snapshot, Chosen((ids[1],), ids[0], True), "correct", "difference", None, "", {})
    table = sums(asked, compare.behaviours(views, [ids[1]], ids[0]).to_pylist())

    assert "only the predicted class is known" in page
    assert ">–</td>" in table
