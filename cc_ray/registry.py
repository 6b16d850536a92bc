"""How operations, metrics, tasks and dashboard views announce themselves.

A registry fills itself on first use: it imports every module of its home package, where each file registers what it
defines, and then the entry points of installed packages under the same name. A new member is one new file.
"""

from __future__ import annotations

import importlib
import pkgutil
import threading
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from cc_ray.errors import UnknownNameError

Member = TypeVar("Member")


class Registry(Generic[Member]):
    """Members by name, in order of name.

    Args:
        home: Package whose modules are imported on first use.
        group: Entry-point group through which installed packages add members.
        unknown: The error raised for a name that nobody registered.
    """

    def __init__(self, home: str, group: str, unknown: type[UnknownNameError]) -> None:
        self._home = home
        self._group = group
        self._unknown = unknown
        self._members: dict[str, Member] = {}
        self._filled = False
        self._lock = threading.RLock()

    def register(self, name: str) -> Callable[[Member], Member]:
        """Return a decorator that files its object under `name`.

        Raises:
            ValueError: If another object holds the name already.
        """

        def add(member: Member) -> Member:
            held = self._members.setdefault(name, member)
            if held is not member:
                raise ValueError(f"{self._group}: two members are called '{name}': {held!r} and {member!r}.")
            return member

        return add

    def __getitem__(self, name: str) -> Member:
        self._fill()
        try:
            return self._members[name]
        except KeyError:
            raise self._unknown(name, self._members) from None

    def __iter__(self) -> Iterator[str]:
        self._fill()
        return iter(sorted(self._members))

    def items(self) -> list[tuple[str, Member]]:
        """All members with their names, in order of name."""
        return [(name, self._members[name]) for name in self]

    def _fill(self) -> None:
        # Other threads wait until all is there; the modules that are being imported may ask again.
        with self._lock:
            if self._filled:
                return
            self._filled = True
            home = importlib.import_module(self._home)
            for module in pkgutil.iter_modules(home.__path__, f"{self._home}."):
                importlib.import_module(module.name)
            for entry in entry_points(group=self._group):
                entry.load()
