"""Choices that several parts share: the measure, how it is taken, and which instances are looked at."""

from __future__ import annotations

from cc_ray import compare
from dashboards import markup
from dashboards.behaviour.asked import Asked, write
from dashboards.behaviour.terms import KINDS, MEASURES
from dashboards.behaviour.view import choose, mark
from dashboards.markup import esc, told
from dashboards.session import Session


def measure_choice(asked: Asked) -> str:
    """Which measure, and how it is taken against the base."""
    names = {name: measure.label for name, measure in MEASURES.items()}
    field = markup.select("measure", "Measure", names, asked.measure)
    return f'{field}<span class="meaning">{told("what is it?", asked.shown.meaning)}</span>{_kinds(asked)}'


def _kinds(asked: Asked) -> str:
    label = asked.shown.label
    off = "" if asked.shown.alone else f"{label} compares a model with the base: no model has a value of its own."
    buttons = "".join(
        f'<button {choose(f"kind-{name}", kind=name, kept="")} aria-pressed="{str(name == asked.kind).lower()}"'
        f' data-tip="{esc(off or meaning)}"{" disabled" if off and name != "difference" else ""}>{esc(text)}</button>'
        for name, (text, meaning) in KINDS.items()
    )
    reason = f'<span class="hint">{esc(off)}</span>' if off else ""
    return f'<span class="switch">{buttons}</span>{reason}'


def filters(session: Session, asked: Asked) -> str:
    """A field for a condition, and what chooses instances at present, each with a way to take it back."""
    chips = []
    if asked.label is not None:
        name = compare.class_names(asked.snapshot.views, asked.now.base).get(asked.label, str(asked.label))
        chips.append(_chip(f"Class {esc(name)}", choose("clear-label", label="", offset=0)))
    for id, (low, high) in asked.between.items():
        kept = write({other: ends for other, ends in asked.between.items() if other != id})
        place = asked.now.ids.index(id)
        text = f"{mark(place)} {esc(asked.shown.label)} {esc(asked.written(low))} to {esc(asked.written(high))}"
        chips.append(_chip(text, choose(f"clear-{id}", kept=kept, offset=0)))
    if asked.where:
        chips.append(_chip(f"<code>{esc(asked.where)}</code>", choose("clear-where", where="", offset=0)))
    every = (
        f"<button {choose('clear-all', label='', kept='', where='', offset=0)}>Clear all</button>"
        if len(chips) > 1
        else ""
    )
    return f"{condition_field(session)}{''.join(chips)}{every}"


def condition_field(session: Session) -> str:
    """Where a condition is written."""
    meaning = (
        "An SQL expression over instance, label, label_name, slices, input (the text shown) and the base's prediction, "
        "correct, confidence, true_probability, loss, margin, entropy. Enter applies it."
    )
    return (
        f'<label class="field where"><span>{told("Where", meaning)}</span><input type="text" data-do="set"'
        f' data-name="where" data-key="where" placeholder="confidence &lt; 0.6 AND NOT correct"'
        f' value="{esc(session.state.where)}" spellcheck="false" autocomplete="off"></label>'
    )


def _chip(text: str, attributes: str) -> str:
    return (
        f'<span class="chip">{text}<button {attributes} data-tip="Take back" aria-label="Take back">×</button></span>'
    )
