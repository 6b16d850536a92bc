"""What people saved of the dashboard's screen, under a name."""

from __future__ import annotations

import difflib

import pyarrow as pa

from cc_ray.compare.asking import Row, positions
from cc_ray.errors import ParameterError
from cc_ray.views import Views


def comparisons(views: Views) -> pa.Table:
    """The saved comparisons, the last changed first, with the columns of the view, and `gone`.

    `gone` holds the model_id of those of its models that the store has no more.
    """
    found = views.sql('SELECT * FROM comparisons ORDER BY "at" DESC, comparison_id')
    there = positions(views)
    gone = [[id for id in ids if id not in there] for ids in found["models"].to_pylist()]
    return found.append_column("gone", pa.array(gone, pa.list_(pa.string())))


def comparison(views: Views, name: str) -> Row:
    """One saved comparison by its name, or by the first digits of its identity; of several of one name the last.

    Raises:
        ParameterError: If there is none; the message names the nearest.
    """
    rows: list[Row] = comparisons(views).to_pylist()
    named = [row for row in rows if row["name"].lower() == name.strip().lower()]
    known = [row for row in rows if row["comparison_id"].startswith(name)] if name else []
    if named or known:
        return (named or known)[0]
    nearest = difflib.get_close_matches(name, [row["name"] for row in rows], n=3, cutoff=0.3)
    hint = f"did you mean {' or '.join(repr(each) for each in nearest)}?" if nearest else "none is saved like that."
    raise ParameterError(f"no comparison '{name}': {hint}")
