"""What a study came to: its best models, what it cost, and what failed, was stopped or repeated."""

from __future__ import annotations

import json
from typing import Final

import pyarrow as pa

from cc_ray.compare.asking import Row, rows
from cc_ray.compare.behaviour.repeats import noise_floor
from cc_ray.compare.models import metric_definitions, models
from cc_ray.compare.trade_offs.objectives import of_study
from cc_ray.errors import NotComparableError
from cc_ray.views import Views

_BEST: Final = pa.schema(
    {
        "metric": pa.string(),
        "direction": pa.string(),
        "value": pa.float64(),
        "low": pa.float64(),
        "high": pa.float64(),
        "model_id": pa.string(),
        "name": pa.string(),
    }
)
_REPEATS: Final = pa.schema(
    {
        "metric": pa.string(),
        "name": pa.string(),
        "repeats": pa.int64(),
        "mean": pa.float64(),
        "std": pa.float64(),
        "pooled_std": pa.float64(),
        "minimal_difference": pa.float64(),
    }
)


def study_costs(views: Views) -> pa.Table:
    """What the steps of each study took, over all its sessions.

    Columns: study_id, runs (executions of steps and timings), failed (of those), cpu_hours and gpu_hours (hours that
    they held processors, times their number).
    """
    return views.sql("""
        SELECT
            study_id, count(*) AS runs, count_if(outcome = 'failed') AS failed,
            coalesce(sum(cpus * duration_s), 0) / 3600 AS cpu_hours,
            coalesce(sum(gpus * duration_s), 0) / 3600 AS gpu_hours
        FROM step_runs
        WHERE study_id <> ''
        GROUP BY study_id
        ORDER BY study_id
    """)


def study_best(views: Views, study: str) -> pa.Table:
    """The best value of each objective among the models that a study's trials made or passed.

    Columns: metric, direction (higher or lower), value, low, high (95 % interval, null where there is none), model_id
    and name of the model that has it. Objectives that no model has are left out.

    Args:
        views: The store.
        study: Identity of a study.

    Raises:
        NotComparableError: If the store has no such study.
    """
    among = set(of_study(views, study))
    made = [row for row in models(views).to_pylist() if row["model_id"] in among]
    found = (_best(made, metric, direction) for metric, direction in objectives_of(views, study).items())
    return pa.Table.from_pylist([row for row in found if row], _BEST)


def failures(views: Views, study: str) -> pa.Table:
    """Why trials of a study failed, the most frequent reason first.

    Columns: failed_step (as a person reads it; null where it is not known), reason, trials (number), recipes (of these
    trials, as a person reads them).
    """
    text = """
        SELECT failed_step, reason, count(*) AS trials, list(recipe_text ORDER BY "at", trial_id) AS recipes
        FROM trials
        WHERE study_id = ? AND state = 'failed'
        GROUP BY failed_step, reason
        ORDER BY trials DESC, min("at"), reason
    """
    return views.sql(text, [study])


def trial_output(views: Views, study: str) -> pa.Table:
    """What the steps of a study's trials printed, and the tracebacks of those that failed, in order of time.

    Columns: trial_id, kind (step or latency), outcome, step (the model as a person reads it; null where none came of
    it), printed and traceback (the end of each; null where there is none). Runs that left neither are left out.
    """
    text = """
        SELECT trials.trial_id, kind, outcome, name AS step, printed, traceback
        FROM trials
        JOIN step_runs ON step_runs.study_id = trials.study_id
        LEFT JOIN models ON models.model_id = step_runs.model_id
        WHERE trials.study_id = ? AND (printed IS NOT NULL OR traceback IS NOT NULL) AND (
            -- Of a trial that failed no model is known: its reason is that of the run.
            (trials.state = 'failed' AND outcome = 'failed' AND step_runs.reason = trials.reason)
            OR step_runs.model_id IN (
                SELECT ancestor FROM ancestry WHERE ancestry.model_id = trials.model_id
            )
        )
        ORDER BY trial_id, step_runs.started_at
    """
    return views.sql(text, [study])


