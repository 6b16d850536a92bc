"""What the selected models are: one as a card, several by what differs between them, none as the ones worth a look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cc_ray import compare
from cc_ray.compare.labels import title
from cc_ray.errors import NotComparableError
from cc_ray.wording import format_change, format_interval, format_value, is_nothing, realised
from dashboards import markup
from dashboards.differences import differences
from dashboards.markup import esc
from dashboards.overview.terms import term
from dashboards.snapshot import Metric, Row, Snapshot

SUGGESTED: Final = "recommended"


def details(snapshot: Snapshot, ids: Sequence[str]) -> str:
    """HTML for a selection.

    Args:
        snapshot: Of the store.
        ids: The selected models, all of the snapshot.
    """
    if not ids:
        return snapshot.once(SUGGESTED, lambda: recommended(snapshot))
    if len(ids) == 1:
        return card(snapshot, ids[0])
    return differences(snapshot, ids) + findings(snapshot, compare.findings(snapshot.views, ids).to_pylist())


def suggested(snapshot: Snapshot) -> str | None:
    """What `details` shows where nothing is selected, if it was asked before."""
    found: str | None = snapshot.answered(SUGGESTED)
    return found


def recommended(snapshot: Snapshot) -> str:
    """The models that no other one beats on every objective, each beside its base model."""
    metrics = snapshot.objectives
    try:
        table = snapshot.recommended
    except NotComparableError as error:
        return f"<h2>Recommended models</h2><p>{markup.sentence(str(error))}</p>"
    heads = "".join(f'<th class="number">{markup.told(metric.label, metric.meaning)}</th>' for metric in metrics)
    rows = "".join(_recommended_row(snapshot, row, metrics) for row in table)
    ids = " ".join(row["model_id"] for row in table)
    words = " × ".join(f"{metric.label.lower()} {'↑' if metric.direction == 'higher' else '↓'}" for metric in metrics)
    return (
        f'<h2><button data-do="select-all" data-models="{ids}">Select all</button>'
        f"Recommended models <small>{term('best trade-offs', 'trade_offs')} of {esc(words)}, "
        f"{term('change', 'recommended_change')} against the base model</small></h2>"
        f'<table class="rows"><thead><tr><th>Recipe</th>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    )


def card(snapshot: Snapshot, model_id: str) -> str:
    """One model: its recipe, its metrics beside its parent's and its base model's, and what checks noticed."""
    found = compare.show(snapshot.views, model_id)
    row = found.model
    rows = "".join(_card_row(snapshot.metrics[metric["metric"]], metric) for metric in found.metrics.to_pylist())
    facts = [
        ("Model", f"<code>{esc(model_id)}</code>"),
        (term("Made by", "made_by"), esc(row["study_id"] or "no study")),
        (term("Weights", "weights"), esc(_held(row))),
        (term("Children", "children"), str(len(found.children))),
        *((esc(title(name)), esc(text)) for name, text in snapshot.labels.given(model_id).items()),
    ]
    return (
        f"<h2>{markup.lineage(snapshot, model_id)}</h2>"
        f'<dl class="facts">{"".join(f"<div><dt>{name}</dt><dd>{text}</dd></div>" for name, text in facts)}</dl>'
        '<table class="rows"><thead><tr><th>Metric</th><th class="number">Value</th>'
        f'<th class="number optional">{term("95 % interval", "interval")}</th>'
        f'<th class="number">{term("to parent", "to_parent")}</th>'
        f'<th class="number">{term("to base", "to_base")}</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>" + findings(snapshot, found.findings.to_pylist())
    )


def _held(row: Row) -> str:
    """How the weights are held, and whether that is real where the model was timed."""
    return str(row["representation"]) + ("" if row["realised"] is None else f", {realised(row['realised'])}")


def findings(snapshot: Snapshot, found: Sequence[Row]) -> str:
    """What checks noticed, as `compare.findings` gives it; which model it is of where there are several."""
    if not found:
        return ""
    several = len({row["model_id"] for row in found}) > 1
    lines = "".join(
        f'<li data-severity="{esc(row["severity"])}">'
        + (f"<b>{esc(snapshot.labels.name(row['model_id']))}</b> " if several else "")
        + (f"<code>{esc(row['layer'])}</code> " if row["layer"] else "")
        + f"{esc(row['message'])}</li>"
        for row in found
    )
    return f'<h3>{term("Findings", "findings")}</h3><ul class="findings">{lines}</ul>'


def _recommended_row(snapshot: Snapshot, row: Row, metrics: Sequence[Metric]) -> str:
    id = row["model_id"]
    cells = "".join(
        f'<td class="number">{markup.value(row, metric)}<br>{_change_cell(row, metric)}</td>' for metric in metrics
    )
    return (
        f'<tr data-do="select" data-model="{id}" data-point="{id}" data-key="row-{id}" tabindex="0">'
        f"<td>{markup.recipe(snapshot, id)}</td>{cells}</tr>"
    )


def _change_cell(row: Row, metric: Metric) -> str:
    value, base, change = (row[f"{metric.metric}{end}"] for end in ("", "_base", "_change"))
    if not change:
        return '<span class="even">±0</span>' if change == 0 else ""
    if metric.format != "percent":
        written = markup.percent(markup.relative(value, base))
        kind = "even" if is_nothing(written) else markup.verdict(change, metric)
        return f'<span class="{kind}">{written}</span>'
    low, high = (row.get(f"{metric.metric}_change_{end}") for end in ("low", "high"))
    if low is None or high is None:
        return markup.change(change, metric)
    # A change that chance explains is neither good nor bad.
    kind = "even" if low <= 0 <= high else markup.verdict(change, metric)
    ends = f"{format_change(low, metric.format)} to {format_change(high, metric.format)}"
    return f'<span class="{kind}" data-tip="95 % interval {ends}">{format_change(change, metric.format)}</span>'


def _card_row(metric: Metric, row: Row) -> str:
    main = " class=primary" if metric.primary else ""
    return (
        f"<tr{main}><td>{markup.told(metric.label, metric.meaning)}</td>"
        f'<td class="number"><b>{esc(format_value(row["value"], metric.format))}</b></td>'
        f'<td class="number soft optional">{esc(format_interval(row["low"], row["high"], metric.format))}</td>'
        f'<td class="number">{markup.change(row["parent_difference"], metric)}</td>'
        f'<td class="number">{markup.change(row["base_difference"], metric)}</td></tr>'
    )
