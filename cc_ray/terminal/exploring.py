"""Running a search space in a terminal, from its plan to what it recommends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from cc_ray.terminal.options import definitions_of, labels_of, open_store

if TYPE_CHECKING:
    from cc_ray.search import SearchSpace

Retry = Annotated[bool, typer.Option("--retry-failed", help="Run again what failed in an earlier session.")]

_SENSES: Final = ("at_most", "at_least")


def explore_and_show(
    space: SearchSpace, root: str, *, address: str | None, retry_failed: bool, started_by: str = ""
) -> None:
    """Run what a space lacks, and tell what it came to.

    Args:
        space: The search space.
        root: Folder or URL of the store.
        address: Of a Ray cluster; None starts one here.
        retry_failed: Run failed trials again.
        started_by: Who asks for it.

    Raises:
        typer.Exit: With code 130 if somebody stopped it.
    """
    # Imported here: the command line imports this file to show its help.
    from cc_ray import compare
    from cc_ray.evaluate import metric_definitions
    from cc_ray.search.plan import plan
    from cc_ray.search.tuner import explore
    from cc_ray.store import Store
    from cc_ray.terminal.answers import show_findings_by_check, show_recommendations
    from cc_ray.terminal.study import LiveStudy, show_noise, show_plan, show_summary

    store = Store(root, create=True)
    show_plan(plan(space, store, retry_failed=retry_failed))
    formats = {row["metric"]: row["format"] for row in metric_definitions()}
    with LiveStudy(formats) as live:
        summary = explore(
            space, store, address=address, on_progress=live.update, retry_failed=retry_failed, started_by=started_by
        )
    show_summary(summary, store.root)
    views = open_store(store.root)
    show_noise(views, summary.study_id, space.objectives, formats)
    bounds = {sense: {c.metric: c.limit for c in space.constraints if c.sense == sense} for sense in _SENSES}
    answer = compare.recommendations(views, space.objectives, study=summary.study_id, **bounds)
    show_findings_by_check(compare.findings(views))
    show_recommendations(answer, labels_of(compare.models(views)), definitions_of(views), space.objectives)
    if summary.interrupted:
        raise typer.Exit(130)
