"""The form as HTML: a step below the other, each parameter with what it means and what it may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from dashboards import markup
from dashboards.branching.draft import MOST_STEPS, Draft, DraftStep, chosen, options_of, written
from dashboards.branching.mapping import SAID
from dashboards.markup import esc
from dashboards.operating import WHOLE, Operation, Parameter, Place

_TYPES: Final = {
    "number": "number",
    "integer": "whole number",
    "array": "names, by comma",
    "string": "text",
    "object": SAID,
}
NEWLINE: Final = "\n"
_SEEDS: Final = "Empty: each model's own. Others make the recipes anew with each of them, from the base model on."
_NAME: Final = "Of the study. Empty: made of the steps."


def form(draft: Draft, operations: Mapping[str, Operation], problems: Mapping[Place, str]) -> str:
    """HTML of a form; reports `do="branch-..."`."""
    steps = "".join(_step(index, step, operations, problems) for index, step in enumerate(draft.steps))
    return f'<ol class="branch-steps">{steps}</ol>{_add(draft, operations)}{_whole(draft, problems)}'


def _step(index: int, step: DraftStep, operations: Mapping[str, Operation], problems: Mapping[Place, str]) -> str:
    operation = operations[step.operation]
    place = f'data-step="{index}"'
    names = markup.options({name: name for name in operations}, step.operation)
    earlier = f'<button data-do="branch-earlier" {place} data-key="earlier-{index}" title="One step earlier">↑</button>'
    fields = "".join(_field(index, each, step.texts.get(each.name, ""), problems) for each in operation.parameters)
    said = problems.get((index, ""), "")
    return (
        f'<li><div class="branch-head"><b>{index + 1}</b><select data-do="branch-operation" {place} '
        f'data-key="operation-{index}" aria-label="Operation of step {index + 1}">{names}</select>'
        f'<span class="actions">{earlier if index else ""}<button data-do="branch-drop" {place} '
        f'data-key="drop-{index}" title="Leave this step out">Remove</button></span></div>'
        f'<p class="soft">{esc(operation.summary)}</p>{_problem(said)}'
        f'<div class="branch-fields">{fields}</div></li>'
    )


def _field(index: int, parameter: Parameter, text: str, problems: Mapping[Place, str]) -> str:
    said = problems.get((index, parameter.name), "")
    key = f"{index}-{parameter.name}"
    label = f"{parameter.name} of step {index + 1}"
    asked = _pills(index, parameter, text) if options_of(parameter) else _input(index, parameter, text, said, label)
    needed = '<b class="needed" title="has no default">*</b>' if parameter.required else ""
    return (
        f'<div class="branch-field{" wrong" if said else ""}"><span class="name">{esc(parameter.name)}{needed}</span>'
        f'<span class="asked">{asked}<small>{esc(_may_be(parameter))}</small>{_problem(said, f"wrong-{key}")}</span>'
        f'<span class="meaning">{esc(parameter.meaning)}</span></div>'
    )


def _input(index: int, parameter: Parameter, text: str, said: str, label: str) -> str:
    key = f"{index}-{parameter.name}"
    wrong = f' aria-invalid="true" aria-describedby="wrong-{esc(key)}"' if said else ""
    empty = "" if parameter.default in (None, [], {}, "") else written(parameter.default)
    told = (
        f'data-do="branch-set" data-live data-step="{index}" data-name="{esc(parameter.name)}" '
        f'data-key="{esc(key)}" aria-label="{esc(label)}" placeholder="{esc(empty)}"{wrong}'
    )
    if parameter.type == "object":
        # A line break at its very beginning is no part of what a text area holds.
        return f'<textarea rows="{min(8, 2 + text.count(NEWLINE))}" {told}>{NEWLINE}{esc(text)}</textarea>'
    return f'<input type="text" {told} value="{esc(text)}">'


def _pills(index: int, parameter: Parameter, text: str) -> str:
    now = chosen(parameter, text)
    buttons = "".join(
        f'<button data-do="branch-turn" data-step="{index}" data-name="{esc(parameter.name)}" data-value="{esc(each)}" '
        f'data-key="{index}-{esc(parameter.name)}-{esc(each)}" aria-pressed="{str(each in now).lower()}">'
        f"{esc(each)}</button>"
        for each in options_of(parameter)
    )
    return f'<span class="branch-options" role="group" aria-label="{esc(parameter.name)}">{buttons}</span>'


def _may_be(parameter: Parameter) -> str:
    """What the field takes, in words."""
    if options_of(parameter):
        return "one or several"
    kind = ", ".join(filter(None, [_kind(parameter), parameter.allowed]))
    return kind if parameter.type in ("array", "object") else f"{kind}; several by comma"


def _kind(parameter: Parameter) -> str:
    kind = "numbers, by comma" if parameter.items == "number" else _TYPES[parameter.type]
    return f"{kind}, or {parameter.stored}()" if parameter.stored else kind


def _add(draft: Draft, operations: Mapping[str, Operation]) -> str:
    if len(draft.steps) >= MOST_STEPS:
        return f'<p class="soft">At most {MOST_STEPS} steps.</p>'
    first = {"": "Add a step …"} if draft.steps else {"": "Choose what to do …"}
    choices = markup.options(first | {name: f"{name}: {each.summary}" for name, each in operations.items()}, "")
    return (
        '<select class="branch-add" data-do="branch-add" data-key="branch-add" aria-label="Add a step">'
        f"{choices}</select>"
    )


def _whole(draft: Draft, problems: Mapping[Place, str]) -> str:
    rows = "".join(
        f'<div class="branch-field{" wrong" if (WHOLE, name) in problems else ""}"><span class="name">{label}</span>'
        f'<span class="asked"><input type="text" data-do="branch-whole" data-live data-name="{name}" '
        f'data-key="branch-{name}" aria-label="{label}" value="{esc(text)}">'
        f'{_problem(problems.get((WHOLE, name), ""))}</span><span class="meaning">{meaning}</span></div>'
        for name, label, text, meaning in (
            ("seeds", "Seeds", draft.seeds, _SEEDS),
            ("name", "Name", draft.name, _NAME),
        )
    )
    return f'<div class="branch-fields branch-whole">{rows}</div>'


def _problem(said: str, id: str = "") -> str:
    return f'<span class="bad" role="alert" id="{esc(id)}">{esc(said)}</span>' if said else ""
