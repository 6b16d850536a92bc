"""Paths of modules: the tree that they form, and finding one by a regular expression."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import pyarrow as pa

from cc_ray.errors import QueryError
from cc_ray.views import Views

LONGEST_PATTERN: Final = 200
"""Characters of a regular expression at most."""


def above(path: str) -> Iterator[str]:
    """The path of every module that holds this one, the whole model ("") first, itself last."""
    yield ""
    for end, sign in enumerate(path):
        if sign == ".":
            yield path[:end]
    if path:
        yield path


def within(path: str, module: str) -> bool:
    """Whether a path is that of a module or lies below it."""
    return not module or path == module or path.startswith(f"{module}.")


def natural(path: str) -> list[tuple[int, str]]:
    """Sort key under which `blocks.10` comes after `blocks.9`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in path.split(".")] if path else []


def node(path: str) -> dict[str, Any]:
    """What a path says of its place in the tree: path, parent (null at the root), name, depth."""
    parent, _, name = path.rpartition(".")
    depth = path.count(".") + 1 if path else 0
    return {"path": path, "parent": parent if path else None, "name": name, "depth": depth}


def matching(views: Views, paths: Iterable[str], pattern: str) -> list[str]:
    """The topmost paths in which a regular expression is found, in natural order; upper and lower case are alike.

    The expression is RE2's: it has no look-around and no back-references, and takes time linear in the path's length.

    Raises:
        QueryError: If the pattern is none, or longer than `LONGEST_PATTERN`.
    """
    if len(pattern) > LONGEST_PATTERN:
        raise QueryError(
            f"a pattern of {len(pattern)} characters is too long: at most {LONGEST_PATTERN} are allowed. Shorten it."
        )
    candidates = sorted({path for path in paths if path}, key=natural)
    given = pa.table({"path": pa.array(candidates, pa.string())})
    try:
        hits = views.sql("SELECT path FROM given WHERE regexp_matches(path, ?, 'i')", [pattern], {"given": given})
    except QueryError as error:
        reason = str(error).removeprefix("Invalid Input Error: ")
        raise QueryError(
            f"'{pattern}' is no regular expression: {reason} Write, for example, 'layer1.*conv'; a dot that is meant "
            "as one is '\\.'."
        ) from error
    return _topmost(set(hits["path"].to_pylist()), candidates)


def _topmost(hits: set[str], candidates: list[str]) -> list[str]:
    return [path for path in candidates if path in hits and not any(up in hits for up in list(above(path))[:-1])]
