"""What a branch would take, as HTML, before anything runs."""

from __future__ import annotations

from cc_ray.wording import format_duration, format_value
from dashboards.markup import esc
from dashboards.operating import WHOLE, Cost, Planned


def plan(planned: Planned | None, *, starting: bool) -> str:
    """HTML of a plan with the button that starts it.

    Args:
        planned: None while it is not known.
        starting: It has been pressed.
    """
    if planned is None:
        return '<div class="branch-plan"><p class="soft" role="status">Planning …</p></div>'
    if planned.problems:
        said = planned.problems.get((WHOLE, ""), "Mend what is marked above: then the plan stands here.")
        return f'<div class="branch-plan"><p class="failure">{esc(said)}</p></div>'
    if not planned.trials:
        return '<div class="branch-plan"><p>All of it is in the store already: nothing is left to run.</p></div>'
    return (
        f'<div class="branch-plan"><h3>Plan <small>study {esc(planned.study)}</small></h3>{_facts(planned)}'
        f"{_costs(planned)}{_start(starting)}"
        f'<details data-key="branch-command"><summary>The same in a terminal</summary>'
        f"<code>{esc(planned.command)}</code></details></div>"
    )


def _facts(planned: Planned) -> str:
    facts = {
        "Recipes": f"{planned.trials:,}",
        "To make": f"<b>{planned.to_make:,}</b> model{'s' * (planned.to_make != 1)}",
        "Known already": f"{planned.known:,}",
        "Time": f"about {format_duration(planned.estimated_s)}",
        "On disk": f"about {format_value(planned.estimated_bytes, 'bytes')}",
        "GPU-hours": f"about {planned.gpu_hours:.3g}" if planned.gpu_hours else "",
    }
    shown = "".join(f"<div><dt>{name}</dt><dd>{text}</dd></div>" for name, text in facts.items() if text)
    return f'<dl class="facts">{shown}</dl>'


def _costs(planned: Planned) -> str:
    rows = "".join(_cost(cost) for cost in planned.costs if cost.to_make)
    if not rows:
        return '<p class="soft">All models are known; only what is measured of them is looked up.</p>'
    return (
        '<table class="rows" aria-label="What each operation takes"><thead><tr><th>Operation</th>'
        '<th class="number">To make</th><th class="number">Known</th><th class="number">Each takes</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _cost(cost: Cost) -> str:
    hint = "from earlier steps" if cost.known else "a guess: the store has seen none"
    return (
        f'<tr><td>{esc(cost.operation)}</td><td class="number">{cost.to_make:,}</td>'
        f'<td class="number">{cost.steps - cost.to_make:,}</td>'
        f'<td class="number" title="{hint}">{format_duration(cost.step_s)}{"" if cost.known else " ?"}</td></tr>'
    )


def _start(starting: bool) -> str:
    if starting:
        return '<p role="status">Starting …</p>'
    return '<button class="primary" data-do="branch-start" data-key="branch-start">Start</button>'
