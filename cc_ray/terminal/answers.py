"""Answers about models in a terminal: lists, one model, comparisons, what to ship, the operations."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, get_args

from rich.text import Text

from cc_ray.terminal.tables import cell, grid, heading, screen
from cc_ray.wording import NOTHING, format_change, format_interval, format_value, realised

if TYPE_CHECKING:
    import pyarrow as pa
    from pydantic.fields import FieldInfo

    from cc_ray.compare import Comparison, Labels, ModelCard
    from cc_ray.compare.catalogue import Question
    from cc_ray.compress import Operation

ID_DIGITS: Final = 8
"""How much of an identity is shown: enough to name a model."""
CHILDREN: Final = 20
"""Children of a model that are shown."""
RELATIVE: Final = ("model_id", "name")
"""What is shown of a model's ancestors and children."""
SIGNIFICANT: Final = 0.05
"""Largest p-value that is marked."""
LATENCY: Final = "latency_p50_ms"
"""The metric whose change against the base is the metric `speedup`."""
STYLES: Final = {"error": "bold red", "warning": "yellow", "info": "dim"}
"""Styles by severity of a finding."""
Definitions = Mapping[str, Mapping[str, Any]]
"""Metric definitions by metric."""


def show_models(models: pa.Table, labels: Labels, definitions: Definitions, *, primary_only: bool, total: int) -> None:
    """List models with the metrics that they have.

    Args:
        models: As `compare.models` gives them.
        labels: Their names.
        definitions: What the metrics mean.
        primary_only: Only metrics that are looked at first.
        total: How many there are; those that are not given are told of.
    """
    shown = [
        metric
        for metric, definition in definitions.items()
        if metric in models.column_names and (definition["primary"] or not primary_only)
    ]
    drawn = grid("model", *(f">{definitions[metric]['label']}" for metric in shown), "recipe")
    for row in models.select(["model_id", *shown]).to_pylist():
        values = (format_value(row[metric], definitions[metric]["format"]) for metric in shown)
        drawn.add_row(row["model_id"][:ID_DIGITS], *values, _recipe(labels.name(row["model_id"])))
    screen.print(drawn)
    if models.num_rows < total:
        screen.print(
            f"The last {models.num_rows:,} of {total:,} models. `--limit 0` draws all, `--format csv` writes them, "
            "`cc-ray front` finds the best.",
            style="dim",
        )


def show_card(card: ModelCard) -> None:
    """Draw one model: lineage, metrics against parent and base, findings."""
    model = card.model
    screen.print(Text(model["name"], style="bold"), soft_wrap=True)
    screen.print(Text(model["model_id"], style="dim"))
    if model["realised"] is not None:
        screen.print(Text(f"weights: {model['representation']}, {realised(model['realised'])}", style="dim"))
    for older in card.ancestors.select(RELATIVE).to_pylist():
        screen.print(_relative("from", older), soft_wrap=True)
    for younger in card.children.slice(0, CHILDREN).select(RELATIVE).to_pylist():
        screen.print(_relative("to  ", younger), soft_wrap=True)
    if card.children.num_rows > CHILDREN:
        screen.print(f"and to {card.children.num_rows - CHILDREN:,} others", style="dim")
    drawn = grid("metric", ">value", "95 % interval", ">against parent", ">against base")
    for row in card.metrics.to_pylist():
        kind = row["format"]
        changes = (format_change(row[f"{other}_difference"], kind) for other in ("parent", "base"))
        interval = format_interval(row["low"], row["high"], kind)
        drawn.add_row(row["label"], format_value(row["value"], kind), interval, *changes)
    screen.print(drawn)
    show_findings(card.findings)


def show_findings(findings: pa.Table) -> None:
    """List what checks noticed."""
    for row in findings.to_pylist():
        place = f"{row['layer']}: " if row["layer"] else ""
        screen.print(
            Text.assemble((row["severity"], STYLES[row["severity"]]), f" {place}{row['message']}"), soft_wrap=True
        )


