"""Import predictions of any models: a file each, in any of the kinds that `columns` reads.

A row is an instance. Columns are found by their usual names (`ROLES`), class scores also as one column a class: `p0`,
`p1`, ... or `prob_<class>`, `logit_<class>`.

Beside classes a column `text` is what the instance is shown as; without them, or beside references, it is what the
model generated (`generated`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from cc_ray.imports.answers import Answers, Flags, Floats, Instances, Integers, members_of, odd, probable
from cc_ray.imports.columns import Columns, read_columns
from cc_ray.imports.generated import (
    DIRECTIONS,
    NUMBERS,
    GeneratedAnswers,
    GivenTexts,
    Prompts,
    Texts,
    generated_answers,
    generates,
    given_texts,
    odd_texts,
)
from cc_ray.imports.models import Brought, Finding, MadeElsewhere, TaskElsewhere, bring, stored_task
from cc_ray.imports.reading import UNKNOWN_OPERATION, ResultFileError
from cc_ray.recipe import Step, identity
from cc_ray.store import Store

ROLES: Final[Mapping[str, tuple[str, ...]]] = {
    "instance": ("instance", "instances", "id", "index"),
    "label": ("label", "labels", "y_true", "target", "true"),
    "prediction": ("prediction", "predictions", "y_pred", "pred", "predicted"),
    "probabilities": ("probabilities", "probs", "y_prob"),
    "logits": ("logits",),
    "text": ("text", "generated_text"),
    "references": ("references", "reference"),
    "prompt": ("prompt", "question"),
    "tokens": ("tokens",),
    "token_losses": ("token_losses",),
    "token_texts": ("token_texts",),
    **{name: (name,) for name in NUMBERS},
}
"""What a column may be, with the names it is found by."""
T = TypeVar("T")

_BY_CLASS: Final = re.compile(r"^(?:p(?=\d+$)|(prob|probability|logit)_)(.+)$")


@dataclass(frozen=True)
class Reading:
    """How files are read; the defaults suit files whose columns have the usual names."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Names of columns by role, where they are unusual."""
    slices: tuple[str, ...] = ()
    """Columns whose values make slices of the instances."""
    class_names: tuple[str, ...] = ()
    """What a label index means; position is the label."""
    logits: bool = False
    """Class scores are logits, not probabilities."""


def reading(*, columns: Sequence[str], slices: Sequence[str], classes: str, logits: bool) -> Reading:
    """How files are read, as a person writes it: `ROLE=NAME` for columns, classes by commas.

    Raises:
        ResultFileError: If a column's role is unknown.
    """
    pairs = [text.partition("=") for text in columns]
    for role, _, name in pairs:
        if role not in ROLES or not name:
            raise ResultFileError(f"'{role}={name}' is no ROLE=NAME with a role among {', '.join(ROLES)}.")
    names = tuple(name.strip() for name in classes.split(",")) if classes else ()
    return Reading({role: name for role, _, name in pairs}, tuple(slices), names, logits)


@dataclass(frozen=True)
class Given:
    """What one source says of instances and answers; rows as they come, labels not yet numbers."""

    name: str
    instances: Integers | None
    labels: Any
    predictions: Any
    scores: Floats | None
    logits: bool
    score_classes: tuple[str, ...]
    """Names of the classes of the scores' columns, where they have names."""
    slices: Mapping[str, Sequence[str]]
    texts: Sequence[str]
    count: int


