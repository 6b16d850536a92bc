"""A study in a terminal: its plan, its progress while it runs, how it ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from rich.console import Group
from rich.live import Live
from rich.text import Text

from cc_ray.errors import NotComparableError
from cc_ray.terminal.tables import duration, grid, notices, screen
from cc_ray.wording import format_value

if TYPE_CHECKING:
    from cc_ray.search.plan import Plan
    from cc_ray.search.progress import Best, Failure, Progress, StudySummary
    from cc_ray.views import Views

BAR_LENGTH: Final = 24
LINE_EVERY_S: Final = 15.0
"""How often a line is written where nothing can be drawn in place."""


def show_plan(plan: Plan) -> None:
    """Say what the next run of a search space does."""
    screen.print(
        Text.assemble(
            (plan.study_id, "bold"),
            f": {plan.trials} trials, {plan.trials_to_run} to run. {plan.unique_steps} distinct models ",
            f"({plan.shared} steps shared between recipes), {plan.known} in the store, ",
            (f"{plan.to_run} to make", "bold"),
            ".",
        )
    )
    if plan.trials_to_run:
        about = "about" if plan.exact else "roughly (the search decides on the way)"
        size = format_value(plan.estimated_bytes, "bytes")
        least = " at most" if plan.stops_early else ""
        gpus = f", {plan.gpu_hours:.3g} GPU-hours" if plan.gpu_hours else ""
        screen.print(f"Estimate: {about} {duration(plan.estimated_s)}, {size} on disk{gpus}{least}.")
    if plan.stops_early:
        screen.print("Trials whose models do badly may be stopped early.")


def show_planned_operations(plan: Plan) -> None:
    """Draw the plan by operation."""
    drawn = grid("operation", ">steps", ">to make", ">each takes", ">each holds", "estimated from")
    for entry in plan.by_operation:
        size, source = format_value(entry.step_bytes, "bytes"), "earlier steps" if entry.known else "a default"
        step_s = duration(entry.step_s)
        drawn.add_row(entry.operation, str(entry.steps), str(entry.to_run), step_s, size, source)
    screen.print(drawn)


def show_summary(summary: StudySummary, store: Path | str) -> None:
    """Say how a study's session ended and what failed."""
    progress = summary.progress
    figures = (
        f" {summary.state} in {duration(progress.elapsed_s)}: {progress.models_done} models made, "
        f"{progress.models_reused} reused, trials failed: {progress.trials_failed}{_stopped(progress)}. Store: {store}"
    )
    screen.print(Text.assemble((summary.study_id, "bold"), figures), soft_wrap=True)
    for failure in summary.failures:
        screen.print(_failure(failure), soft_wrap=True)
    if summary.failures:
        screen.print("What failed is not run again unless asked for: --retry-failed.")
    if summary.state == "stopped":
        goes_on = "the same command goes on from here" if summary.interrupted else "a higher limit goes on from here"
        screen.print(f"Ended before all trials had ({summary.reason}); {goes_on}.", soft_wrap=True)


def show_noise(views: Views, study: str, metrics: Iterable[str], formats: Mapping[str, str]) -> None:
    """Say of each metric how far other seeds alone move it, where recipes of a study ran with several."""
    # Imported here: the command line imports this file to show its help.
    from cc_ray import compare

    ids = [model_id for model_id in compare.trials(views, study)["model_id"].to_pylist() if model_id]
    for metric in metrics if ids else ():
        try:
            rows = compare.noise_floor(views, metric, dict.fromkeys(ids)).to_pylist()
        except NotComparableError:  # No model has it.
            continue
        repeated = [row for row in rows if row["repeats"] > 1]
        if repeated:
            std, least = (
                format_value(repeated[0][name], formats.get(metric, "number"))
                for name in ("pooled_std", "minimal_difference")
            )
            screen.print(
                f"Other seeds alone move {metric} by {std} (standard deviation, {len(repeated)} recipes); models of "
                f"one seed each are told apart from a difference of {least} on.",
                soft_wrap=True,
            )


class LiveStudy:
    """Draws a study's progress while it runs: in place on a terminal, else a line now and then.

    Args:
        formats: Format by metric, as in `schema.METRIC_DEFINITIONS`.
    """

    def __init__(self, formats: Mapping[str, str]) -> None:
        self._formats = formats
        self._live = Live(console=notices, transient=True, auto_refresh=False) if notices.is_terminal else None
        self._next_s = 0.0
        self._waits_for = ""

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def update(self, progress: Progress) -> None:
        """Draw the figures of this moment."""
        if self._live:
            best = (self._best(best) for best in progress.best.values())
            self._live.update(Group(progress_line(progress), *best, *_front(progress)), refresh=True)
        elif progress.elapsed_s >= self._next_s or progress.waits_for != self._waits_for:
            self._next_s = progress.elapsed_s + LINE_EVERY_S
            self._waits_for = progress.waits_for
            notices.print(progress_line(progress), *_front(progress), soft_wrap=True)

    def _best(self, best: Best) -> Text:
        value = format_value(best.value, self._formats.get(best.metric, "number"))
        line = Text.assemble(("  best ", "dim"), f"{best.metric} {value}  ", (best.name, "dim"))
        line.truncate(notices.width - 1, overflow="ellipsis")
        return line


def progress_line(progress: Progress) -> Text:
    """The figures of a study in one line."""
    ready = progress.models_done + progress.models_reused
    filled = round(BAR_LENGTH * ready / progress.models_total) if progress.models_total else 0
    left = "" if progress.remaining_s is None else f", about {duration(progress.remaining_s)} left"
    return Text.assemble(
        ("━" * filled, "green"),
        ("━" * (BAR_LENGTH - filled), "dim"),
        f" {ready}/{progress.models_total} models: {progress.models_done} done, {progress.models_reused} reused, ",
        (f"{progress.models_failed} failed", "bold red" if progress.models_failed else ""),
        f"{_stopped(progress)}, {progress.models_running} running; {duration(progress.elapsed_s)}{left}",
        (f"; {progress.waits_for}: waiting for one" if progress.waits_for else "", "yellow"),
    )


def _stopped(progress: Progress) -> str:
    return f", {progress.trials_stopped} stopped early" if progress.trials_stopped else ""


def _front(progress: Progress) -> list[Text]:
    """How far the trade-off front has come, and what that took."""
    if progress.hypervolume is None:
        return []
    since = f", unchanged for {progress.unchanged} trials" if progress.unchanged else ""
    hours = f"{progress.gpu_hours:.3g} GPU-hours" if progress.gpu_hours else f"{progress.cpu_hours:.3g} CPU-hours"
    return [Text.assemble(("  hypervolume ", "dim"), f"{progress.hypervolume:.4g}{since}", ("  spent ", "dim"), hours)]


def _failure(failure: Failure) -> Text:
    return Text.assemble(("failed ", "bold red"), f"{failure.recipe}\n  at {failure.step}: {failure.reason}")
