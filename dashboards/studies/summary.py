"""What a study came to: progress and best models above its chart; failures, early stops, repeats, cluster below."""

from __future__ import annotations

from typing import Any, Final

from cc_ray.wording import NOTHING, format_change, format_duration, format_interval, format_value
from dashboards.markup import esc, told
from dashboards.snapshot import Row, Snapshot
from dashboards.studies.listing import ended, hours, label_of, moment, progress, state_of
from dashboards.studies.report import Report, imported
from dashboards.studies.terms import TERMS, term

FACTS: Final = {
    "Stopped": TERMS["stopped"],
    "Models": TERMS["models"],
    "Steps reused": TERMS["reused"],
    "CPU time": TERMS["cpu"],
    "GPU time": TERMS["gpu"],
}
SHOWN: Final = 12
"""Rows of a part that are shown at once; the rest unfolds."""


def head(snapshot: Snapshot, found: Report) -> str:
    """State, progress and the best value of each objective."""
    study = found.study
    return (
        f'<h2 class="study-title">{esc(found.id)} {state_of(study)}</h2>{_came(found)}{_origin(snapshot, study)}'
        f"{_best(snapshot, found)}"
    )


def _came(found: Report) -> str:
    """How far it is, or how it came into the store."""
    study = found.study
    if imported(study):
        at, version = moment(study["finished_at"]), esc(study["code_version"] or "")
        return _facts({"Models": f"{study['models']:,}", "Imported": at, "By CC-Ray": version})
    waiting = ", ".join(f"{study[state]} {state}" for state in ("running", "pending") if study[state])
    facts = {
        "Trials ended": f"{ended(study):,} of {study['trials']:,}",
        "Under way": waiting,
        "Left": "" if found.left_s is None else f"about {format_duration(found.left_s)}",
        "Failed": f'<span class="bad">{study["failed"]:,}</span>' if study["failed"] else "0",
        "Stopped": f"{study['stopped']:,}",
        "Models": f"{study['models']:,}",
        "Steps run": f"{study['steps_run']:,}",
        "Steps reused": f"{study['steps_reused']:,}",
        "CPU time": hours(found.costs.get("cpu_hours")),
        "GPU time": hours(found.costs.get("gpu_hours")),
        "Started": moment(study["started_at"]),
        "Ended": moment(study["finished_at"]),
        "Because": esc(study["reason"] or ""),
        "Started by": esc(study["started_by"] or ""),
    }
    return f'<div class="wide-bar">{progress(study)}</div>{_facts(facts)}'


def rest(snapshot: Snapshot, found: Report) -> str:
    """What failed, what was stopped early, how far seeds move the objectives, and where it ran."""
    where = "" if imported(found.study) else _cluster(found)
    return _failures(found) + _stopped(snapshot, found) + _repeats(snapshot, found) + where


def _origin(snapshot: Snapshot, study: Row) -> str:
    """The models that it goes on from."""
    ids = study["branched_from"] or []
    items = "".join(
        f'<li><button class="link" data-do="open" data-model="{esc(id)}" data-key="from-{esc(id)}">'
        f"{esc(snapshot.labels.name(id))}</button></li>"
        for id in ids[:SHOWN]
        if id in snapshot.models
    )
    more = f"<li>and {len(ids) - SHOWN} more</li>" if len(ids) > SHOWN else ""
    return f'<h3>Goes on from</h3><ul class="seen">{items}{more}</ul>' if ids else ""


def _facts(facts: dict[str, str]) -> str:
    shown = {name: text for name, text in facts.items() if text and text != NOTHING}
    return (
        '<dl class="facts">'
        + "".join(
            f"<div><dt>{told(name, FACTS.get(name, ''))}</dt><dd>{text}</dd></div>" for name, text in shown.items()
        )
        + "</dl>"
    )