def import_predictions(
    store: Store,
    files: Sequence[Path | str],
    *,
    model: str = "",
    parent: str | None = None,
    operation: str = "",
    parameters: Mapping[str, Any] | None = None,
    task: str = "",
    labels: Path | str | None = None,
    reading: Reading | None = None,
    seed: int = 0,
) -> Brought:
    """Bring the predictions of models into a store, all or none; what is there already stays as it is.

    Args:
        store: Takes the rows.
        files: A file of predictions per model, all of the same instances.
        model: Name of the model, for one file; the file's name if left out.
        parent: Name or identity of the model that they were all made from.
        operation: How they were made from it.
        parameters: The operation's parameters.
        task: Name of the task; by default that of the file of labels.
        labels: File of the true labels, where the files of predictions have none.
        reading: How the files are read.
        seed: Seed of the models.

    Raises:
        ResultFileError: If anything does not fit; the store is then as it was.
        ModelNotFoundError: If the parent is nowhere to be found.
    """
    reading = reading or Reading()
    if model and len(files) != 1:
        raise ResultFileError(f"a model's name is for one file, and {len(files)} are given: leave the name out.")
    if operation and parent is None:
        raise ResultFileError(f"operation '{operation}' needs a parent: name the model that it was applied to.")
    named = task or (_task_of(Path(labels)) if labels else "predictions")
    given = [told_apart(_read(Path(file), reading), Path(file).name, reading) for file in files]
    truth = told_apart(_as_labels(_read(Path(labels), reading)), Path(labels).name, reading) if labels else None
    made, task_made = answered(given, truth, named, store, reading.class_names)
    step = None if parent is None else Step(operation or UNKNOWN_OPERATION, dict(parameters or {}))
    models = [
        modelled(model or _name_of(Path(file)), answers, task_made, {"file": Path(file).name}, parent, step, seed)
        for file, answers in zip(files, made, strict=True)
    ]
    guessed = [] if task else [f"the task is called '{named}' (name it with --task)."]
    if truth is None and all(isinstance(one, Given) and one.labels is None for one in given):
        guessed.append("the labels are those of the task in the store.")
    source = ", ".join(one.name for one in given)
    return bring(store, task_made, models, source=source, directions=DIRECTIONS, guessed=guessed)


def modelled(
    name: str,
    answers: Answers | GeneratedAnswers,
    task: TaskElsewhere,
    origin: Mapping[str, Any],
    parent: str | None,
    step: Step | None,
    seed: int,
) -> MadeElsewhere:
    """A model of which the predictions are known."""
    return MadeElsewhere(
        name,
        parent,
        step,
        seed=seed,
        answers=answers,
        metrics=tuple(answers.metrics(_members(task))),
        origin=origin,
        findings=tuple(Finding(*each) for each in _odd(answers)),
    )


def answered(
    given: Sequence[Given | GivenTexts],
    truth: Given | GivenTexts | None,
    task: str,
    store: Store,
    class_names: Sequence[str] = (),
) -> tuple[Sequence[Answers | GeneratedAnswers], TaskElsewhere]:
    """Check answers of models against each other and against the instances that the store has of their task.

    Args:
        given: Each model's answers.
        truth: The labels, where they lie apart.
        task: Name of the task.
        store: May know the task and its instances.
        class_names: What a label index means; found in the answers or the store if left out.

    Raises:
        ResultFileError: If labels or instances are missing, out of range, doubled or contradict each other.
    """
    texts = [one for one in given if isinstance(one, GivenTexts)]
    classes = [one for one in given if isinstance(one, Given)]
    if texts and classes:
        raise ResultFileError(
            f"{texts[0].name} holds generated text and {classes[0].name} classes: a task is solved by one or the "
            "other. Import them as two tasks (--task)."
        )
    if texts:
        return _generated(texts, truth, task, store)
    if isinstance(truth, GivenTexts):
        raise ResultFileError(f"{truth.name} holds references, and {classes[0].name} classes: labels are expected.")
    return _classified(classes, truth, task, store, class_names)


def _classified(
    given: Sequence[Given], truth: Given | None, task: str, store: Store, class_names: Sequence[str]
) -> tuple[list[Answers], TaskElsewhere]:
    known, names = _known(store, task)
    names = _class_names(class_names or names, given, truth)
    orders = [_order(one) for one in given]
    instances = _instances(truth, given, orders, names) or known
    if instances is None:
        raise ResultFileError(
            "the true labels are missing: give a column of labels, or a file of them (--labels), or the task of the "
            "store that they belong to (--task)."
        )
    if known is not None:
        _refuse_other_instances(task, instances, known)
    width = _width(given, names, instances)
    answers = [_answers(one, order, instances, names, width) for one, order in zip(given, orders, strict=True)]
    return answers, TaskElsewhere(task, names, known or instances, known is not None)


