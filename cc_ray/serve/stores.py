"""The stores that a dashboard may show, by the names that addresses have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Final

from cc_ray.errors import CcRayError
from cc_ray.store.address import whole

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NAMED: Final = re.compile(r"([^=/:]+)=(.+)", re.DOTALL)


def allowed(root: str, further: Mapping[str, str]) -> dict[str, str]:
    """All stores by name, first the one that is shown where none is named.

    Args:
        root: The first one: a folder or URL. It has the name that `further` gives it, else one made from its own.
        further: Stores by name.

    Raises:
        CcRayError: If two would have the same name.
        StoreError: If one cannot be a store.
    """
    roots = {checked_name(name): whole(each) for name, each in further.items()}
    first = whole(root)
    name = next((name for name, each in roots.items() if each == first), name_of(first))
    if roots.get(name, first) != first:
        raise CcRayError(f"two stores are called '{name}': give one another name, NAME={roots[name]}.")
    return {name: first} | roots


def named(texts: Iterable[str]) -> dict[str, str]:
    """Stores by name, as they are written on a command line: a folder or URL each, or NAME=either.

    Raises:
        CcRayError: If a name is not one, or two are alike.
    """
    found: dict[str, str] = {}
    for text in texts:
        parts = _NAMED.fullmatch(text)
        name, root = (checked_name(parts[1]), parts[2]) if parts else (name_of(whole(text)), text)
        if name in found:
            raise CcRayError(f"two stores are called '{name}': give one another name, NAME={root}.")
        found[name] = root
    return found


def checked_name(name: str) -> str:
    """The same.

    Raises:
        CcRayError: If it cannot stand in an address as it is.
    """
    if not _NAME.fullmatch(name):
        raise CcRayError(
            f"'{name}' cannot be the name of a store: at most 64 letters, digits, '.', '_' and '-', first a letter or "
            "digit."
        )
    return name


def name_of(root: str) -> str:
    """A name made from the last part of a folder or URL."""
    words = re.findall(r"[A-Za-z0-9._-]+", PurePath(root).name)
    return "-".join(words).strip("._-")[:64] or "store"