def show_findings_by_check(findings: pa.Table) -> None:
    """Say which warnings and errors there are: per check, how many models and one message."""
    checks: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in findings.to_pylist():
        if row["severity"] != "info":
            checks.setdefault((row["severity"], row["check"]), []).append(row)
    if checks:
        heading("What the checks noticed (cc-ray show MODEL tells all of a model)")
    for (severity, check), rows in checks.items():
        models = len({row["model_id"] for row in rows})
        example = f" {check}, {models} model{'s' if models > 1 else ''}, as {rows[0]['model_id'][:ID_DIGITS]}: "
        screen.print(Text.assemble((severity, STYLES[severity]), example, rows[0]["message"]), soft_wrap=True)


def show_comparison(comparison: Comparison, definitions: Definitions) -> None:
    """Draw models against a base: metrics, behaviours, classes, layers."""
    _show_metrics(comparison, definitions)
    heading("Behaviours")
    drawn = grid(
        "model", ">accuracy", ">change", "95 % interval", ">p", ">flips", ">lost", ">gained", ">agreement", ">mean KL"
    )
    for row in comparison.behaviours.to_pylist():
        drawn.add_row(row["model_id"][:ID_DIGITS], *_behaviour(row))
    screen.print(drawn)
    _show_classes(comparison)
    _show_layers(comparison)


def show_front(front: pa.Table, labels: Labels, definitions: Definitions, objectives: Iterable[str]) -> None:
    """Draw the models of a front, with 95 % intervals; a mark where a model stays on it within the noise."""
    metrics = list(objectives)
    heading(f"Trade-off front: {front.num_rows} models, with 95 % intervals (* not beaten beyond the noise either)")
    drawn = grid("model", *(f">{definitions[metric]['label']}" for metric in metrics), "", "recipe")
    for row in front.to_pylist():
        cells = [_with_interval(row, metric, definitions[metric]["format"]) for metric in metrics]
        mark = "*" if row["on_front_interval"] else ""
        drawn.add_row(row["model_id"][:ID_DIGITS], *cells, mark, _recipe(labels.name(row["model_id"])))
    screen.print(drawn)


def show_insights(found: pa.Table, *, evidence: bool) -> None:
    """Say each insight in its sentence."""
    if not found.num_rows:
        screen.print("Nothing stands out beyond the noise.")
    for row in found.to_pylist():
        screen.print(
            Text.assemble((f"{row['rank']:>3} ", "dim"), row["sentence"], (f"  {row['model_id'][:ID_DIGITS]}", "dim")),
            soft_wrap=True,
        )
        if evidence:
            screen.print(Text(f"    {' '.join(row['evidence'].split())}", style="dim"), soft_wrap=True)


def show_questions(questions: Iterable[Question]) -> None:
    """List the questions with what they ask."""
    drawn = grid("question", "what it asks", "parameters")
    for each in questions:
        needed = " ".join(p.name if p.required else f"[{p.name}]" for p in each.parameters)
        drawn.add_row(each.name, each.summary, Text(needed, style="dim"))
    screen.print(drawn)


def show_question(question: Question) -> None:
    """Say what a question answers and takes."""
    screen.print(Text(question.name, style="bold"))
    screen.print(question.description, soft_wrap=True)
    drawn = grid("parameter", "meaning", "if left out")
    for parameter in question.parameters:
        default = "needed" if parameter.required else cell(parameter.default)
        choices = f" ({', '.join(parameter.choices)})" if parameter.choices else ""
        drawn.add_row(parameter.name, Text(parameter.meaning + choices), default)
    screen.print(drawn)


def show_recommendations(front: pa.Table, labels: Labels, definitions: Definitions, objectives: Iterable[str]) -> None:
    """Draw the trade-off front: values, intervals and changes against each model's own base."""
    if not front.num_rows:
        screen.print("There is no trade-off front to show: no model has all objectives and keeps to the constraints.")
        return
    metrics = list(objectives)
    headings = [text for metric in metrics for text in (f">{definitions[metric]['label']}", ">against base")]
    heading(f"Trade-off front: {front.num_rows} models to choose from, with 95 % intervals")
    drawn = grid("model", "recipe", *headings)
    for row in front.to_pylist():
        cells = [text for metric in metrics for text in _objective(row, metric, definitions[metric])]
        drawn.add_row(row["model_id"][:ID_DIGITS], _recipe(labels.name(row["model_id"])), *cells)
    screen.print(drawn)
    unsaid = labels.unsaid(front["model_id"].to_pylist()).items()
    if unsaid:
        text = "; ".join(f"{operation} {parameters}" for operation, parameters in unsaid)
        screen.print(Text(f"The same in every recipe: {text}.", style="dim"), soft_wrap=True)