def _generated(
    given: Sequence[GivenTexts], truth: Given | GivenTexts | None, task: str, store: Store
) -> tuple[list[GeneratedAnswers], TaskElsewhere]:
    if isinstance(truth, Given):
        raise ResultFileError(
            f"{truth.name} holds labels, and {given[0].name} generated text: references are expected."
        )
    known = _known_prompts(store, task)
    found = _prompts(truth, given)
    for one in given:
        _refuse_other_ids(one.name, _ids(one, _order(one)), found.instances, "the first source")
    if known is not None:
        _refuse_other_ids("the source", found.instances, known.instances, f"task '{task}' in the store")
    prompts = known or found
    for source in (*given, *((truth,) if truth else ())):
        _refuse_other_references(source, prompts, task)
    answers = [generated_answers(one, _order(one), prompts.instances, prompts.references) for one in given]
    return answers, TaskElsewhere(task, (), prompts, known is not None)


def _prompts(truth: GivenTexts | None, given: Sequence[GivenTexts]) -> Prompts:
    """The instances as the sources have them."""
    sources = [truth, *given] if truth else list(given)
    instances = _ids(sources[0], _order(sources[0]))
    references = next((_sorted(one.references, one) for one in sources if one.references is not None), ())
    payloads = next((_sorted(one.prompts, one) for one in sources if one.prompts is not None), ())
    tokens = next((_sorted(one.token_texts, one) for one in sources if one.token_texts is not None), ())
    sliced = next((one for one in sources if one.slices), None)
    members = (
        ()
        if sliced is None
        else tuple(tuple(f"{name}:{values[row]}" for name, values in sliced.slices.items()) for row in _order(sliced))
    )
    return Prompts(instances, references, members, payloads, tokens)


def _sorted(values: Sequence[T], one: GivenTexts) -> tuple[T, ...]:
    return tuple(values[row] for row in _order(one))


def _refuse_other_references(one: GivenTexts, prompts: Prompts, task: str) -> None:
    own: tuple[Texts, ...] = () if one.references is None else _sorted(one.references, one)
    if own and own != prompts.references:
        pairs = zip(own, prompts.references or ((),) * len(own), prompts.instances, strict=True)
        mine, others, instance = next(each for each in pairs if each[0] != each[1])
        raise ResultFileError(
            f"{one.name}: instance {instance} has the references {list(mine)}, and {list(others)} elsewhere: a task "
            f"has one set of accepted answers. Name another task (--task) than '{task}'."
        )


def _known_prompts(store: Store, task: str) -> Prompts | None:
    """Instances that the store has of a task of generated text."""
    rows = _stored_instances(store, task, ["instance", "label", "references", "slices"])
    if not rows:
        return None
    if any(row["label"] is not None for row in rows):
        raise ResultFileError(
            f"the instances of task '{task}' in the store have classes: generated text does not answer them. Name "
            "another task (--task)."
        )
    references = tuple(tuple(row["references"] or ()) for row in rows)
    members = tuple(tuple(row["slices"]) for row in rows)
    instances = np.array([row["instance"] for row in rows], np.int64)
    return Prompts(instances, references if any(references) else (), members)


def _odd(answers: Answers | GeneratedAnswers) -> Iterable[tuple[str, str, str]]:
    return odd(answers) if isinstance(answers, Answers) else odd_texts(answers)


def _read(file: Path, reading: Reading) -> Columns:
    # A model may well answer nothing.
    return read_columns(file, may_be_empty=(reading.columns.get("text", ""), *ROLES["text"]))


def _task_of(labels: Path) -> str:
    return re.sub(r"[_-]?labels?$", "", labels.stem) or labels.stem


def _name_of(file: Path) -> str:
    return re.sub(r"[_-]predictions?$", "", file.stem) or file.stem


def _members(task: TaskElsewhere) -> dict[str, Flags]:
    assert task.instances is not None
    return members_of(task.instances.slices(task.class_names))


