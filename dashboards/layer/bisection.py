"""What bisections found, in sentences, and how to make what is missing."""

from __future__ import annotations

from cc_ray.wording import format_value
from dashboards.chosen import Chosen
from dashboards.layer.series import bisections
from dashboards.layer.terms import term
from dashboards.markup import esc, recipe
from dashboards.snapshot import Row, Snapshot
from dashboards.state import short


def bisected(snapshot: Snapshot, now: Chosen) -> str:
    """HTML of the answers about models of the base's base model, those shown first."""
    rows = sorted(bisections(snapshot.views, family(snapshot, now)), key=lambda row: row["model_id"] not in now.ids)
    head = f"<h3>{term('bisection', 'Bisections')}</h3>"
    if not rows:
        model = short(now.ids[0] if now.ids else now.base)
        ask = '<p class="soft">None yet. To find the modules that a loss comes from:</p>'
        return f"{head}{ask}{command(f'cc-ray bisect {model}')}"
    return head + "".join(_answer(snapshot, row) for row in rows)


def family(snapshot: Snapshot, now: Chosen) -> list[str]:
    """Models of the base's base model."""
    root = snapshot.models[now.base]["root"]
    return [id for id, row in snapshot.models.items() if row["root"] == root]


def how_to_probe(snapshot: Snapshot, base: str) -> str:
    """What to do where no layer was compressed alone."""
    model = short(base)
    return (
        '<div class="empty"><p>No layer was compressed alone yet. These commands measure what that costs, on the '
        "cluster, and the curves appear here:</p>"
        f"{command(f'cc-ray sensitivity {model} --operation magnitude_pruning --levels 0.3,0.5,0.7,0.9')}"
        f"{command(f'cc-ray sensitivity {model} --operation uniform_quantization --levels 8,4,3,2')}"
        f'<p class="soft">With --store {esc(str(snapshot.views.root))}, if the store is not the usual one.</p></div>'
    )


def command(text: str) -> str:
    """Something to type, easy to mark and copy."""
    return f'<p><code class="command">{esc(text)}</code></p>'


def _answer(snapshot: Snapshot, row: Row) -> str:
    metric = snapshot.metrics.get(row["metric"])
    label, form = (metric.label, metric.format) if metric else (row["metric"], "number")
    own, before = (format_value(row[name], form) for name in ("model_value", "parent_value"))
    parent = snapshot.labels.last(row["parent_id"]) if row["parent_id"] in snapshot.models else row["parent_id"]
    modules = "".join(f"<li><code>{esc(path)}</code></li>" for path in row["modules"])
    return (
        f'<div class="bisection"><p>{recipe(snapshot, row["model_id"])}</p><p>{esc(label)} went from {before} '
        f"({esc(parent)}) to {own}. {_verdict(row, form)}</p>{f'<ul>{modules}</ul>' if modules else ''}</div>"
    )


def _verdict(row: Row, form: str) -> str:
    if row["proof"] == "none":
        return f"No set of modules that was put back brings it to {format_value(row['target'], form)}."
    if not row["modules"]:
        return "That is near enough: nothing has to be put back."
    sets = f"{row['evaluations']:,} sets were measured"
    why = (
        f"No smaller set does: {sets}."
        if row["proof"] == "smallest"
        else f"None of them can be left out; a smaller set of others is not ruled out ({sets})."
    )
    return f"These, put back, bring {format_value(row['value'], form)}. {why}"
