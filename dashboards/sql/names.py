"""What can be asked: example queries, and every table and view with the meaning of its columns."""

from __future__ import annotations

from collections.abc import Sequence

from cc_ray.views.guide import Example, Source
from dashboards.markup import esc


def names(examples: Sequence[Example], sources: Sequence[Source]) -> str:
    """HTML; a click on an example reports `do="example"`, on a name `do="insert"`.

    Args:
        examples: Queries to begin with.
        sources: Tables and views.
    """
    asked = "".join(
        f'<li><button class="link" data-do="example" data-place="{place}" data-key="example-{place}">'
        f"{esc(example.title)}</button></li>"
        for place, example in enumerate(examples)
    )
    listed = "".join(_source(source) for source in sources)
    return (
        f'<h2>Examples</h2><ul class="seen examples">{asked}</ul>'
        f"<h2>Tables and views <small>a click puts a name into the query</small></h2>{listed}"
    )


def _source(source: Source) -> str:
    columns = "".join(f"<li>{_name(name)} <span>{esc(text)}</span></li>" for name, text in source.columns.items())
    return (
        f'<details class="source" data-key="source-{esc(source.name)}"><summary><code>{esc(source.name)}</code>'
        f' <span class="soft">{esc(source.grain)}</span></summary>'
        f"<p>{_name(source.name)} <span>A row is {esc(source.grain)}.</span></p><ul>{columns}</ul></details>"
    )


def _name(name: str) -> str:
    return f'<button class="link" data-do="insert" data-name="{esc(name)}"><code>{esc(name)}</code></button>'