def _as_labels(columns: Columns) -> Columns:
    """A file of labels may have a single column of any name."""
    names = set(columns) - set(ROLES["instance"])
    if len(names) == 1 and not names & set(ROLES["label"]):
        return {"label" if name in names else name: values for name, values in columns.items()}
    return columns


def told_apart(columns: Columns, name: str, reading: Reading) -> Given | GivenTexts:
    """Tell the columns of one source apart by their names.

    Raises:
        ResultFileError: If a column is missing, or holds what it should not.
    """
    found = {role: _found(columns, role, name, reading) for role in ROLES}
    scores, classes, logits = _scores(columns, found, name)
    instances = None if found["instance"] is None else _integers(found["instance"], f"{name}: instance")
    classes_there = found["label"] is not None or found["prediction"] is not None or scores is not None
    generated = generates(found, classes_there)
    if not classes_there and not generated:
        raise ResultFileError(
            f"{name} has no column of labels, predictions, probabilities or generated text among "
            f"{', '.join(list(columns)[:8])}: name them (--column prediction=NAME)."
        )
    for column in reading.slices:
        if column not in columns:
            raise ResultFileError(f"{name} has no column '{column}' for slices; there are {', '.join(columns)}.")
    slices = {column: [str(value) for value in columns[column]] for column in reading.slices}
    count = len(next(iter(columns.values())))
    if generated:
        return given_texts(found, name, instances=instances, slices=slices, count=count)
    texts = [str(value) for value in found["text"]] if found["text"] is not None else []
    return Given(
        name,
        instances,
        found["label"],
        found["prediction"],
        scores,
        logits or reading.logits,
        classes,
        slices,
        texts,
        count,
    )


def _found(columns: Columns, role: str, name: str, reading: Reading) -> Any:
    if role in reading.columns:
        if reading.columns[role] not in columns:
            there = ", ".join(columns)
            raise ResultFileError(f"{name} has no column '{reading.columns[role]}' for {role}; there are {there}.")
        return columns[reading.columns[role]]
    return next((columns[usual] for usual in ROLES[role] if usual in columns), None)


def _scores(columns: Columns, found: Mapping[str, Any], name: str) -> tuple[Floats | None, tuple[str, ...], bool]:
    """Class scores, names of their classes, and whether they are logits."""
    for role in ("probabilities", "logits"):
        if found[role] is not None:
            return _matrix(found[role], f"{name}: {role}"), (), role == "logits"
    by_class = {column: match for column in columns if (match := _BY_CLASS.match(column))}
    kinds = {match[1] for match in by_class.values()}
    if not by_class:
        return None, (), False
    if len(kinds) > 1:
        raise ResultFileError(f"{name}: class scores stand in columns of several kinds: {', '.join(by_class)}.")
    names = [match[2] for match in by_class.values()]
    numbered = all(each.isdigit() for each in names)
    if numbered:
        by_class = dict(sorted(by_class.items(), key=lambda item: int(item[1][2])))
        if sorted(map(int, names)) != list(range(len(names))):
            raise ResultFileError(f"{name}: columns of classes must be numbered 0 to {len(names) - 1} without gaps.")
    scores = np.stack([_floats(columns[column], f"{name}: {column}") for column in by_class], axis=1)
    return scores, () if numbered else tuple(names), kinds == {"logit"}


def _matrix(values: Any, what: str) -> Floats:
    if isinstance(values, list):
        try:
            values = np.asarray([json.loads(text) for text in values])
        except (ValueError, RecursionError) as error:
            raise ResultFileError(
                f"{what}: lists of numbers of one length are expected, such as [0.1, 0.9]."
            ) from error
    if values.ndim != 2:
        raise ResultFileError(f"{what}: a row of numbers per instance is expected.")
    return _floats(values, what)


def _floats(values: Any, what: str) -> Floats:
    try:
        return np.asarray(values).astype(np.float64)
    except (ValueError, TypeError) as error:
        raise ResultFileError(f"{what}: numbers are expected ({error}).") from error


