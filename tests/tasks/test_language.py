"""The task families of language: what they read, how models of several kinds answer, and every measure in miniature."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cc_ray.compress import validated_recipe
from cc_ray.errors import InvalidRecipeError
from cc_ray.evaluate.judge import Judge
from cc_ray.evaluate.predictions import predict
from cc_ray.evaluate.recovery import Mixer, Mixture, differing
from cc_ray.evaluate.sensitivity import Bench, Probe
from cc_ray.evaluate.stored_model import StoredModel
from cc_ray.recipe import Recipe, Step
from cc_ray.store import Store
from cc_ray.tasks import Data, Task, task_from_json, tasks
from cc_ray.tasks.causal_lm import CausalLM
from cc_ray.tasks.language import Subwords
from cc_ray.tasks.language.family import IGNORED
from cc_ray.tasks.question_answering import QuestionAnswering
from cc_ray.tasks.text_classification import TextClassification
from cc_ray.trial import load_model, run_trial

FAMILIES = {"text_classification": "accuracy", "question_answering": "exact_match", "causal_lm": "perplexity"}
"""The metric that is shown first, by family."""


class Table(nn.Module):
    """A plain module: what comes of a token is a row of a table."""

    def __init__(self, vocabulary: int, outputs: int) -> None:
        super().__init__()
        self.rows = nn.Embedding(vocabulary, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.rows(tokens)  # type: ignore[no-any-return]


class Bag(Table):
    """A plain classifier: the mean over all tokens."""

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens).mean(dim=1)


def changed(kind: type[Task], folder: Path, **fields: Any) -> Any:
    return kind.model_validate(kind.example(folder).model_dump() | fields)


def plain(name: str, *arguments: int) -> dict[str, Any]:
    given = dict(zip(("vocabulary", "outputs"), arguments, strict=True))
    training = {"epochs": 1, "learning_rate": 0.01}
    return {"plain": {"factory": f"tests.tasks.test_language:{name}", "arguments": given, "training": training}}


@pytest.mark.parametrize("name", FAMILIES)
def test_every_measure_is_taken_of_a_recipe(name: str, tmp_path: Path) -> None:
    task, store = tasks[name].example(tmp_path), Store(tmp_path / "store", create=True)
    steps = (
        Step("magnitude_pruning", {"sparsity": 0.3}),
        Step("fine_tune", {"epochs": 1, "batch_size": 8}),
        Step("uniform_quantization", {"bits": 4}),
    )

    model_id = run_trial(store, task, validated_recipe(Recipe("small", steps), task.bases)).model_id

    found = store.read("metrics").to_pylist()
    values = {row["metric"]: row["value"] for row in found if row["model_id"] == model_id and row["slice"] == "all"}
    assert {FAMILIES[name], "multiply_adds", "latency_p50_ms", "throughput_per_s", "size_bytes"} <= set(values)
    assert all(math.isfinite(value) for value in values.values())
    assert any(row["slice"].startswith("tokens:") for row in found)
    assert store.read("activations", keys={"step": model_id}).num_rows
    assert store.read("predictions", keys={"step": model_id}).num_rows == len(task.data("evaluation"))
    one, other = load_model(store, model_id), StoredModel.find(store, model_id)
    answers = Judge(other).answers(one)
    assert Judge(other).values(one, answers)[FAMILIES[name]].value == values[FAMILIES[name]]


@pytest.mark.parametrize("name", FAMILIES)
def test_layers_are_taken_apart_and_put_back(name: str, tmp_path: Path) -> None:
    task, store = tasks[name].example(tmp_path), Store(tmp_path / "store", create=True)
    recipe = validated_recipe(Recipe("small", (Step("uniform_quantization", {"bits": 2}),)), task.bases)
    steps = run_trial(store, task, recipe).steps
    base, model = (StoredModel.find(store, step.model_id) for step in steps)
    layer = next(path for path, module in base.load().named_modules() if isinstance(module, nn.Linear))
    step = validated_recipe(
        Recipe("small", (Step("magnitude_pruning", {"sparsity": 0.5, "include": [layer]}),)), task.bases
    ).steps[0]

    probed = Bench(base).measure(Probe(base.model_id, layer, "sparsity", step))
    modules = tuple(path for unit in differing(model.load(), base.load()).able for path in unit.modules)
    mended = Mixer(model, base).measure(Mixture(model.model_id, base.model_id, modules))

    assert {row["metric"] for row in probed} >= {FAMILIES[name]}
    assert all(row["value"] is not None for row in probed)
    own = {row["metric"]: row["model_value"] for row in probed}
    assert {row["metric"]: row["value"] for row in mended} == pytest.approx(own)


def test_texts_with_line_breaks_and_columns_make_slices(tmp_path: Path) -> None:
    (tmp_path / "texts.csv").write_text(
        'text,kind,source\n"one\nline",a,web\n' + "".join(f"text {n},{'ab'[n % 2]},mail\n" for n in range(40))
    )
    sources = {"train": str(tmp_path / "texts.csv"), "evaluation_share": 0.4}

    task = changed(TextClassification, tmp_path, sources=sources, label="kind", slices=["source"])
    rows = task.instances().to_pylist()

    assert task.class_names == ("a", "b")
    assert all({f"class:{row['label_name']}", "source:mail"} & set(row["slices"]) for row in rows)
    assert sum(len(task.data(split)) for split in ("train", "calibration", "evaluation")) == 41
    assert task.held.columns["tokens"][0].as_py() > 2


def test_a_task_is_the_same_wherever_its_files_lie(tmp_path: Path) -> None:
    folders = [tmp_path / "here", tmp_path / "there"]
    for folder in folders:
        folder.mkdir()

    one, other = (TextClassification.example(folder) for folder in folders)

    assert one.task_id == other.task_id
    assert task_from_json(one.to_json()) == one
    assert torch.equal(one.data("train").inputs, other.data("train").inputs)


def test_texts_that_are_equal_when_cut_off_are_in_one_split(tmp_path: Path) -> None:
    task = changed(TextClassification, tmp_path, length=6)

    held = [{row.numpy().tobytes() for row in task.data(split).inputs} for split in ("train", "evaluation")]

    assert not held[0] & held[1]


def test_a_plain_module_reads_tokens_alone(tmp_path: Path) -> None:
    task = changed(TextClassification, tmp_path, models=plain("Bag", 320, 3))

    model = task.train("plain", 0)

    assert isinstance(model, Bag)
    assert predict(task, model, task.data("evaluation")).scores.shape == (len(task.data("evaluation")), 3)


def test_two_texts_are_read_as_first_and_second(tmp_path: Path) -> None:
    task = changed(TextClassification, tmp_path, pair="text")
    seen: list[Tensor] = []
    model = task.build("small")
    model.bert.embeddings.token_type_embeddings.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))

    inputs = task.data("train").inputs[:2]
    task.logits(model, inputs)

    ends = (inputs[0] == task.held.pieces.end).nonzero().flatten().tolist()
    assert seen[0][0].nonzero().flatten().tolist() == list(range(ends[0] + 1, ends[1] + 1))


def test_a_learnt_tokenizer_writes_every_text_and_is_the_same_each_time() -> None:
    texts = ["the cat sat on the mat", "Ünïcödé of the mat"] * 3

    one, other = (Subwords(vocabulary=300).learnt(iter(texts)) for _ in range(2))

    (encoding,) = one.encoded(["the Ünïcödé ♞ mat"], special=False)
    assert one.text(encoding.ids) == "the Ünïcödé ♞ mat"
    assert one.tokenizer.to_str() == other.tokenizer.to_str()
    assert "".join(one.texts(one.encoded(["the mat sat"], special=False)[0].ids)) == "the mat sat"


def test_a_document_becomes_windows_that_predict_every_token_once(tmp_path: Path) -> None:
    task = changed(CausalLM, tmp_path, length=8, ends=True)
    held = task.held

    tokens = [row[row != IGNORED].tolist() for row in held.labels]
    said = held.pieces.encoded([(tmp_path / "stories.txt").read_text().split("\n---\n")[0]], special=False)[0].ids

    assert held.inputs[0][0] == held.pieces.begin
    assert [token for row in tokens[:9] for token in row][: len(said) + 1] == [*said, held.pieces.end]
    assert held.inputs[1][0] == tokens[0][-1], "what was predicted last is looked at next"
    assert changed(CausalLM, tmp_path, length=8, windows="first").held.inputs.shape[0] == 40


def test_a_language_model_of_a_table_of_next_tokens(tmp_path: Path) -> None:
    task = changed(CausalLM, tmp_path, models=plain("Table", 320, 320))
    model = task.build("plain")

    answers = predict(task, model, task.data("evaluation"))
    data = task.data("evaluation")

    losses = nn.functional.cross_entropy(
        model(data.inputs).detach().flatten(0, 1).double(), data.labels.flatten(), ignore_index=IGNORED
    )
    assert float((answers.losses * answers.tokens).sum() / answers.tokens.sum()) == pytest.approx(float(losses))
    assert task.loss(model, data.inputs, data.labels).item() == pytest.approx(float(losses), rel=1e-5)
    texts = task.instances()["token_texts"].to_pylist()
    assert [len(row) for row in texts] == answers.tokens.tolist()
    written = [text for text in answers.texts if text is not None]
    assert len(written) == task.samples
    first = data.inputs[0, task.prompt - 1]
    expected: list[int] = []
    for _ in range(task.written):
        first = model(first).argmax()
        expected.append(int(first))
    assert answers.texts[0] == task.held.pieces.text(expected)


def test_tied_weights_stay_tied(tmp_path: Path) -> None:
    task, store = CausalLM.example(tmp_path), Store(tmp_path / "store", create=True)
    include = ["model.embed_tokens.weight"]
    recipe = Recipe("small", (Step("magnitude_pruning", {"sparsity": 0.5, "include": include}),))

    result = run_trial(store, task, validated_recipe(recipe, task.bases))

    for step in result.steps:
        model: Any = load_model(store, step.model_id)
        assert model.lm_head.weight is model.model.embed_tokens.weight
    assert float((model.lm_head.weight == 0).float().mean()) == pytest.approx(0.5, abs=1e-3)
    rows = store.read("predictions", keys={"step": result.model_id}).to_pylist()
    assert all(row["kl_from_base"] > 0 and row["kl_from_parent"] == row["kl_from_base"] for row in rows)


def test_an_answer_is_the_best_part_of_the_text(tmp_path: Path) -> None:
    task = changed(QuestionAnswering, tmp_path, models=plain("Table", 320, 2))
    model, data = task.build("plain"), task.data("evaluation")
    place = int(data.instances[0])
    # Scores that name the labelled places win; a likelier end before the beginning, or in the question, does not.
    logits = torch.zeros(1, 2, data.inputs.shape[1])
    logits[0, 0, data.labels[0, 0]] = logits[0, 1, data.labels[0, 1]] = 5.0
    logits[0, 1, 1] = 50.0

    found = task.texts(model, Data(data.inputs[:1], data.labels[:1], data.instances[:1]), logits)

    assert found == list(task.held.known["references"][place])
    assert task.logits(model, data.inputs).shape == (len(data), 2, data.inputs.shape[1])
    assert math.isfinite(task.loss(model, data.inputs, data.labels).item())


def test_answers_that_are_cut_off_are_not_learnt(tmp_path: Path) -> None:
    task = changed(QuestionAnswering, tmp_path, length=18)

    data = task.data("train")

    assert (data.labels == IGNORED).all()
    assert task.loss(task.build("small"), data.inputs, data.labels).item() == 0


def test_questions_on_one_text_are_in_one_split(tmp_path: Path) -> None:
    task = QuestionAnswering.example(tmp_path)
    held = json.loads((tmp_path / "owl.json").read_text())
    for paragraph in held["data"][0]["paragraphs"]:
        paragraph["qas"].append(paragraph["qas"][0] | {"question": "And what was it that the owl ate?"})
    (tmp_path / "two.json").write_text(json.dumps(held))

    double = changed(QuestionAnswering, tmp_path, sources={"train": str(tmp_path / "two.json")})

    assert len(double.data("evaluation")) == 2 * len(task.data("evaluation"))


def test_an_encoder_decoder_writes_its_answers(tmp_path: Path) -> None:
    task = changed(QuestionAnswering, tmp_path, style="text_to_text", answer_length=6)
    model, data = task.train("small", 0), task.data("evaluation")

    answers = predict(task, model, data)

    assert model.config.model_type == "t5"
    assert answers.tokens.tolist() == (data.labels != IGNORED).sum(1).tolist()
    losses = task.token_losses(task.logits(model, data.inputs), data.labels)
    assert answers.losses == pytest.approx(np.nanmean(losses.detach().numpy(), axis=1), rel=1e-5)
    assert all(isinstance(text, str) for text in answers.texts)


def test_what_is_padding_is_known_of_each_sequence(tmp_path: Path) -> None:
    written = changed(QuestionAnswering, tmp_path, style="text_to_text", answer_length=6)
    stories = CausalLM.example(tmp_path)
    lengths = (stories.data("train").labels != IGNORED).sum(1)

    (known,) = stories.places(stories.data("train").inputs)
    asked, answered = written.places(written.data("train").inputs)

    assert known.sum(1).tolist() == lengths.tolist()
    assert answered.sum(1).tolist() == (written.data("train").labels != IGNORED).sum(1).tolist()
    tokens = written.held.columns["tokens"].to_numpy()[written.data("train").instances]
    assert asked.sum(1).tolist() == tokens.tolist()
    padding, token = stories.held.pieces.padding, 5
    (mixed,) = stories.places(torch.tensor([[padding, token, padding, token, padding]]))
    assert mixed.tolist() == [[True, True, True, True, False]], "texts may hold what pads them"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"text": "words"}, "no column 'words'"),
        ({"models": {}}, "models"),
        ({"tokenizer": "nowhere"}, "nowhere"),
        ({"models": {"small": {"layers": 1, "width": 16, "heads": 3, "training": {"epochs": 1}}}}, "2 x 3 heads"),
    ],
)
def test_what_does_not_fit_is_said(fields: dict[str, Any], said: str, tmp_path: Path) -> None:
    known = TextClassification.example(tmp_path).model_dump(mode="json") | fields

    with pytest.raises(InvalidRecipeError, match=said):
        task_from_json({"task": "text_classification", "parameters": known}).data("train")


def test_an_answer_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('[{"question": "Who?", "context": "Nobody.", "answers": 3}]')

    with pytest.raises(InvalidRecipeError, match="no accepted answer"):
        changed(QuestionAnswering, tmp_path, sources={"train": str(tmp_path / "bad.json")}).data("train")