def time_left(views: Views, study: str) -> float | None:
    """How long a running study may still take, in s: its trials left, at the pace of those that this session ended.

    None where it does not run, or no trial of this session has ended.
    """
    text = """
        SELECT
            count(*) FILTER (trials.state IN ('pending', 'running')) AS waiting,
            count(*) FILTER (trials.state NOT IN ('pending', 'running') AND trials."at" > started_at) AS ended,
            epoch(max(trials."at") - any_value(started_at)) AS took_s
        FROM studies
        JOIN trials USING (study_id)
        WHERE study_id = ? AND studies.state = 'running'
    """
    (found,) = rows(views, text, [study])
    return float(found["waiting"] * found["took_s"] / found["ended"]) if found["ended"] else None


def requests(views: Views, study: str) -> pa.Table:
    """What somebody asked of a study, last first, with the columns of the table."""
    return views.sql('SELECT * FROM requests WHERE study_id = ? ORDER BY "at" DESC', [study])


def stopped_early(views: Views, study: str) -> pa.Table:
    """The models of a study whose steps were stopped early, last first, with the columns of the view."""
    return views.sql('SELECT * FROM stopped_early WHERE study_id = ? ORDER BY "at" DESC, model_id', [study])


def reports(views: Views, study: str) -> pa.Table:
    """What the models of a study were worth while their steps were under way, in order of time.

    Columns: model_id, name, epoch, split, n, metric, value, size_bytes, decision, reason and at, as in the table.
    """
    text = """
        SELECT model_id, name, epoch, split, n, metric, value, size_bytes, decision, reason, "at"
        FROM reports
        WHERE study_id = ?
        ORDER BY "at", model_id
    """
    return views.sql(text, [study])


def study_repeats(views: Views, study: str) -> pa.Table:
    """How far other seeds alone move the objectives of a study, recipe by recipe; empty where each ran with one seed.

    Columns: metric, name (the recipe), repeats (number of seeds), mean, std (over the seeds), pooled_std (over all
    recipes of the study with repeats) and minimal_difference (between two models of one seed each, that is more than
    chance). They are those of `noise_floor`.

    Args:
        views: The store.
        study: Identity of a study.

    Raises:
        NotComparableError: If the store has no such study.
    """
    among, found = of_study(views, study), []
    measured = set(metric_definitions(views)["metric"].to_pylist())
    for metric in objectives_of(views, study):
        if metric in measured and _several_have(views, among, metric):
            floor = noise_floor(views, metric, among).to_pylist()
            found += [{**row, "metric": metric} for row in floor if row["repeats"] > 1]
    return pa.Table.from_pylist([{name: row[name] for name in _REPEATS.names} for row in found], _REPEATS)


def objectives_of(views: Views, study: str) -> dict[str, str]:
    """Directions by objective of a study.

    Raises:
        NotComparableError: If the store has no such study.
    """
    found = rows(views, "SELECT objectives FROM studies WHERE study_id = ?", [study])
    if not found:
        named = [row["study_id"] for row in rows(views, "SELECT study_id FROM studies ORDER BY study_id")]
        raise NotComparableError(f"no study '{study}': the store has {', '.join(named) or 'none'}.")
    return dict(json.loads(found[0]["objectives"] or "{}"))


def _best(made: list[Row], metric: str, direction: str) -> Row | None:
    having = [row for row in made if row.get(metric) is not None]
    if not having:
        return None
    best = (max if direction == "higher" else min)(having, key=lambda row: row[metric])
    ends = {end: best[f"{metric}_{end}"] for end in ("low", "high")}
    known = {name: best[name] for name in ("model_id", "name")}
    return {"metric": metric, "direction": direction, "value": best[metric], **ends, **known}


def _several_have(views: Views, among: list[str], metric: str) -> bool:
    chosen = set(among)
    table = models(views).select(["model_id", metric]).to_pylist()
    return sum(row["model_id"] in chosen and row[metric] is not None for row in table) > 1