def show_operations(operations: Iterable[tuple[str, type[Operation]]]) -> None:
    """List operations by family, each with what it needs and makes, its source and its parameters."""
    for family, members in _by_family(operations).items():
        heading(family)
        for name, kind in members:
            screen.print(Text.assemble((name, "bold"), f"  {summary(kind)}"), soft_wrap=True)
            for word, said in _traits(kind).items():
                screen.print(Text(f"    {word}: {said}", style="dim"), soft_wrap=True)
            screen.print(Text(f"    source: {kind.source()}", style="dim"), soft_wrap=True)
            for field, info in kind.model_fields.items():
                meaning = " ".join((info.description or "").split())
                screen.print(Text(f"    {field} ({_default(info)}): {meaning}"), soft_wrap=True)


def operations_markdown(operations: Iterable[tuple[str, type[Operation]]]) -> str:
    """The operations as the table that the README shows, family after family."""
    by_family = _by_family(operations)
    words = next((list(_traits(kind)) for members in by_family.values() for _, kind in members), [])
    lines = [f"| operation | what it does | {' | '.join(words)} | parameters |", "|---" * (len(words) + 3) + "|"]
    for family, members in by_family.items():
        lines.append(f"| **{family}** |" + " |" * (len(words) + 2))
        for name, kind in members:
            parameters = ", ".join(f"`{field}` ({_default(info)})" for field, info in kind.model_fields.items())
            cells = (f"`{name}`", summary(kind), *_traits(kind).values(), parameters or "none")
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def summary(kind: type[Operation]) -> str:
    """What an operation does: the first line of its file."""
    return (sys.modules[kind.__module__].__doc__ or kind.__name__).splitlines()[0]


def _by_family(operations: Iterable[tuple[str, type[Operation]]]) -> dict[str, list[tuple[str, type[Operation]]]]:
    """Operations by family, in the order in which families are listed; of a package that names none last."""
    from cc_ray.compress.base import Family

    found: dict[str, list[tuple[str, type[Operation]]]] = {family: [] for family in get_args(Family)}
    for name, kind in operations:
        found.setdefault(kind.family or "other", []).append((name, kind))
    return {family: members for family, members in found.items() if members}


def _traits(kind: type[Operation]) -> dict[str, str]:
    """What an operation needs and makes, by its examples."""
    made = [kind.model_validate(example) for example in kind.examples]
    held = dict.fromkeys("as before" if (after := each.makes("float")) == "float" else after for each in made)
    runs = dict.fromkeys(", ".join(sorted(each.runs_on())) or "nothing: simulated" for each in made)
    return {
        "works on": kind.works_on,
        "reads": ", ".join(kind.reads) or "no data",
        "weights": f"{', '.join(sorted(kind.accepts))} → {' or '.join(held)}",
        "runs as saved on": " or ".join(sorted(runs)),
    }


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    default = info.get_default(call_default_factory=True)
    return "none" if default in (None, {}) else cell(default) or "none"


def _relative(word: str, row: Mapping[str, Any]) -> Text:
    return Text.assemble((f"  {word} ", "dim"), row["model_id"][:ID_DIGITS], f"  {row['name']}")


def _recipe(name: str) -> Text:
    return Text(name, overflow="fold")


def _behaviour(row: Mapping[str, Any]) -> list[str]:
    return [
        format_value(row["accuracy"], "percent"),
        format_change(row["difference"], "percent"),
        format_interval(row["difference_low"], row["difference_high"], "percent"),
        f"{row['mcnemar_p']:.2g}",
        format_value(row["flips"], "percent"),
        str(row["lost"]),
        str(row["gained"]),
        format_value(row["agreement"], "percent"),
        NOTHING if row["kl_mean"] is None else f"{row['kl_mean']:.3g}",
    ]


