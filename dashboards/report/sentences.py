"""In short: what stands out of the models, in sentences."""

from __future__ import annotations

from typing import Final

from cc_ray import compare
from dashboards.overview.insights_pane import sentence
from dashboards.report.plots import Plots
from dashboards.report.section import Section, nothing
from dashboards.report.subject import Subject

MOST: Final = 12


def sentences(subject: Subject, plots: Plots) -> Section:
    """The strongest sentences, each with the query that shows it."""
    now = subject.now
    found = compare.insights(subject.snapshot.views, now.ids, now.base, limit=MOST).to_pylist()
    if not found:
        said = "Nothing stands out of these models beyond the noise."
        return Section(nothing(said, "More evaluation instances, or repeats over seeds, would show smaller effects."))
    items = "".join(sentence(row) for row in found)
    lead = (
        '<p class="hint">What stands out beyond the noise, strongest first: ▼ worse, ▲ better or cheaper, ? doubt.</p>'
    )
    return Section(
        f'{lead}<ol class="insights">{items}</ol>',
        {"Beyond the noise": "More than chance explains: tests are paired where possible and corrected by Holm."},
        {row["sentence"]: [row["evidence"]] for row in found},
    )
