"""The cluster of the dashboard: what its machines have and hold, what waits, and what they do now."""

from __future__ import annotations

from typing import Final

from cc_ray.wording import format_duration, format_value
from dashboards.markup import esc
from dashboards.operating import Cluster, Node, Running

_SHOWN: Final = 200


def cluster(found: Cluster | None) -> str:
    """HTML of a cluster; None while it is asked."""
    if found is None:
        return '<p class="empty" role="status">Asking Ray …</p>'
    if found.problem:
        return f'<p class="failure">{esc(found.problem)}</p>'
    return f'<div class="padded">{_nodes(found)}{_waiting(found)}{_running(found)}</div>'


def _nodes(found: Cluster) -> str:
    names = {name for node in found.nodes for name, total in node.total.items() if total}
    usual = [name for name in ("CPU", "GPU", "memory") if name in names]
    columns = [*usual, *sorted(names.difference(usual))]
    heads = "".join(f"<th>{esc(name if name.isupper() else name.capitalize())}</th>" for name in columns)
    rows = "".join(_node(node, columns) for node in found.nodes[:_SHOWN])
    count = f"{len(found.nodes)} node{'s' * (len(found.nodes) != 1)}"
    return (
        f"<h3>{count} <small>what steps hold of what there is</small></h3>"
        f'<table class="rows" aria-label="Nodes"><thead><tr><th>Node</th><th>State</th>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _node(node: Node, columns: list[str]) -> str:
    cells = "".join(f"<td>{_amount(name, node)}</td>" for name in columns)
    return f"<tr><td>{esc(node.name)}</td><td>{esc(node.state)}</td>{cells}</tr>"


def _amount(name: str, node: Node) -> str:
    total, used = node.total.get(name, 0.0), node.used.get(name, 0.0)
    if not total:
        return '<span class="soft">–</span>'
    said = f"{_written(name, used)} of {_written(name, total)}"
    share = min(100.0, 100 * used / total)
    return f'<span class="held"><i style="width:{share:.0f}%"></i></span>{esc(said)}'


def _written(name: str, amount: float) -> str:
    return format_value(amount, "bytes") if name == "memory" else f"{amount:g}"


def _waiting(found: Cluster) -> str:
    if not found.waiting:
        return '<p class="soft">Nothing waits for resources.</p>'
    items = "".join(f"<li>{entry.count:,} for {esc(entry.asks)}</li>" for entry in found.waiting)
    return f'<h3>What waits for resources</h3><ul class="seen">{items}</ul>'


def _running(found: Cluster) -> str:
    if found.running is None:
        return (
            '<p class="soft">No study of this store runs on this Ray: one that was started in a terminal has a Ray of '
            "its own, and its steps cannot be seen from here.</p>"
        )
    if not found.running:
        return '<p class="soft">No step is running.</p>'
    rows = "".join(_step(work) for work in found.running[:_SHOWN])
    return (
        '<h3>Running steps</h3><table class="rows" aria-label="Running steps"><thead><tr><th>Step</th><th>Node</th>'
        f'<th class="number">For</th></tr></thead><tbody>{rows}</tbody></table>'
    )


def _step(work: Running) -> str:
    kind = "timing of " if work.kind == "latency" else ""
    return (
        f"<tr><td>{kind}{esc(work.name)}</td><td>{esc(work.node)}</td>"
        f'<td class="number">{format_duration(work.running_s)}</td></tr>'
    )
