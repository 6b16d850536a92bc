"""What a section of a report is."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dashboards.state import short


@dataclass(frozen=True)
class Section:
    """One section, drawn."""

    body: str
    """HTML; whoever makes it escapes what comes from the store."""
    terms: Mapping[str, str] = field(default_factory=dict)
    """Words that it uses, with what they mean."""
    queries: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What gives its figures again, each under what it shows: SQL over the documented views, or a command."""


def asks(question: str, ids: Sequence[str] = (), **given: str) -> str:
    """The command that asks a question of the catalogue.

    Args:
        question: Its name.
        ids: model_id of models; their first digits are written.
        given: Other parameters. What a shell would read otherwise is quoted.
    """
    words = [*(f"ids={short(id)}" for id in ids), *(f"{name}={value}" for name, value in given.items())]
    return shlex.join(["cc-ray", "ask", question, *words])


def selects(what: str, ids: Sequence[str]) -> str:
    """SQL that takes the rows of models from a documented view.

    Args:
        what: Columns and view, `SELECT ... FROM ...`.
        ids: model_id of the models.
    """
    listed = ", ".join("'" + id.replace("'", "''") + "'" for id in ids)
    return f"{what} WHERE model_id IN ({listed})"


def nothing(missing: str, remedy: str) -> str:
    """Says what there is not, and how to get it.

    Args:
        missing: What is not there, as HTML.
        remedy: How to get it, as HTML.
    """
    return f'<p class="empty">{missing} {remedy}</p>'
