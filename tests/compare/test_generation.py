import json
import math
import re
import string
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cc_ray import compare
from cc_ray.compare.behaviour.generation import PERMUTATIONS, generation
from cc_ray.errors import ModelNotFoundError, NotComparableError
from cc_ray.imports.predictions import import_predictions
from cc_ray.imports.script import log_model
from cc_ray.store import Store
from cc_ray.views import Views, open_views

REAL = Path(__file__).parent.parent.parent.parent / "shared" / "data" / "text" / "xquad" / "xquad.en.json"
real = pytest.mark.skipif(not REAL.exists(), reason="the real questions are not on this machine")

REFERENCES = [["The cat"], ["in 1999", "1999"], ["a dog", "dogs"], ["blue"]]
TEXTS = ["cat!", "1999", "A dog barked", "red"]
"""Right, right by the second reference, F1 of 2/3, wrong."""


def logged(store: Store, name: str, texts: Sequence[str] | None = None, **more: Any) -> str:
    columns = {"prompt": ["Who?", "When?", "Which?", "How?"], "references": REFERENCES, **more.pop("columns", {})}
    if texts is not None:
        columns["text"] = list(texts)
    return log_model(store, name, task="questions", predictions=columns, **more)


def asked(store: Store, ids: Sequence[str], base: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = generation(open_views(store.root), ids, base).to_pylist()
    return found


def questions() -> list[tuple[str, list[str]]]:
    held = json.loads(REAL.read_text())["data"]
    asked = [question for article in held for paragraph in article["paragraphs"] for question in paragraph["qas"]]
    return [(each["question"], [answer["text"] for answer in each["answers"]]) for each in asked]


def damaged(texts: Sequence[str], every: int) -> list[str]:
    """Every n-th text loses its last word, every other n-th gets one more, every n * n-th is empty."""
    found = []
    for place, text in enumerate(texts):
        if place % (every * every) == 0:
            text = ""
        elif place % every == 0:
            text = " ".join(text.split()[:-1]) or "nothing"
        elif place % every == 1:
            text = f"{text} indeed"
        else:
            text = f"The {text.upper()}."
        found.append(text)
    return found


def plain_words(text: str) -> list[str]:
    kept = "".join(character for character in text.lower() if character not in string.punctuation)
    return [word for word in kept.split() if word not in ("a", "an", "the")]


def plain_match(text: str, reference: str) -> float:
    return float(plain_words(text) == plain_words(reference))


def plain_f1(text: str, reference: str) -> float:
    own, left, shared = plain_words(text), plain_words(reference), 0
    for word in own:
        if word in left:
            left.remove(word)
            shared += 1
    if not shared:
        return 0.0
    precision, recall = shared / len(own), shared / len(plain_words(reference))
    return 2 * precision * recall / (precision + recall)


def plain(score: Callable[[str, str], float], texts: Sequence[str], references: Sequence[Sequence[str]]) -> Any:
    pairs = zip(texts, references, strict=True)
    return np.array([max(score(text, reference) for reference in accepted) for text, accepted in pairs])


@real
def test_real_questions_are_scored_as_a_plain_implementation_does(tmp_path: Path) -> None:
    prompts, references = zip(*questions(), strict=True)
    store, answers = Store(tmp_path / "store", create=True), {}
    for name, every in {"base": 10, "pruned": 3}.items():
        answers[name] = damaged([accepted[0] for accepted in references], every)
        table = pa.table({"question": prompts, "references": references, "text": answers[name]})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    import_predictions(store, [tmp_path / "base.parquet"], task="xquad")
    import_predictions(store, [tmp_path / "pruned.parquet"], task="xquad", parent="base", operation="magnitude_pruning")
    views = open_views(store.root)
    ids = {row["name"]: row["model_id"] for row in compare.models(views).to_pylist()}
    base_id = ids.pop("base")
    (pruned_id,) = ids.values()

    base, pruned = generation(views, [base_id, pruned_id], base_id).to_pylist()

    match = {name: plain(plain_match, texts, references) for name, texts in answers.items()}
    overlap = {name: plain(plain_f1, texts, references) for name, texts in answers.items()}
    assert (base["n"], pruned["n"], pruned["common"]) == (1190, 1190, 1190)
    for row, name in ((base, "base"), (pruned, "pruned")):
        assert row["exact_match"] == pytest.approx(match[name].mean())
        assert row["f1"] == pytest.approx(overlap[name].mean(), abs=1e-6)
        assert row["exact_match_low"] < row["exact_match"] < row["exact_match_high"] <= row["f1_high"]
        assert row["f1_low"] < row["f1"] < row["f1_high"]
    assert 0.3 < pruned["exact_match"] < base["exact_match"] < 0.9
    assert pruned["exact_match_difference"] == pytest.approx((match["pruned"] - match["base"]).mean())
    assert (pruned["lost"], pruned["gained"]) == (
        ((match["base"] == 1) & (match["pruned"] == 0)).sum(),
        ((match["base"] == 0) & (match["pruned"] == 1)).sum(),
    )
    change = overlap["pruned"] - overlap["base"]
    assert pruned["f1_difference"] == pytest.approx(change.mean(), abs=1e-6)
    half = 1.96 * change.std(ddof=1) / math.sqrt(len(change))
    assert pruned["f1_difference_low"] == pytest.approx(change.mean() - half, abs=0.1 * half)
    assert pruned["f1_difference_high"] == pytest.approx(change.mean() + half, abs=0.1 * half)
    assert pruned["mcnemar_p"] < 1e-6 and pruned["f1_p"] == 1 / (PERMUTATIONS + 1)
    shown = views.sql('SELECT payload, "references" FROM instances ORDER BY instance LIMIT 1').to_pylist()
    assert shown == [{"payload": prompts[0].encode(), "references": references[0]}]


def test_answers_are_normalised_and_the_best_reference_counts(tmp_path: Path) -> None:
    store = Store(tmp_path, create=True)
    model = logged(store, "net", TEXTS)

    (row,) = asked(store, [model], model)

    assert row["exact_match"] == 0.5
    assert row["f1"] == pytest.approx((1 + 1 + 2 / 3 + 0) / 4)
    assert row["perplexity"] is None and row["tokens"] is None
    assert (row["exact_match_difference"], row["mcnemar_p"], row["f1_p"], row["kl_mean"]) == (0, 1, 1, 0)


def test_perplexity_weighs_every_token_alike(tmp_path: Path) -> None:
    store = Store(tmp_path, create=True)
    base = logged(store, "net", columns={"loss": [1.0, 2.0, 3.0, 4.0], "tokens": [4, 3, 2, 1]})
    model = logged(store, "less", parent="net", columns={"loss": [1.5, 2.5, 3.5, 4.5], "tokens": [4, 3, 2, 1]})

    first, second = asked(store, [base, model], base)

    assert (first["tokens"], first["perplexity"]) == (10, pytest.approx(math.exp(2.0)))
    assert first["perplexity_low"] < first["perplexity"] < first["perplexity_high"]
    # Every text is worse by the same: pairs leave no doubt.
    ends = [second[f"perplexity_ratio{end}"] for end in ("", "_low", "_high")]
    assert ends == pytest.approx([math.exp(0.5)] * 3)
    assert second["exact_match"] is None and second["f1_p"] is None


def test_losses_of_different_tokenisers_are_not_set_beside_each_other(tmp_path: Path) -> None:
    store = Store(tmp_path, create=True)
    base = logged(store, "net", columns={"loss": [1.0] * 4, "tokens": [4, 3, 2, 1]})
    model = logged(store, "other", columns={"loss": [1.0] * 4, "tokens": [4, 3, 2, 2]})

    (row,) = asked(store, [model], base)

    assert row["perplexity"] == pytest.approx(math.e) and row["perplexity_ratio"] is None


def test_divergences_are_means_over_tokens(tmp_path: Path) -> None:
    store = Store(tmp_path, create=True)
    scored = {"loss": [1.0] * 4, "tokens": [1, 1, 1, 7]}
    base = logged(store, "net", columns=scored)
    told = {"kl_from_base": [0.0, 0.1, 0.2, 0.3], "same_top_from_base": [1.0, 1.0, 1.0, 0.5]}
    model = logged(store, "less", parent="net", columns=scored | told)
    other = logged(store, "other", columns=scored)

    first, second = asked(store, [model, other], base)

    assert first["kl_mean"] == pytest.approx(0.24)
    assert first["kl_p90"] == pytest.approx(0.27) and first["same_top"] == pytest.approx(0.65)
    assert second["kl_mean"] is None and second["same_top"] is None


def test_few_pairs_give_the_p_value_of_all_signs(tmp_path: Path) -> None:
    store = Store(tmp_path, create=True)
    base = logged(store, "net", ["cat", "1999", "dogs", "blue"])
    model = logged(store, "less", ["no", "no", "no", "no"], parent="net")

    (row,) = asked(store, [model], base)

    # 2 of 2^4 signs.
    assert row["f1_p"] == pytest.approx(2 / 16, abs=0.02)
    assert (row["lost"], row["gained"], row["mcnemar_p"]) == (4, 0, 2 / 16)


def classifier(store: Store) -> str:
    return log_model(store, "classes", task="classes", predictions={"label": [0, 1], "prediction": [0, 1]})


def test_classifiers_are_refused(tmp_path: Path) -> None:
    store = Store(tmp_path, create=True)
    model = classifier(store)

    with pytest.raises(NotComparableError, match="predicts classes and generates no text: ask `behaviours`"):
        asked(store, [model], model)


def test_models_without_answers_or_unknown_ones_are_refused(tmp_path: Path) -> None:
    store = Store(tmp_path, create=True)
    base, bare = logged(store, "net", TEXTS), log_model(store, "bare", task="questions", metrics={"f1": 0.5})

    with pytest.raises(NotComparableError, match="no answers of"):
        asked(store, [bare], base)
    with pytest.raises(ModelNotFoundError):
        asked(store, ["nobody"], base)


CLASSES: dict[str, Callable[[Views, str, str], object]] = {
    "behaviours": lambda views, model, base: compare.behaviours(views, [model], base),
    "behaviours_by_class": lambda views, model, base: compare.behaviours_by_class(views, [model], base),
    "prediction_changes": lambda views, model, base: compare.prediction_changes(views, model, base),
    "calibration": lambda views, model, base: compare.calibration(views, [model]),
    "reliability": lambda views, model, base: compare.reliability(views, [model]),
    "confusion_matrices": lambda views, model, base: compare.confusion_matrices(views, [model]),
    "transition_matrix": lambda views, model, base: compare.transition_matrix(views, model, base),
    "exemplars": lambda views, model, base: compare.exemplars(views, [model], [base]),
    "instances": lambda views, model, base: compare.instances(views, [model], base),
    "measures": lambda views, model, base: compare.measures(views, [model], base),
    "slice_behaviours": lambda views, model, base: compare.slice_behaviours(views, [model], base),
    "worst_slices": lambda views, model, base: compare.worst_slices(views, model, base),
    "accuracy_tests": lambda views, model, base: compare.accuracy_tests(views, [model], base),
    "same_accuracy": lambda views, model, base: compare.same_accuracy(views, [model, base]),
    "lost_overlap": lambda views, model, base: compare.lost_overlap(views, [model], base),
    "flip_matrix": lambda views, model, base: compare.flip_matrix(views, [model, base]),
    "outcomes": lambda views, model, base: compare.outcomes(views, [model], base),
    "frequent_predictions": lambda views, model, base: compare.frequent_predictions(views, model, base),
}


@pytest.mark.parametrize("question", CLASSES)
def test_questions_about_classes_name_the_question_to_ask(tmp_path: Path, question: str) -> None:
    store = Store(tmp_path, create=True)
    base, model = logged(store, "net", TEXTS), logged(store, "less", ["x"] * 4, parent="net")

    with pytest.raises(NotComparableError, match=re.escape("generates text and predicts no classes: ask `generation`")):
        CLASSES[question](open_views(store.root), model, base)


def test_lists_lint_insights_and_views_take_generated_text(tmp_path: Path) -> None:
    store = Store(tmp_path, create=True)
    base, model = logged(store, "net", TEXTS), logged(store, "less", ["x"] * 4, parent="net", operation="pruning")
    classifier(store)
    views = open_views(store.root)

    listed = {row["model_id"]: row for row in compare.models(views).to_pylist()}
    assert listed[base]["exact_match"] == 0.5 and listed[model]["exact_match"] == 0
    definitions = {row["metric"]: row for row in compare.metric_definitions(views).to_pylist()}
    told = {name: (definitions[name]["direction"], definitions[name]["format"]) for name in ("exact_match", "f1")}
    assert told == {"exact_match": ("higher", "percent"), "f1": ("higher", "percent")}
    assert {row["severity"] for row in compare.lint(views).to_pylist()} <= {"warning"}
    assert compare.show(views, model)
    compare.insights(views, [base, model])
    (row,) = views.sql(
        "SELECT n, correct, lost FROM behaviours WHERE base_id = ? AND model_id = ?", [base, model]
    ).to_pylist()
    assert row == {"n": 4, "correct": 0, "lost": 2}