def _integers(values: Any, what: str) -> Integers:
    """Whole numbers, also those written as texts or floats."""
    numbers = np.asarray(values)
    if numbers.dtype.kind in "iub":
        return numbers.astype(np.int64)
    floats = _floats(values, what)
    bad = np.flatnonzero(~np.isfinite(floats) | (floats != np.floor(floats)) | (np.abs(floats) > 2**53))
    if bad.size:
        raise ResultFileError(f"{what}: {floats[bad[0]]} in row {bad[0]}, counted from 0, is not a whole number.")
    return floats.astype(np.int64)


def _known(store: Store, task: str) -> tuple[Instances | None, tuple[str, ...]]:
    """Instances and class names that the store has of a task."""
    row = stored_task(store, task)
    if row is None:
        return None, ()
    rows = _stored_instances(store, task, ["instance", "label", "slices"])
    names = tuple(row["class_names"])
    if not rows:
        return None, names
    if any(each["label"] is None for each in rows):
        raise ResultFileError(
            f"task '{task}' in the store is solved by generating text: classes do not answer it. Name another task "
            "(--task)."
        )
    own = [{f"class:{name}" for name in names} | {f"class:{each['label']}"} for each in rows]
    members = tuple(
        tuple(name for name in each["slices"] if name not in of_class) for each, of_class in zip(rows, own, strict=True)
    )
    ids, labels = (np.array([each[name] for each in rows], np.int64) for name in ("instance", "label"))
    return Instances(ids, labels, members), names


def _stored_instances(store: Store, task: str, columns: list[str]) -> list[dict[str, Any]]:
    """Columns of a task's instances in the store, in order of identity."""
    row = stored_task(store, task)
    if row is None:
        return []
    keys = (row["task_id"], identity("instances", row["task_id"]))
    tables = [store.read("instances", keys={"task": key}) for key in keys]
    found = [each for table in tables for each in table.select(columns).to_pylist()]
    return sorted(found, key=lambda each: int(each["instance"]))


def _class_names(names: Sequence[str], given: Sequence[Given], truth: Given | None) -> tuple[str, ...]:
    if names:
        return tuple(names)
    scored = next((one.score_classes for one in given if one.score_classes), ())
    if scored:
        return scored
    texts: set[str] = set()
    for one in (*given, *((truth,) if truth else ())):
        for values in (one.labels, one.predictions):
            texts.update(values if isinstance(values, list) else ())
    # Where some are numbers, the others are faults and no names.
    return () if any(_is_number(text) for text in texts) else tuple(sorted(texts))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _order(one: Given | GivenTexts) -> NDArray[np.int64]:
    """Rows in order of the instances' identities."""
    if one.instances is None:
        return np.arange(one.count)
    ids, counts = np.unique(one.instances, return_counts=True)
    if (counts > 1).any():
        doubled = ids[counts > 1]
        raise ResultFileError(f"{one.name}: instance {doubled[0]} stands there {counts.max()} times; once is expected.")
    return np.argsort(one.instances)


def _ids(one: Given | GivenTexts, order: NDArray[np.int64]) -> Integers:
    return order if one.instances is None else one.instances[order]


def _instances(
    truth: Given | None, given: Sequence[Given], orders: Sequence[NDArray[np.int64]], names: Sequence[str]
) -> Instances | None:
    """The instances as the sources have them; None if no source has labels."""
    source = truth or next((one for one in given if one.labels is not None), None)
    if source is None:
        return None
    if source.labels is None:
        raise ResultFileError(f"{source.name} has no column of labels.")
    order = _order(source)
    ids = _ids(source, order)
    labels = _classes(source.labels, f"{source.name}: label", names)[order]
    for one, own in zip(given, orders, strict=True):
        _refuse_other_ids(one.name, _ids(one, own), ids, source.name)
    shown = next((one for one in (source, *given) if one.slices or one.texts), source)
    places = _order(shown)
    members = tuple(tuple(f"{name}:{values[row]}" for name, values in shown.slices.items()) for row in places)
    texts = tuple(shown.texts[row] for row in places) if shown.texts else ()
    return Instances(ids, labels, members if shown.slices else (), texts)


