"""A store that is away for a while, as a mount is whose server restarts: whoever needs it waits, within bounds.

What is missing in a folder that is away proves nothing: its batches would be made a second time, and rows written into
the empty folder below a lost mount. The store's marker tells the two apart.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from cc_ray.errors import StoreUnavailableError
from cc_ray.store.layout import Layout

T = TypeVar("T")
Other = TypeVar("Other")

PATIENCE_S: Final = 60.0
"""How long a store may be away before whoever needs it gives up."""
_PAUSE_S: Final = 0.5
_away_since: dict[Path, float] = {}
"""When this process first found a store away, by root, for as long as it is: patience is for an outage, not a call."""
_AWAY: Final = frozenset(
    {errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENODEV}
)
"""What a file system says whose disk or server does not answer."""


def patiently(layout: Layout, action: Callable[[], T]) -> T:
    """Use files of a store; where it is away, wait for it and begin again.

    Args:
        layout: Paths of the store.
        action: May be begun several times.

    Raises:
        StoreUnavailableError: If the store stays away.
        OSError: What the action raises while the store is there; that a file is missing, twice.
    """
    missing = False
    while True:
        try:
            found = action()
        except OSError as error:
            if not _is_away(layout, error):
                # The store may have come back between the two: what is missing twice is missing.
                if missing or error.errno != errno.ENOENT:
                    raise
                missing = True
                continue
            missing = False
            since = _away_since.setdefault(layout.root, time.monotonic())
            if time.monotonic() - since >= PATIENCE_S:
                raise StoreUnavailableError(
                    f"the store {layout.root} has not answered for {PATIENCE_S:g} s: {error}. Bring it back and run "
                    "the same command again: it goes on from there."
                ) from error
            time.sleep(_PAUSE_S)
        else:
            _away_since.pop(layout.root, None)
            return found


def waited_already(layout: Layout) -> None:
    """Hear that others have waited for a store in vain: for as long as it is away, this process does not wait again."""
    _away_since[layout.root] = time.monotonic() - PATIENCE_S


def unless_absent(layout: Layout, read: Callable[[], T], absent: Other) -> T | Other:
    """What a read gives, or another value where there is nothing to be read; only of a store that is there.

    Raises:
        StoreUnavailableError: If the store stays away.
    """

    def certain() -> T | Other:
        try:
            return read()
        except FileNotFoundError:
            layout.check_there()
        # It may have come back between the two.
        try:
            return read()
        except FileNotFoundError:
            return absent

    return patiently(layout, certain)


def _is_away(layout: Layout, error: OSError) -> bool:
    if error.errno in _AWAY:
        return True
    if error.errno != errno.ENOENT:
        return False
    try:
        layout.check_there()
    except OSError:
        return True
    return False
