"""What users call a store: a folder, or the URL of a part of a bucket."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cc_ray.errors import StoreError

_SCHEMES: Final = ("s3", "gs", "az", "abfs", "abfss")
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", re.DOTALL)


def whole(root: Path | str) -> str:
    """A store's URL, or the whole path of its folder: it means the same wherever one stands.

    Raises:
        StoreError: As `url_of`.
    """
    return url_of(root) or str(Path(root).expanduser().absolute())


def url_of(root: Path | str) -> str | None:
    """The URL of an object store that a text is meant as; None for a folder.

    Raises:
        StoreError: If it is a URL that no store can have, or one with credentials in it.
    """
    # A path of a URL has lost one of its slashes.
    found = _URL.fullmatch(str(root))
    if found is None:
        return None
    scheme, rest = found[1].lower(), found[2]
    parts = urlsplit(f"{scheme}://{rest}")
    shown = f"{scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    if scheme not in _SCHEMES or not parts.netloc:
        raise StoreError(f"'{shown}' cannot be a store: name a folder or {', '.join(f'{s}://' for s in _SCHEMES)}...")
    before_host = parts.netloc.rpartition("@")[0]
    if parts.query or parts.fragment or ":" in before_host or (before_host and not scheme.startswith("abfs")):
        raise StoreError(f"'{shown}' was given with more than a place: credentials belong into the environment.")
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}"