def _objective(row: Mapping[str, Any], metric: str, definition: Mapping[str, Any]) -> tuple[str, str]:
    kind = definition["format"]
    interval = format_interval(row[f"{metric}_low"], row[f"{metric}_high"], kind)
    value = format_value(row[metric], kind) + (f"\n{interval}" if interval else "")
    if metric == LATENCY and row.get("speedup") is not None:
        return value, _speedup(row)
    if kind == "percent":
        change = format_change(row[f"{metric}_change"], kind)
    else:
        change = _factor(row[metric], row[f"{metric}_base"])
    low, high = row.get(f"{metric}_change_low"), row.get(f"{metric}_change_high")
    return value, change + (f"\n{format_interval(low, high, kind)}" if low != high else "")


def _speedup(row: Mapping[str, Any]) -> str:
    """Against the base in the same run: two latencies measured at different times differ by the machine's mood too."""
    return f"{row['speedup']:.3g}× as fast\n{format_interval(row['speedup_low'], row['speedup_high'], 'number')}"


def _with_interval(row: Mapping[str, Any], metric: str, kind: str) -> str:
    value = format_value(row[metric], kind)
    if row[f"{metric}_low"] is None:
        return value
    return f"{value}\n{format_interval(row[f'{metric}_low'], row[f'{metric}_high'], kind)}"


def _factor(value: float | None, base: float | None) -> str:
    if not value or not base:
        return NOTHING
    if value == base:
        return "the same"
    return f"{base / value:.3g}× less" if value <= base else f"{value / base:.3g}× more"


def _show_metrics(comparison: Comparison, definitions: Definitions) -> None:
    ids = [comparison.base, *comparison.ids]
    rows = comparison.metrics.to_pylist()
    names = {row["model_id"]: row["name"] for row in rows}
    for model_id in ids:
        role = "base " if model_id == comparison.base else "     "
        screen.print(
            Text.assemble((role, "dim"), (model_id[:ID_DIGITS], "bold"), f"  {names[model_id]}"), soft_wrap=True
        )
    values = {(row["metric"], row["model_id"]): row for row in rows}
    heading("Metrics, with the change against the base")
    drawn = grid("metric", *(f">{model_id[:ID_DIGITS]}" for model_id in ids))
    for metric, definition in definitions.items():
        cells = [_changed(values.get((metric, model_id)), comparison.base) for model_id in ids]
        drawn.add_row(definition["label"], *cells)
    screen.print(drawn)


def _changed(row: Mapping[str, Any] | None, base: str) -> str:
    if row is None:
        return NOTHING
    value = format_value(row["value"], row["format"])
    if row["model_id"] == base:
        return value
    return f"{value} ({format_change(row['difference'], row['format'])})"


def _show_classes(comparison: Comparison) -> None:
    rows = comparison.classes.to_pylist()
    heading("Change of accuracy by class (* where p < 0.05 after correction over the classes)")
    drawn = grid("class", ">instances", *(f">{model_id[:ID_DIGITS]}" for model_id in comparison.ids))
    labels = {row["label"]: row for row in rows}
    for label, first in sorted(labels.items()):
        found = {row["model_id"]: row for row in rows if row["label"] == label}
        drawn.add_row(
            first["label_name"], str(first["n"]), *(_class(found.get(model_id)) for model_id in comparison.ids)
        )
    screen.print(drawn)


def _class(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return NOTHING
    return format_change(row["difference"], "percent") + ("*" if row["holm_p"] < SIGNIFICANT else " ")


def _show_layers(comparison: Comparison) -> None:
    heading("Layers that changed most")
    drawn = grid("model", "layer", ">relative change", ">SQNR", ">sparsity", ">bits")
    for row in comparison.layers.to_pylist():
        change = _layer_change(row)
        sqnr = NOTHING if row["sqnr_db"] is None else f"{row['sqnr_db']:.1f} dB"
        cells = (change, sqnr, format_value(row["sparsity"], "percent"), format_value(row["effective_bits"], "number"))
        drawn.add_row(row["model_id"][:ID_DIGITS], row["path"], *cells)
    screen.print(drawn)


def _layer_change(row: Mapping[str, Any]) -> str:
    if not row["parameters"]:
        return "gone"
    if row["base_parameters"] is None:
        return "new"
    return "reshaped" if row["unmatched_parameters"] else format_value(row["relative_change"], "percent")
