import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cc_ray.compare.insights import RULES, Insight, insights, noticed
from cc_ray.compare.insights.costs import BETTER_ON, BLOCK, _beaters
from cc_ray.compare.insights.evidence import identifier, literal
from cc_ray.errors import ModelNotFoundError, NotComparableError
from cc_ray.imports.compress_and_compare import import_results
from cc_ray.recipe import Step
from cc_ray.store import Store
from cc_ray.views import open_views
from cc_ray.wording import format_change, format_value
from tests.benchmarks.make_store import make_store
from tests.compare.small import TASK, Value, add_model, answers, new_store

REAL = Path(__file__).parent.parent.parent.parent / "shared" / "data" / "compress_and_compare"
EACH = 200
"""Instances of each of the three classes."""
LABELS = [label for label in range(3) for _ in range(EACH)]
COLUMNS = [
    "rank", "rule", "sentence", "model_id", "name", "kind", "effect", "effect_unit", "p_value", "score", "evidence",
    "view",
]  # fmt: skip
DEFINITIONS = {
    "accuracy": ("higher", "percent", True, ""),
    "size_bytes": ("lower", "bytes", True, "bytes"),
    "latency_p50_ms": ("lower", "ms", True, "ms"),
    "latency_std_ms": ("lower", "ms", False, "ms"),
    "speedup": ("higher", "number", False, ""),
    "sparsity": ("none", "percent", True, ""),
    "f1": ("higher", "number", False, ""),
}
PRUNE, TUNE, QUANTIZE = Step("pruning", {"sparsity": 0.5}), Step("fine_tune"), Step("quantize", {"bits": 8})
Wrong = dict[tuple[int, int], int]
"""How many instances of a class are called another class."""


def store_at(root: Path) -> Store:
    store = new_store(root, directions={"unused": "none"})
    rows = [
        {
            "metric": metric, "label": metric.split("_")[0].capitalize(), "unit": unit, "direction": direction,
            "primary": primary, "format": kind, "meaning": metric,
        }
        for metric, (direction, kind, primary, unit) in DEFINITIONS.items()
    ]  # fmt: skip
    store.publish("task", "more", {"metric_definitions": rows})
    return store


def add(
    store: Store,
    model_id: str,
    parent: str | None = None,
    *steps: Step,
    wrong: Wrong | None = None,
    shift: int = 0,
    **metrics: Value,
) -> None:
    """A model that answers all instances rightly but those named; `shift` says at which of a class these begin."""
    told = {"labels": LABELS, "probabilities": answers(predicted(wrong, shift))} if wrong is not None else {}
    given: Any = {"metrics": metrics, "parent": parent, "steps": steps, **told}
    add_model(store, model_id, **given)


def predicted(wrong: Wrong, shift: int) -> list[int]:
    found = list(LABELS)
    used: Counter[int] = Counter()
    for (label, other), count in wrong.items():
        for at in range(count):
            found[label * EACH + (shift + used[label] + at) % EACH] = other
        used[label] += count
    return found


