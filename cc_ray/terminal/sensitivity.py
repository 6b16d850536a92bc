"""The verbs that take a model apart: layers compressed alone, judged or timed, and modules put back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Self, cast

import typer
from rich.live import Live
from rich.text import Text

from cc_ray.terminal.options import (
    DEFAULT_STORE,
    Address,
    FormatOption,
    Model,
    Output,
    StorePath,
    definitions_of,
    open_store,
)
from cc_ray.terminal.questions import drawn
from cc_ray.terminal.study import BAR_LENGTH, LINE_EVERY_S
from cc_ray.terminal.tables import Format, duration, grid, heading, notices, screen, write
from cc_ray.wording import NOTHING, format_change, format_value

if TYPE_CHECKING:
    import pyarrow as pa

    from cc_ray.schema import Judged
    from cc_ray.search.bisect import BisectProgress, BisectSummary
    from cc_ray.search.layer_times import TimesSummary
    from cc_ray.search.sensitivity import ProbePlan, ProbeProgress, ProbeSummary
    from cc_ray.views import Views

inquiries = typer.Typer()

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C."""
SHOWN_ALONE: Final = 5
"""How many modules the story tells of alone."""
SHOWN_NAMES: Final = 8
"""How many names a sentence lists before it only counts."""

OperationOption = Annotated[str, typer.Option(help="Operation to compress each layer with, alone.")]
LevelsOption = Annotated[str, typer.Option(help="How strongly, by commas: 0.3,0.5,0.7 or 8,4,3.")]
ParameterOption = Annotated[
    str | None, typer.Option(help="Parameter that is the level; sparsity, bits, ratio and the like are found.")
]
FixedOption = Annotated[
    list[str] | None, typer.Option("--set", help="NAME=VALUE of another parameter; may be given several times.")
]
PatternOption = Annotated[str | None, typer.Option(help="Only layers in whose path this regular expression is.")]
MetricOption = Annotated[str | None, typer.Option(help="Metric to look at; the first primary one if left out.")]


@inquiries.command()
def sensitivity(
    model: Model,
    operation: OperationOption,
    levels: LevelsOption = "",
    parameter: ParameterOption = None,
    fixed: FixedOption = None,
    pattern: PatternOption = None,
    metric: MetricOption = None,
    split: Annotated[
        str, typer.Option(help="Data to judge on: evaluation, or calibration where `allocate` is to read the rows.")
    ] = "evaluation",
    store: StorePath = DEFAULT_STORE,
    address: Address = None,
    format: FormatOption = Format.table,
    output: Output = None,
) -> None:
    """Compress each layer of a model alone, at each level, and measure what that costs."""
    from cc_ray import compare
    from cc_ray.search.sensitivity import plan_probes, run_probes
    from cc_ray.store import Store

    views = open_store(store)
    plan = plan_probes(
        Store(store),
        compare.resolve(views, model),
        operation,
        _numbers(levels),
        parameter=parameter,
        pattern=pattern,
        metric=metric,
        fixed=dict(_setting(text) for text in fixed or []),
        # Anything else is refused by the plan.
        split=cast("Judged", split),
    )
    with LiveLine() as live:
        summary = run_probes(
            plan,
            Store(store),
            address=address,
            on_progress=lambda now: live.update(_probe_line(now), now.pace.elapsed_s),
        )
    _say_probes(summary)
    views = views.refreshed()
    definition = definitions_of(views)[plan.metric]
    found = worst_first(_answer(views, plan), definition["direction"])
    if drawn(format, output):
        _show_sensitivity(found, plan, definition)
    else:
        write(found, format, output)
    _end(summary.stopped)


