"""Definitions: every term that the sections use; and the queries that give their figures again."""

from __future__ import annotations

from collections.abc import Iterable

from dashboards.markup import esc
from dashboards.report.section import Section


def definitions(sections: Iterable[Section]) -> str:
    """All terms in alphabetical order."""
    terms: dict[str, str] = {}
    for section in sections:
        terms = {**section.terms, **terms}
    items = "".join(
        f"<div><dt>{esc(label)}</dt><dd>{esc(terms[label])}</dd></div>" for label in sorted(terms, key=str.lower)
    )
    return f'<dl class="definitions">{items}</dl>'


def queries(sections: Iterable[tuple[str, Section]]) -> str:
    """What gives the figures again, folded, by the titles of the sections."""
    parts = "".join(
        f"<h3>{esc(title)}</h3>{''.join(_query(*query) for query in section.queries.items())}"
        for title, section in sections
        if section.queries
    )
    return (
        "<details><summary>SQL over the store's documented views (<code>cc-ray sql</code>), and commands</summary>"
        f"{parts}</details>"
    )


def _query(what: str, texts: Iterable[str]) -> str:
    lines = "".join(f"<pre><code>{esc(text)}</code></pre>" for text in texts)
    return f"<h4>{esc(what)}</h4>{lines}"