def spread(count: int) -> Wrong:
    """Mistakes that fall evenly on all classes."""
    return {(label, (label + by) % 3): count // 6 for label in range(3) for by in (1, 2)}


def prune_and(child: dict[str, Any], base: dict[str, Any] | None = None, step: Step = PRUNE) -> Callable[[Store], None]:
    def build(store: Store) -> None:
        add(store, "base", **(base or {"wrong": {}}))
        add(store, "child", "base", step, **child)

    return build


def healed(lost: int, left: int) -> Callable[[Store], None]:
    def build(store: Store) -> None:
        add(store, "base", wrong={})
        add(store, "hurt", "base", PRUNE, wrong=spread(lost))
        add(store, "well", "hurt", PRUNE, TUNE, wrong=spread(left))

    return build


def two_orders(one: int, other: int) -> Callable[[Store], None]:
    def build(store: Store) -> None:
        add(store, "base", wrong={})
        for first, second, name, wrong in ((PRUNE, QUANTIZE, "one", one), (QUANTIZE, PRUNE, "other", other)):
            add(store, f"{name}-a", "base", first, wrong={})
            add(store, f"{name}-b", f"{name}-a", first, second, wrong=spread(wrong))

    return build


def sweep(*wrong: int) -> Callable[[Store], None]:
    def build(store: Store) -> None:
        add(store, "base", wrong={})
        for at, count in enumerate(wrong):
            add(store, f"level-{at}", "base", Step("pruning", {"sparsity": 0.2 * (at + 1)}), wrong=spread(count))

    return build


def sqnr(*values: float) -> Callable[[Store], None]:
    def build(store: Store) -> None:
        add(store, "base")
        row = {"shape": [2, 2], "parameters": 4, "zeros": 0}
        layers = [{**row, "layer": f"layer's {at}", "sqnr_db": value} for at, value in enumerate(values)]
        add_model(store, "child", parent="base", steps=[QUANTIZE], layers=layers)

    return build


def beaten(accuracy: Value, size: float) -> Callable[[Store], None]:
    def build(store: Store) -> None:
        add(store, "base", accuracy=(0.9, 0.88, 0.92), size_bytes=1000.0)
        add(store, "good", "base", PRUNE, accuracy=(0.89, 0.87, 0.91), size_bytes=300.0)
        add(store, "poor", "base", QUANTIZE, accuracy=accuracy, size_bytes=size)

    return build


def everywhere(*values: float) -> Callable[[Store], None]:
    def build(store: Store) -> None:
        for at, value in enumerate(values):
            add(store, f"model-{at}", f1=value)

    return build


SMALL = {"wrong": {}, "size_bytes": 1000.0}
TIMED = {"latency_p50_ms": 2.0, "speedup": (1.0, 1.0, 1.0), "size_bytes": 1000.0, "sparsity": 0.0}
Build = Callable[[Store], None]
CASES: dict[str, tuple[Build, Build]] = {
    "worst_slice": (prune_and({"wrong": {(0, 1): 20, (0, 2): 20, (1, 2): 5}}), prune_and({"wrong": spread(60)})),
    "carried_away": (prune_and({"wrong": {(0, 1): 30, (0, 2): 30, (1, 2): 5}}), prune_and({"wrong": spread(60)})),
    "flip_cluster": (
        prune_and({"wrong": {(0, 1): 25, (0, 2): 2, (1, 2): 13, (1, 0): 13, (2, 0): 13, (2, 1): 13}}),
        prune_and({"wrong": spread(90)}),
    ),
    "one_answer": (prune_and({"wrong": {(0, 2): 180, (1, 2): 170}}), prune_and({"wrong": {(0, 2): 20}})),
    "churn": (
        # As many mistakes, at the same instances, but others.
        prune_and({"wrong": {(0, 1): 60}}, {"wrong": {(0, 2): 60}}),
        prune_and({"wrong": {(0, 1): 2}}),
    ),
    "recovery": (healed(180, 30), healed(180, 180)),
    "nothing_changed": (healed(0, 0), healed(180, 30)),
    "cheapest_step": (
        prune_and({"wrong": {}, "size_bytes": 400.0}, SMALL),
        prune_and({"wrong": spread(60), "size_bytes": 400.0}, SMALL),
    ),
    "free_quantization": (
        prune_and({"wrong": {}, "size_bytes": 400.0}, SMALL, QUANTIZE),
        prune_and({"wrong": {}, "size_bytes": 990.0}, SMALL, QUANTIZE),
    ),
    "order_matters": (two_orders(30, 180), two_orders(30, 30)),
    "knee": (sweep(0, 6, 240), sweep(60, 120, 180)),
    "sqnr_collapse": (sqnr(30.0, 32.0, 31.0, 3.0), sqnr(30.0, 32.0, 31.0, 28.0)),
    "dominated": (beaten((0.7, 0.68, 0.72), 400.0), beaten((0.88, 0.86, 0.9), 400.0)),
    "idle_sparsity": (
        prune_and({**TIMED, "sparsity": 0.6, "speedup": (1.0, 0.98, 1.02)}, TIMED),
        prune_and({**TIMED, "sparsity": 0.6, "speedup": (1.5, 1.4, 1.6), "size_bytes": 500.0}, TIMED),
    ),
    "latency_within_noise": (
        prune_and({"latency_p50_ms": 1.8, "speedup": (1.05, 0.97, 1.1)}, TIMED),
        prune_and({"latency_p50_ms": 1.0, "speedup": (2.0, 1.9, 2.1)}, TIMED),
    ),
    "constant_metric": (everywhere(0.5, 0.5, 0.5), everywhere(0.5, 0.5, 0.6)),
}
"""Of each rule a store in which it speaks, and one in which it has no reason to."""


def found_in(root: Path, build: Build) -> tuple[Store, list[Insight]]:
    store = store_at(root)
    build(store)
    return store, list(noticed(open_views(store.root)))


def test_every_rule_has_its_cases() -> None:
    assert set(CASES) == {rule.__name__ for rule, _ in RULES}


@pytest.mark.parametrize("rule", list(CASES))
def test_a_rule_speaks_where_it_should_and_shows_its_numbers(tmp_path: Path, rule: str) -> None:
    store, found = found_in(tmp_path, CASES[rule][0])

    assert rule in {one.rule for one in found}
    for one in found:
        check_evidence(store, one)


@pytest.mark.parametrize("rule", list(CASES))
def test_a_rule_is_silent_where_nothing_is_to_be_said(tmp_path: Path, rule: str) -> None:
    _, found = found_in(tmp_path, CASES[rule][1])

    assert rule not in {one.rule for one in found}


def check_evidence(store: Store, one: Insight) -> None:
    """The query runs as it stands, gives the facts in one row, and the sentence says no number but theirs."""
    (row,) = open_views(store.root).sql(one.evidence).to_pylist()
    assert {name: float(row[name]) for name in one.facts} == pytest.approx(dict(one.facts)), one.sentence
    words = {piece for value in one.facts.values() for piece in said(value)}
    for number in re.findall(r"(?<![\w.])[+−±]?\d[\d.,]*\d|(?<![\w.])[+−±]?\d", without_names(one.sentence)):
        assert number.strip("+−±") in words, f"{number} of '{one.sentence}' is not in {one.facts}"


def said(value: float) -> set[str]:
    """All ways to write a number."""
    kinds = ("percent", "bytes", "count", "ms", "number")
    written = {write(abs(value), kind) for kind in kinds for write in (format_value, format_change)}
    return {text.strip("+−±").split(" ")[0] for text in written} | {f"{abs(value):.1f}", f"{abs(value):.0f}"}


OF_NAMES = (
    r"\([+−±][\d.]+ to [+−±][\d.]+\)",
    r"layer's \d",
    r"\w+ing [\d.]+",
    r"sparsity [\d.]+",
    r"to [\d.]+ it",
    r"Quantize \d+ bits",
)
"""Numbers of a sentence that are of steps, layers and intervals."""


def without_names(sentence: str) -> str:
    for pattern in OF_NAMES:
        sentence = re.sub(pattern, "", sentence)
    return sentence


def test_the_columns_are_as_documented_even_without_models(tmp_path: Path) -> None:
    found = insights(open_views(store_at(tmp_path).root))

    assert found.column_names == COLUMNS
    assert found.num_rows == 0
    assert all(name in str(insights.__doc__) for name in COLUMNS)


def test_a_loss_within_noise_is_no_insight(tmp_path: Path) -> None:
    _, found = found_in(tmp_path, prune_and({"wrong": {(0, 1): 3, (1, 2): 1}}))

    assert {one.kind for one in found} <= {"gain"}


def test_the_sentence_names_class_size_and_direction(tmp_path: Path) -> None:
    _, found = found_in(tmp_path, CASES["worst_slice"][0])

    (sentence,) = [one.sentence for one in found if one.rule == "worst_slice"]
    assert sentence == (
        "Under Pruning (net), zero loses more than the rest: its accuracy goes from 100.0 % in net to 80.0 % "
        "(−20.0 points; −7.5 points over all)."
    )


def test_rank_follows_the_score_and_the_limit_holds(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    CASES["worst_slice"][0](store)
    add(store, "tune", "child", PRUNE, TUNE, wrong={(0, 1): 1})
    views = open_views(store.root)

    found = insights(views).to_pylist()

    assert [row["rank"] for row in found] == list(range(1, len(found) + 1))
    assert [row["score"] for row in found] == sorted((row["score"] for row in found), reverse=True)
    assert insights(views, limit=1).to_pylist() == found[:1]
    with pytest.raises(NotComparableError, match="limit=-1"):
        insights(views, limit=-1)


def test_of_one_class_of_a_model_one_thing_is_told(tmp_path: Path) -> None:
    store, found = found_in(tmp_path, CASES["carried_away"][0])
    told = [row["rule"] for row in insights(open_views(store.root)).to_pylist()]

    assert {"carried_away", "worst_slice", "flip_cluster"} & {one.rule for one in found} >= {"carried_away"}
    assert len({"carried_away", "worst_slice", "flip_cluster"} & set(told)) == 1


def test_only_the_models_asked_for(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    add(store, "base", wrong={})
    for name in ("one", "two"):
        add(store, name, "base", Step("pruning", {"kind": name}), wrong={(0, 1): 50})
    views = open_views(store.root)

    assert {row["model_id"] for row in insights(views, ["one"]).to_pylist()} == {"one"}
    with pytest.raises(ModelNotFoundError):
        insights(views, ["three"])


def test_another_base(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    add(store, "base", wrong={})
    add(store, "hurt", "base", PRUNE, wrong={(0, 1): 60})
    add(store, "next", "hurt", PRUNE, QUANTIZE, wrong={(0, 1): 60})
    views = open_views(store.root)

    assert "worst_slice" in {one.rule for one in noticed(views, ["next"])}
    assert "worst_slice" not in {one.rule for one in noticed(views, ["next"], "hurt")}


def test_a_base_of_another_task_is_refused(tmp_path: Path) -> None:
    store = new_store(tmp_path, tasks=(TASK, "letters-1"))
    add_model(store, "aaaa")
    add_model(store, "bbbb", task_id="letters-1")

    with pytest.raises(NotComparableError, match="name a base of their task"):
        insights(open_views(store.root), ["aaaa"], base="bbbb")


def test_names_with_quotes_are_no_sql(tmp_path: Path) -> None:
    views, name = open_views(store_at(tmp_path).root), "x'; -- \""

    assert views.sql(f"SELECT {literal(name)} AS {identifier(name)}").to_pylist() == [{name: name}]


def test_without_predictions_recorded_intervals_are_the_judge(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    add(store, "base", accuracy=(0.9, 0.88, 0.92))
    add(store, "clear", "base", PRUNE, accuracy=(0.5, 0.48, 0.52))
    add(store, "well", "clear", PRUNE, TUNE, accuracy=(0.7, 0.68, 0.72))
    add(store, "vague", "clear", PRUNE, Step("fine_tune", {"epochs": 2}), accuracy=(0.51, 0.49, 0.53))

    assert [one.model_id for one in noticed(open_views(store.root)) if one.rule == "recovery"] == ["well"]


def test_a_metric_of_a_part_is_a_slice(tmp_path: Path) -> None:
    store = new_store(tmp_path, directions={"unused": "none"})
    row = {"label": "Top 1", "unit": "", "direction": "higher", "format": "percent", "meaning": "x"}
    names = ("top_1_accuracy", "top_1_bird_accuracy")
    definitions = [{**row, "metric": name, "primary": name == names[0]} for name in names]
    store.publish("task", "more", {"metric_definitions": definitions})
    for model_id, parent, values in (("base", None, (0.9, 0.9)), ("prun", "base", (0.88, 0.3))):
        metrics = dict(zip(names, values, strict=True))
        add_model(store, model_id, parent=parent, steps=[PRUNE] if parent else [], metrics=metrics)

    (one,) = [one for one in noticed(open_views(store.root)) if one.rule == "worst_slice"]

    assert "bird loses more than the rest" in one.sentence
    assert one.p_value is None
    # Without predictions there is nothing to look at on the page of behaviours.
    assert one.view == "Overview"


def test_a_generated_store_and_all_its_evidence(tmp_path: Path) -> None:
    store = make_store(tmp_path, models=65, instances=2_000)
    views = open_views(store.root)

    found = list(noticed(views))

    assert {"worst_slice", "cheapest_step", "free_quantization", "knee", "idle_sparsity"} <= {one.rule for one in found}
    for one in found:
        (row,) = views.sql(one.evidence).to_pylist()
        assert {name: float(row[name]) for name in one.facts} == pytest.approx(dict(one.facts)), one.sentence
    assert len({row["rule"] for row in insights(views, limit=10).to_pylist()}) > 4


@pytest.mark.parametrize("name", ["cifar10_resnet20", "imagenet_tutorial"])
def test_the_prototypes_own_results(tmp_path: Path, name: str) -> None:
    file = REAL / f"{name}.json"
    if not file.exists():
        pytest.skip("the prototype's result files are not beside the project")
    store = Store(tmp_path, create=True)
    import_results(store, file)
    views = open_views(store.root)

    found = list(noticed(views))

    assert {"recovery", "dominated"} <= {one.rule for one in found}
    assert not [one for one in found if one.p_value is not None], "the file has no intervals"
    for one in found:
        (row,) = views.sql(one.evidence).to_pylist()
        assert {key: float(row[key]) for key in one.facts} == pytest.approx(dict(one.facts)), one.sentence


def test_classes_that_have_no_name_are_called_by_their_index(tmp_path: Path) -> None:
    labels = [at % 5 for at in range(300)]
    store = new_store(tmp_path)
    add_model(store, "base", labels=labels, probabilities=answers(labels, 5))
    add_model(store, "child", parent="base", steps=[PRUNE], labels=labels, probabilities=answers([4] * 300, 5))

    (one,) = [one for one in noticed(open_views(store.root)) if one.rule == "one_answer"]

    assert one.sentence == "Pruning (net) takes 100.0 % of the instances for 4; 20.0 % are."


def test_what_is_slower_is_not_free(tmp_path: Path) -> None:
    child = {"wrong": {}, "size_bytes": 400.0, "speedup": (0.5, 0.45, 0.55)}
    _, found = found_in(tmp_path, prune_and(child, SMALL, QUANTIZE))

    assert not {"free_quantization", "cheapest_step"} & {one.rule for one in found}


def test_a_small_loss_that_is_sure_is_not_called_none(tmp_path: Path) -> None:
    def build(store: Store) -> None:
        many = [label for label in range(3) for _ in range(2000)]
        wrong = [(label + 1) % 3 if at % 200 == 0 else label for at, label in enumerate(many)]
        add_model(store, "base", metrics={"size_bytes": 1000.0}, labels=many, probabilities=answers(many))
        given: Any = {"metrics": {"size_bytes": 400.0}, "labels": many, "probabilities": answers(wrong)}
        add_model(store, "child", parent="base", steps=[QUANTIZE], **given)
        add_model(store, "tuned", parent="child", steps=[QUANTIZE, TUNE], labels=many, probabilities=answers(many))

    _, found = found_in(tmp_path, build)

    assert not {"free_quantization", "cheapest_step", "nothing_changed"} & {one.rule for one in found}


def test_training_may_change_a_tensor_as_much_as_it_likes(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    row = {"shape": [2, 2], "parameters": 4, "zeros": 0}
    layers = [{**row, "layer": f"{at}", "sqnr_db": value} for at, value in enumerate((30.0, 32.0, 31.0, 3.0))]
    add_model(store, "base")
    add_model(store, "child", parent="base", steps=[TUNE], layers=layers)

    assert "sqnr_collapse" not in {one.rule for one in noticed(open_views(store.root))}


def test_a_model_that_was_timed_faster_is_not_called_nowhere_better(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    good, poor = (0.9, 0.89, 0.91), (0.5, 0.49, 0.51)
    add(store, "base", accuracy=good, size_bytes=1000.0, latency_p50_ms=2.0)
    add(store, "good", "base", PRUNE, accuracy=good, size_bytes=300.0, latency_p50_ms=1.2, speedup=(2.0, 1.9, 2.1))
    for at, latency in enumerate((1.1, 1.3)):
        step = Step("quantize", {"bits": at + 2})
        timed: Any = {"latency_p50_ms": latency, "speedup": (1.0, 0.9, 1.1)}
        add(store, f"poor-{at}", "base", step, accuracy=poor, size_bytes=500.0, **timed)

    (one,) = [one for one in noticed(open_views(store.root)) if one.rule == "dominated"]

    assert one.model_id == "poor-1"
    assert "accuracy 50.0 % against 90.0 %" in one.sentence


def test_nothing_is_lost_beside_a_base_that_has_not_learnt(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    always_zero: Wrong = {(1, 0): EACH, (2, 0): EACH}
    always_one: Wrong = {(0, 1): EACH, (2, 1): EACH}
    add(store, "base", wrong=always_zero, accuracy=1 / 3)
    add(store, "good", "base", TUNE, wrong={}, accuracy=1.0)
    add(store, "poor", "base", PRUNE, wrong=always_one, accuracy=1 / 3)

    found = list(noticed(open_views(store.root)))

    assert "poor" not in {one.model_id for one in found if one.view == "Behaviours"}


def test_what_is_nan_or_infinite_was_not_measured(tmp_path: Path) -> None:
    nan, infinite = float("nan"), float("inf")
    child = {"accuracy": nan, "latency_p50_ms": infinite, "speedup": (infinite, 1.0, infinite), "sparsity": nan}
    _, found = found_in(tmp_path, prune_and(child, {**TIMED, "accuracy": 0.9}))

    assert found == []


def test_of_those_that_beat_a_model_the_best_is_named() -> None:
    chance = np.random.default_rng(0)
    shown = chance.integers(0, 30, (2 * BLOCK + 7, 3)).astype(float)
    best, worst = shown - chance.random(shown.shape), shown + chance.random(shown.shape)

    found = _beaters(best, worst, shown)

    assert -1 in found
    for at, by in enumerate(found):
        better = (worst < best[at]).sum(axis=1) >= BETTER_ON
        beating = np.flatnonzero((worst <= best[at]).all(axis=1) & (shown <= shown[at]).all(axis=1) & better)
        assert by == (beating[np.argmin(worst[beating, 0])] if len(beating) else -1)