@inquiries.command("layer-times")
def layer_times(
    model: Model,
    operation: OperationOption,
    levels: LevelsOption = "",
    parameter: ParameterOption = None,
    fixed: FixedOption = None,
    pattern: PatternOption = None,
    gpu: Annotated[bool, typer.Option("--gpu", help="Time on this machine's GPU, not on one thread.")] = False,
    store: StorePath = DEFAULT_STORE,
    output: Output = None,
) -> None:
    """Time each layer of a model alone at each level on this machine, for `allocate(times_ms=times_of())`."""
    from cc_ray import compare
    from cc_ray.search.layer_times import time_layers
    from cc_ray.search.sensitivity import plan_probes
    from cc_ray.store import Store

    plan = plan_probes(
        Store(store),
        compare.resolve(open_store(store), model),
        operation,
        _numbers(levels),
        parameter=parameter,
        pattern=pattern,
        fixed=dict(_setting(text) for text in fixed or []),
    )
    found = time_layers(plan, Store(store), gpus=float(gpu))
    _say_times(found, plan)
    rounded = {layer: [float(f"{time_ms:.4g}") for time_ms in times_ms] for layer, times_ms in found.times_ms.items()}
    _write_text(json.dumps(rounded, indent=1) + "\n", output)


@inquiries.command()
def bisect(
    model: Model,
    recover: Annotated[
        str | None, typer.Option(help="Metric to bring back; the first primary one if left out.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0.0, help="How far from the parent's value is near enough, in the metric's unit.")
    ] = 0.01,
    parent: Annotated[
        str | None, typer.Option(help="Whose weights to put back: any ancestor; the parent if left out.")
    ] = None,
    budget: Annotated[
        int, typer.Option(min=0, help="Sets of two and more to measure at most to prove that one is the smallest.")
    ] = 500,
    store: StorePath = DEFAULT_STORE,
    address: Address = None,
    format: FormatOption = Format.table,
    output: Output = None,
) -> None:
    """Find the fewest modules that, put back to the parent's weights, bring a metric back to the parent's value."""
    from cc_ray import compare
    from cc_ray.search.bisect import bisect, plan_bisection
    from cc_ray.store import Store

    views = open_store(store)
    model_id = compare.resolve(views, model)
    parent_id = compare.resolve(views, parent) if parent else _parent(views, model_id)
    plan = plan_bisection(Store(store), model_id, parent_id, metric=recover, tolerance=tolerance, budget=budget)
    definition = definitions_of(views)[plan.metric]
    with LiveLine() as live:
        summary = bisect(
            plan,
            Store(store),
            address=address,
            on_progress=lambda now: live.update(_bisect_line(now, definition), now.elapsed_s),
        )
    if summary.answer is None:
        notices.print(f"Stopped after {summary.measured} sets; the same command goes on from here.")
    elif drawn(format, output):
        names = {row["model_id"]: row["name"] for row in compare.models(views).to_pylist()}
        _tell(summary, summary.answer, names, definition)
    else:
        write(_as_table(summary.answer), format, output)
    _end(summary.stopped)


class LiveLine:
    """Draws one line while work goes on: in place on a terminal, else now and then."""

    def __init__(self) -> None:
        self._live = Live(console=notices, transient=True, auto_refresh=False) if notices.is_terminal else None
        self._next_s = 0.0

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def update(self, line: Text, elapsed_s: float) -> None:
        """Draw the line of this moment."""
        if self._live:
            self._live.update(line, refresh=True)
        elif elapsed_s >= self._next_s:
            self._next_s = elapsed_s + LINE_EVERY_S
            notices.print(line, soft_wrap=True)


def worst_first(found: pa.Table, direction: str) -> pa.Table:
    """Sort layers by the most that any level costs; of equals the one whose outputs are disturbed most comes first.

    Args:
        found: An answer of `compare.sensitivity` about one model.
        direction: Which values of its metric are better.
    """
    layers: dict[str, list[Mapping[str, Any]]] = {}
    for row in found.to_pylist():
        layers.setdefault(row["pattern"], []).append(row)
    ranked = sorted(layers.values(), key=lambda rows: _harm(rows, direction), reverse=True)
    return type(found).from_pylist([row for rows in ranked for row in rows], found.schema)


def _harm(rows: Iterable[Mapping[str, Any]], direction: str) -> tuple[float, float]:
    sign = {"higher": -1.0, "lower": 1.0}.get(direction)
    known = [row for row in rows if row["difference"] is not None]
    harms = [abs(row["difference"]) if sign is None else sign * row["difference"] for row in known]
    noise = [-row["output_sqnr_db"] for row in known if row["output_sqnr_db"] is not None]
    return max(harms, default=float("-inf")), max(noise, default=float("-inf"))


def _answer(views: Views, plan: ProbePlan) -> pa.Table:
    """What the store knows of the layers and levels that were asked for."""
    from cc_ray import compare

    found = compare.sensitivity(views, plan.metric, [plan.model_id], split=plan.split)
    wanted = (plan.operation, plan.others, plan.parameter)
    rows = (
        row
        for row in found.to_pylist()
        if (row["operation"], row["parameters"], row["parameter"]) == wanted
        and row["pattern"] in plan.layers
        and row["level"] in plan.levels
    )
    return type(found).from_pylist(list(rows), found.schema)


def _show_sensitivity(found: pa.Table, plan: ProbePlan, definition: Mapping[str, Any]) -> None:
    rows = found.to_pylist()
    if not rows:
        screen.print("No layer has been measured yet.")
        return
    kind = definition["format"]
    own = format_value(rows[0]["parent_value"], kind)
    heading(
        f"{definition['label']} is {own}; its change when one layer alone goes through {plan.operation}, worst first"
    )
    headings = [f">{plan.parameter or ''} {'' if level is None else level}".rstrip() for level in plan.levels]
    table = grid("layer", *headings, ">lowest SQNR of its weight", ">of the outputs")
    for layer in dict.fromkeys(row["pattern"] for row in rows):
        here = {row["level"]: row for row in rows if row["pattern"] == layer}
        changes = [format_change(here[level]["difference"], kind) if level in here else "" for level in plan.levels]
        table.add_row(layer, *changes, *(_lowest(here.values(), name) for name in ("weight_sqnr_db", "output_sqnr_db")))
    screen.print(table)
    for reason, layers in _reasons(rows).items():
        screen.print(Text(f"{NOTHING} {_listed(layers)}: {reason}", style="dim"), soft_wrap=True)


def _lowest(rows: Iterable[Mapping[str, Any]], name: str) -> str:
    known = [row[name] for row in rows if row[name] is not None]
    return f"{min(known):.1f} dB".replace("-", "−") if known else NOTHING


def _reasons(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Layers by why the operation does not apply to them alone."""
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        if row["reason"] is not None:
            found.setdefault(row["reason"], {})[row["pattern"]] = None
    return {reason: list(layers) for reason, layers in found.items()}


def _say_probes(summary: ProbeSummary) -> None:
    known = f", {summary.reused} were known" if summary.reused else ""
    notices.print(f"{summary.measured} measurements in {duration(summary.duration_s)}{known}.")
    for failure in summary.failures:
        at = "" if failure.level is None else f" at {failure.level:g}"
        notices.print(Text.assemble(("failed ", "bold red"), f"{failure.layer}{at}: {failure.reason}"), soft_wrap=True)
    if summary.stopped:
        notices.print("Stopped before all layers were measured; the same command goes on from here.")


def _say_times(found: TimesSummary, plan: ProbePlan) -> None:
    known = f", {found.reused} were known" if found.reused else ""
    levels = [
        f"{found.together_ms(place):.3g} ms{'' if level is None else f' at {plan.parameter} {level:g}'}"
        for place, level in enumerate(plan.levels)
    ]
    notices.print(
        f"{found.timed} layers timed ({found.device}){known}. One after the other they take {found.model_ms:.3g} ms as "
        f"they are, {', '.join(levels)}.",
        soft_wrap=True,
    )


def _probe_line(now: ProbeProgress) -> Text:
    filled = round(BAR_LENGTH * now.pace.done / now.pace.total) if now.pace.total else 0
    left = "" if now.pace.remaining_s is None else f", about {duration(now.pace.remaining_s)} left"
    return Text.assemble(
        ("━" * filled, "green"),
        ("━" * (BAR_LENGTH - filled), "dim"),
        f" {now.layers_done}/{now.layers_total} layers, {now.pace.done}/{now.pace.total} measurements; ",
        f"{duration(now.pace.elapsed_s)}{left}",
    )


def _bisect_line(now: BisectProgress, definition: Mapping[str, Any]) -> Text:
    best = format_value(now.best, definition["format"])
    return Text(
        f"{now.measured} sets of modules measured, {now.waiting} under way; best {definition['label'].lower()} {best}; "
        f"{duration(now.elapsed_s)}"
    )


def _tell(
    summary: BisectSummary, answer: Mapping[str, Any], names: Mapping[str, str], definition: Mapping[str, Any]
) -> None:
    """The answer as a short story."""
    kind, label = definition["format"], definition["label"]
    own, before, target = (format_value(answer[name], kind) for name in ("model_value", "parent_value", "target"))
    reach = "at least" if answer["target"] <= answer["parent_value"] else "at most"
    lines = [
        f"model   {answer['model_id'][:8]}  {names[answer['model_id']]}",
        f"parent  {answer['parent_id'][:8]}  {names[answer['parent_id']]}",
        f"{label} went from {before} to {own}. Wanted: {reach} {target}.",
        *_candidates(summary, answer, kind),
        _verdict(answer, kind),
        *_as_step(answer),
    ]
    for line in lines:
        screen.print(Text(line), soft_wrap=True)


def _candidates(summary: BisectSummary, answer: Mapping[str, Any], kind: str) -> list[str]:
    lines = [f"{answer['candidates']} modules differ from the parent's and can be put back."]
    if answer["left_out"]:
        lines.append(f"Left out, because their shapes differ: {_listed(answer['left_out'])}.")
    best = [f"{name} {format_value(value, kind)}" for name, value in summary.alone[:SHOWN_ALONE]]
    return [*lines, f"Put back alone, these bring most: {', '.join(best)}."] if best and answer["modules"] else lines


def _verdict(answer: Mapping[str, Any], kind: str) -> str:
    if answer["proof"] == "none":
        return (
            f"No set of modules that was measured reaches the target, also not all of them together "
            f"({answer['evaluations']} sets measured)."
        )
    if not answer["modules"]:
        return "The model is there already: nothing has to be put back."
    value = format_value(answer["value"], kind)
    brings = "they bring" if len(answer["modules"]) > 1 else "it brings"
    return f"{_listed(answer['modules'])}: put back, {brings} {value}. {_proof(answer)}"


def _proof(answer: Mapping[str, Any]) -> str:
    counted = f"{answer['evaluations']} sets were measured"
    if answer["proof"] == "smallest":
        return (
            f"This is the smallest set: {counted}, every smaller one among them, and none of those reaches the target."
        )
    known = f"no set of {answer['failing_size']} or fewer reaches the target" if answer["failing_size"] > 0 else ""
    return (
        f"None of them can be left out, but a smaller set of others is not ruled out ({counted}; {known}; a larger "
        "--budget looks further)."
    )


def _as_step(answer: Mapping[str, Any]) -> list[str]:
    if answer["step"] is None:
        return []
    parameters = json.loads(answer["step"])["parameters"]
    written = ", ".join(f"{name}={json.dumps(parameters[name])}" for name in ("include", "from_step"))
    return ["As a step of a search space, after the model's last step:", f'    step("restore", {written}),']


def _as_table(answer: Mapping[str, Any]) -> pa.Table:
    import pyarrow as pa

    from cc_ray.schema import BISECTIONS

    return pa.Table.from_pylist([answer], BISECTIONS.schema)


def _parent(views: Views, model_id: str) -> str:
    from cc_ray import compare
    from cc_ray.errors import NotComparableError

    found = compare.parents(views, [model_id])
    if not found:
        raise NotComparableError(f"{model_id} was made from no other model: there are no weights to put back.")
    return found[-1]


def _write_text(text: str, output: Path | None) -> None:
    from cc_ray.errors import CcRayError

    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text)
    except OSError as error:
        raise CcRayError(f"cannot write to {output}: {error.strerror or error}. Name another --output.") from error


def _numbers(texts: str) -> list[int | float]:
    return [_number(text) for text in texts.split(",") if text.strip()]


def _number(text: str) -> int | float:
    from cc_ray.errors import InvalidRecipeError

    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise InvalidRecipeError(f"'{text.strip()}' is no number: write levels like 0.3,0.5,0.7.")


def _setting(text: str) -> tuple[str, Any]:
    from cc_ray.errors import InvalidRecipeError

    name, sign, value = text.partition("=")
    if not sign:
        raise InvalidRecipeError(f"'{text}' is not NAME=VALUE.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(name or "the model itself" for name in names[:SHOWN_NAMES]) + more


def _end(stopped: str | None) -> None:
    if stopped:
        raise typer.Exit(INTERRUPTED)
