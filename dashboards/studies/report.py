"""All that the page shows of one study, asked at once for one version of the store."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from cc_ray import compare
from cc_ray.compare.labels import Labels
from cc_ray.views import Views
from dashboards.snapshot import Row, Snapshot

STATES: Final = ("running", "pending", "finished", "failed", "stopped")
"""States of trials, in the order in which they are shown."""


@dataclass(frozen=True)
class Report:
    """One study."""

    study: Row
    """Its row of `compare.studies`."""
    costs: Row
    """Its row of `compare.study_costs`; empty if no step of it ran."""
    trials: list[Row]
    """Rows of `compare.trials`, last first, each with `called`: its recipe as the screen names it."""
    best: list[Row]
    """Rows of `compare.study_best`."""
    failures: list[Row]
    """Rows of `compare.failures`."""
    stopped: list[Row]
    """Rows of `compare.stopped_early`."""
    reports: dict[str, list[Row]]
    """Rows of `compare.reports` of the stopped ones, by model_id."""
    repeats: list[Row]
    """Rows of `compare.study_repeats`."""
    output: dict[str, list[Row]]
    """Rows of `compare.trial_output` by trial_id."""
    left_s: float | None
    """The answer of `compare.time_left`."""
    requests: list[Row]
    """Rows of `compare.requests` since the session began."""

    @property
    def id(self) -> str:
        """Identity of the study."""
        return str(self.study["study_id"])

    @property
    def objectives(self) -> dict[str, str]:
        """Directions by objective."""
        return objectives(self.study)

    @property
    def environment(self) -> dict[str, Any]:
        """Where it ran: libraries, device, node, and what its cluster had."""
        found: dict[str, Any] = json.loads(self.study["environment"] or "{}")
        return found

    @property
    def counts(self) -> Counter[str]:
        """Trials by state."""
        return Counter(trial["state"] for trial in self.trials)


def chosen_study(snapshot: Snapshot, wanted: str) -> Row | None:
    """The study of this name; without one the newest, those that run first; None if there is none."""
    if wanted:
        return next((row for row in snapshot.studies if row["study_id"] == wanted), None)
    running = [row for row in snapshot.studies if row["state"] == "running"]
    return next(iter(running + snapshot.studies), None)


def objectives(study: Row) -> dict[str, str]:
    """Directions by objective of a row of `compare.studies`."""
    found: dict[str, str] = json.loads(study["objectives"] or "{}")
    return found


def imported(study: Row) -> bool:
    """Whether a study, a row of `compare.studies`, brought models without a search, as importers do."""
    return bool(study["state"] == "finished" and not study["trials"] and study["models"])


def report(snapshot: Snapshot, study: Row) -> Report:
    """Ask for all of a study; the answers are kept as long as the store is the same."""
    return snapshot.once(("study", study["study_id"]), lambda: _report(snapshot, study))


def costs(snapshot: Snapshot) -> dict[str, Row]:
    """What studies took, by study_id."""
    return snapshot.once(
        "study costs", lambda: {row["study_id"]: row for row in compare.study_costs(snapshot.views).to_pylist()}
    )


def _report(snapshot: Snapshot, study: Row) -> Report:
    views, id = snapshot.views, study["study_id"]
    stopped = compare.stopped_early(views, id).to_pylist()
    seen: dict[str, list[Row]] = {row["model_id"]: [] for row in stopped}
    for row in compare.reports(views, id).to_pylist() if stopped else []:
        if row["model_id"] in seen:
            seen[row["model_id"]].append(row)
    return Report(
        study=study,
        costs=costs(snapshot).get(id, {}),
        trials=_named(compare.trials(views, id).to_pylist()[::-1]),
        best=compare.study_best(views, id).to_pylist(),
        failures=compare.failures(views, id).to_pylist(),
        stopped=stopped,
        reports=seen,
        repeats=compare.study_repeats(views, id).to_pylist(),
        output=_output(views, id),
        left_s=compare.time_left(views, id),
        requests=[row for row in compare.requests(views, id).to_pylist() if row["at"] >= study["started_at"]],
    )


def _output(views: Views, id: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in compare.trial_output(views, id).to_pylist():
        found.setdefault(row["trial_id"], []).append(row)
    return found


def _named(trials: list[Row]) -> list[Row]:
    """Trials with names that tell them apart as briefly as models are named, whether their models exist or not."""
    recipes = [json.loads(trial["recipe"]) for trial in trials]
    steps: dict[str, Row] = {}
    ends = [_add(steps, recipe) for recipe in recipes]
    labels = Labels(steps)
    several = len({recipe.get("seed", 0) for recipe in recipes}) > 1
    seeds = [f" · seed {recipe.get('seed', 0)}" if several else "" for recipe in recipes]
    return [{**trial, "called": labels.name(end) + seed} for trial, end, seed in zip(trials, ends, seeds, strict=True)]


def _add(steps: dict[str, Row], recipe: Row) -> str:
    """Put every step of a recipe among those known; returns the key of the last."""
    base = recipe["base"]
    key = json.dumps([base])
    steps.setdefault(key, {"operation": None, "base": base, "parent": None, "parameters": "{}"})
    for step in recipe.get("steps", []):
        parent, parameters = key, json.dumps(step.get("parameters", {}), sort_keys=True)
        key = json.dumps([parent, step["operation"], parameters])
        row = {"operation": step["operation"], "base": base, "parent": parent, "parameters": parameters}
        steps.setdefault(key, row)
    return key
