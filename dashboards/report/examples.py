"""Examples: a few instances that the base gets right and a model gets wrong."""

from __future__ import annotations

from typing import Any, Final

from cc_ray import compare
from dashboards.behaviour.asked import Asked
from dashboards.gallery import figures, marks
from dashboards.snapshot import Row

MOST: Final = 12
PICTURE_BYTES: Final = 150_000
"""A larger picture is not put into the file."""
TEXT_CHARACTERS: Final = 2_000
"""A longer text is cut off."""


def examples(asked: Asked) -> str:
    """The instances whose true class lost most probability."""
    found = compare.instances(
        asked.snapshot.views, asked.now.shown, asked.now.base, only="lost", sort="change", limit=MOST
    )
    if not found.count:
        return "<h2>Lost instances</h2><p>No instance that the base gets right is wrong under these models.</p>"
    rows: list[Row] = [bounded(row) for row in found.table.to_pylist()]
    letters = marks({id: place for place, id in enumerate(asked.now.shown)})
    lead = f"<h2>Lost instances <small>{len(rows)} of {found.count:,}: where the true class lost most</small></h2>"
    return lead + figures(rows, letters)


def bounded(row: Row) -> dict[str, Any]:
    """A row of instances whose payload a file has room for."""
    data, kind = row["payload"], row["payload_type"]
    if data is None:
        return row
    if kind == "image/png":
        if len(data) <= PICTURE_BYTES:
            return row
        return row | {"payload": f"a picture of {len(data) / 1e6:.1f} MB".encode(), "payload_type": "text/plain"}
    text = data.decode(errors="replace")
    return row if len(text) <= TEXT_CHARACTERS else row | {"payload": f"{text[:TEXT_CHARACTERS]} …".encode()}
