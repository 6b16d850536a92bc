"""The verbs that go on from what the store has: from models with new steps, from a study with what it lacks."""

from __future__ import annotations

from typing import Annotated

import typer

from cc_ray.terminal.exploring import Retry, explore_and_show
from cc_ray.terminal.options import DEFAULT_STORE, Address, Models, StorePath, open_store

branches = typer.Typer()

By = Annotated[str, typer.Option("--by", help="Who asks for it; written down with the study.")]


@branches.command()
def branch(
    models: Models,
    step: Annotated[
        list[str],
        typer.Option(help='A step, such as "magnitude_pruning(sparsity=[0.3, 0.5])": a list is one model a value.'),
    ],
    store: StorePath = DEFAULT_STORE,
    name: Annotated[str, typer.Option(help="Names the study; else one is made of the steps.")] = "",
    seed: Annotated[
        list[int] | None,
        typer.Option(help="Make it all with this seed, from the base model on; else models keep their own."),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Tell what it would take, and run nothing.")] = False,
    address: Address = None,
    retry_failed: Retry = False,
    by: By = "",
) -> None:
    """Compress models of the store further: the steps are done to each, in order, as a study of their own."""
    from cc_ray import compare
    from cc_ray.search.branched import branched
    from cc_ray.search.plan import plan as planned
    from cc_ray.search.written import read_step
    from cc_ray.store import Store
    from cc_ray.terminal.study import show_plan, show_planned_operations

    views, steps = open_store(store), [read_step(text) for text in step]
    chosen = [compare.resolve(views, model) for model in models]
    space = branched(Store(store), chosen, steps, name=name, seeds=seed or ())
    if plan:
        found = planned(space, Store(store), retry_failed=retry_failed)
        show_plan(found)
        show_planned_operations(found)
        return
    explore_and_show(space, store, address=address, retry_failed=retry_failed, started_by=by)


@branches.command()
def resume(
    study: Annotated[str, typer.Argument(help="A study of the store.")],
    store: StorePath = DEFAULT_STORE,
    address: Address = None,
    retry_failed: Retry = False,
    by: By = "",
) -> None:
    """Go on with a study that ended before all its trials had, with the search space of its last session."""
    from cc_ray.search.branched import again
    from cc_ray.store import Store

    space = again(Store(store), study)
    explore_and_show(space, store, address=address, retry_failed=retry_failed, started_by=by)