def _refuse_other_ids(name: str, found: Integers, expected: Integers, where: str) -> None:
    if np.array_equal(found, expected):
        return
    missing, unknown = np.setdiff1d(expected, found), np.setdiff1d(found, expected)
    raise ResultFileError(
        f"{name} answers {len(found):,} instances, and {where} has {len(expected):,}: {len(missing):,} are missing"
        f"{_such_as(missing)}, {len(unknown):,} unknown{_such_as(unknown)}. A task has one set of instances: name "
        "another task (--task) for another set."
    )


def _such_as(ids: Integers) -> str:
    return f" (the first is {ids[0]})" if len(ids) else ""


def _refuse_other_instances(task: str, found: Instances, known: Instances) -> None:
    _refuse_other_ids("the source", found.instances, known.instances, f"task '{task}' in the store")
    other = np.flatnonzero(found.labels != known.labels)
    if other.size:
        raise ResultFileError(
            f"{other.size:,} labels differ from those of task '{task}' in the store; the first is instance "
            f"{found.instances[other[0]]}: {found.labels[other[0]]}, and {known.labels[other[0]]} in the store."
        )


def _classes(values: Any, what: str, names: Sequence[str]) -> Integers:
    """Indices of classes that stand there as names or numbers."""
    if isinstance(values, list) and names:
        places = {name: place for place, name in enumerate(names)}
        unknown = next((row for row, text in enumerate(values) if text not in places), None)
        if unknown is None:
            return np.array([places[text] for text in values], np.int64)
        if not _is_number(values[unknown]):
            raise ResultFileError(
                f"{what}: '{values[unknown]}' in row {unknown}, counted from 0, is no class; the classes are "
                f"{', '.join(names[:10])}."
            )
    classes = _integers(values, what)
    _refuse_range(classes, what, len(names) or None)
    return classes


def _refuse_range(classes: Integers, what: str, count: int | None) -> None:
    # The store's column is of 32 bits.
    most = (count or 2**31) - 1
    bad = np.flatnonzero((classes < 0) | (classes > most))
    if bad.size:
        raise ResultFileError(f"{what}: {classes[bad[0]]} in row {bad[0]}, counted from 0, is no class of 0 to {most}.")


def _width(given: Sequence[Given], names: Sequence[str], instances: Instances) -> int | None:
    """Number of classes; None where only predicted classes are there, and no names."""
    widths = {one.scores.shape[1]: one.name for one in given if one.scores is not None}
    if len(widths) > 1:
        raise ResultFileError(f"the numbers of classes differ: {', '.join(f'{n} in {w}' for w, n in widths.items())}.")
    width = next(iter(widths), None)
    if width is not None and names and len(names) != width:
        raise ResultFileError(f"{len(names)} classes have names and {width} have scores.")
    if width is not None:
        _refuse_range(instances.labels, "label", width)
    return width or len(names) or None


def _answers(
    one: Given, order: NDArray[np.int64], instances: Instances, names: Sequence[str], width: int | None
) -> Answers:
    _refuse_other_ids(one.name, _ids(one, order), instances.instances, "the task")
    if one.predictions is None and one.scores is None:
        raise ResultFileError(f"{one.name} has labels, and neither predictions nor probabilities.")
    if one.labels is not None:
        own = _classes(one.labels, f"{one.name}: label", names)[order]
        other = np.flatnonzero(own != instances.labels)
        if other.size:
            first = other[0]
            raise ResultFileError(
                f"{one.name}: instance {instances.instances[first]} has label {own[first]}, and "
                f"{instances.labels[first]} elsewhere ({other.size:,} labels differ)."
            )
    scores = None if one.scores is None else probable(one.scores, one.name, logits=one.logits)[order]
    if one.predictions is None:
        assert scores is not None
        classes = scores.argmax(axis=1).astype(np.int64)
    else:
        classes = _classes(one.predictions, f"{one.name}: prediction", names)[order]
        _refuse_range(classes, f"{one.name}: prediction", width)
    return Answers(instances.instances, instances.labels, classes, scores)
