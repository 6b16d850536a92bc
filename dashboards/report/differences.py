"""Differences: what the recipes differ in, and what that goes with."""

from __future__ import annotations

from dashboards.details import card
from dashboards.differences import differences as drawn
from dashboards.report.plots import Plots
from dashboards.report.section import Section, asks
from dashboards.report.subject import Subject
from dashboards.state import short


def differences(subject: Subject, plots: Plots) -> Section:
    """Several models by what differs between them; a single one beside its parent and the base model."""
    ids = subject.now.ids
    if len(ids) == 1:
        return Section(card(subject.snapshot, ids[0]), {}, {"The model": [f"cc-ray show {short(ids[0])}"]})
    meaning = "What explains how the recipes differ; what always varies together is one variable."
    return Section(drawn(subject.snapshot, ids), {"Variable": meaning}, {"Differences": [asks("differences", ids)]})