def _best(snapshot: Snapshot, found: Report) -> str:
    if not found.objectives:
        return '<p class="soft">This study has no objectives: it made its models without looking for the best.</p>'
    if not found.best:
        return '<p class="soft">The best of each objective stands here once a model is measured.</p>'
    rows = "".join(_best_row(snapshot, row) for row in found.best)
    return (
        f"<h3>{term('Best of each objective', 'best')}</h3>"
        '<table class="rows" aria-label="Best of each objective"><thead><tr><th>Objective</th>'
        '<th class="number">Best</th><th>Model</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _best_row(snapshot: Snapshot, row: Row) -> str:
    arrow = "↑" if row["direction"] == "higher" else "↓"
    kind = _format(snapshot, row["metric"])
    interval = format_interval(row["low"], row["high"], kind)
    hint = f' data-tip="95 % interval {interval}"' if interval else ""
    id = row["model_id"]
    name = snapshot.labels.name(id) if id in snapshot.models else row["name"]
    return (
        f'<tr data-do="open" data-model="{esc(id)}" data-key="best-{esc(row["metric"])}" tabindex="0"'
        ' data-tip="Select it and go to the Overview">'
        f"<td>{esc(label_of(snapshot, row['metric']))}\u00a0{arrow}</td>"
        f'<td class="number"{hint}><b>{esc(format_value(row["value"], kind))}</b></td><td>{esc(name)}</td></tr>'
    )


def _failures(found: Report) -> str:
    if not found.failures:
        return ""
    items = "".join(_failure(row) for row in found.failures)
    return f"<h3>Why trials failed</h3>{items}"


def _failure(row: Row) -> str:
    trials = f"{row['trials']} trial{'s' if row['trials'] > 1 else ''}"
    step = f" at <code>{esc(row['failed_step'])}</code>" if row["failed_step"] else ""
    recipes = "".join(f"<li>{esc(text)}</li>" for text in row["recipes"][:SHOWN])
    more = len(row["recipes"]) - SHOWN
    recipes += f"<li>and {more} more</li>" if more > 0 else ""
    return (
        f'<div class="failure"><b>{trials}{step}</b><br>{esc(row["reason"] or "no reason was recorded")}'
        f'<details data-key="{esc(str(row["failed_step"]))}"><summary>Recipes</summary>'
        f"<ul>{recipes}</ul></details></div>"
    )


def _stopped(snapshot: Snapshot, found: Report) -> str:
    if not found.stopped:
        return ""
    rows = "".join(_stopped_row(snapshot, row, found.reports[row["model_id"]]) for row in found.stopped[:SHOWN])
    more = len(found.stopped) - SHOWN
    note = f'<p class="soft">and {more} more; <code>stopped_early</code> in SQL has all.</p>' if more > 0 else ""
    return (
        f"<h3>{term('Stopped early', 'stopped')} "
        f"<small>{len(found.stopped)} models, and what was seen of them</small></h3>"
        '<table class="rows" aria-label="Stopped early"><thead><tr><th>Model</th>'
        f"<th>{term('Seen', 'seen')}</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>{note}"
    )


def _stopped_row(snapshot: Snapshot, row: Row, reports: list[Row]) -> str:
    seen = "".join(f"<li>{_report(snapshot, report)}</li>" for report in reports)
    since = '<div class="soft">made since, because something else needed it</div>' if row["made_since"] else ""
    return (
        f'<tr><td>{esc(row["name"])}<div class="reason">{esc(row["reason"] or "")}</div>{since}</td>'
        f'<td><ul class="seen">{seen}</ul></td></tr>'
    )


def _report(snapshot: Snapshot, row: Row) -> str:
    after = f"epoch {row['epoch']}, " if row["epoch"] else ""
    value = format_value(row["value"], _format(snapshot, row["metric"]))
    stop = ' <b class="bad">stopped</b>' if row["decision"] == "stop" else ""
    return f'{esc(value)} <span class="soft">{after}{row["n"]:,} of {esc(row["split"])}</span>{stop}'


def _repeats(snapshot: Snapshot, found: Report) -> str:
    if not found.repeats:
        return ""
    rows = "".join(_repeats_row(snapshot, row) for row in found.repeats)
    noise = {row["metric"]: row for row in found.repeats}
    said = "".join(f"<li>{_noise(snapshot, row)}</li>" for row in noise.values())
    return (
        f'<h3>{term("Repeats over seeds", "repeats")}</h3><ul class="seen">{said}</ul>'
        '<details data-key="repeats"><summary>Recipe by recipe'
        '</summary><table class="rows" aria-label="Repeats over seeds"><thead><tr><th>Recipe</th><th>Metric</th>'
        '<th class="number">Seeds</th><th class="number">Mean</th><th class="number">Deviation</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></details>"
    )


def _noise(snapshot: Snapshot, row: Row) -> str:
    kind = _format(snapshot, row["metric"])
    name = esc(label_of(snapshot, row["metric"]))
    if row["pooled_std"] is None:
        return f"{name}: one seed each cannot tell"
    apart = row["minimal_difference"]
    needed = f"; models of one seed differ for sure from {_by(apart, kind)} on" if apart else ""
    return f"{name}: other seeds alone move it by <b>{_by(row['pooled_std'], kind)}</b>{needed}"


def _by(difference: float, kind: str) -> str:
    """How much something moves: percentages by points."""
    return esc(format_change(difference, kind).lstrip("+±"))


def _repeats_row(snapshot: Snapshot, row: Row) -> str:
    kind = _format(snapshot, row["metric"])
    return (
        f"<tr><td>{esc(row['name'])}</td><td>{esc(label_of(snapshot, row['metric']))}</td>"
        f'<td class="number">{row["repeats"]}</td><td class="number">{esc(format_value(row["mean"], kind))}</td>'
        f'<td class="number">{_by(row["std"], kind)}</td></tr>'
    )


def _cluster(found: Report) -> str:
    known = found.environment
    cluster: dict[str, Any] = known.get("cluster") or {}
    memory = cluster.get("memory")
    facts = {
        "Cluster": ", ".join(f"{cluster[kind]:g} {kind}s" for kind in ("CPU", "GPU") if cluster.get(kind)),
        "Memory": format_value(memory, "bytes") if memory else "",
        "Device": str(known.get("device", "")),
        "Node": str(known.get("node", "")),
        "Python": str(known.get("python", "")),
        "CC-Ray": str(found.study["code_version"] or ""),
        **{name: str(version) for name, version in (known.get("libraries") or {}).items()},
    }
    seconds = sum(trial["duration_s"] for trial in found.trials)
    facts["Trials took"] = format_duration(seconds) if seconds else ""
    return f"<h3>Where it ran</h3>{_facts({name: esc(text) for name, text in facts.items()})}"


def _format(snapshot: Snapshot, metric: str) -> str:
    return snapshot.metrics[metric].format if metric in snapshot.metrics else "number"
