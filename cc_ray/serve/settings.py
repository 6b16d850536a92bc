"""What may be set about how the dashboard is served."""

from __future__ import annotations

import os
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Final

from pydantic import BaseModel, Field

from cc_ray.errors import CcRayError
from cc_ray.store.address import url_of

LOCAL: Final = ("127.0.0.1", "localhost")
"""What this machine calls itself. Served to it alone, no other name is answered: a foreign page could otherwise reach
the dashboard under a name of its own that leads here."""


class Settings(BaseModel, extra="forbid", frozen=True):
    """What every replica knows."""

    hosts: tuple[str, ...] = LOCAL
    """Names that it answers to, without ports; "*" for any."""
    login: str = ""
    """The login file (`login/file.py`), by its whole path, as every node sees it. Empty: there is no login; who asks
    from the machine itself is an operator, and others read."""
    proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Addresses, or networks, of proxies whose `X-Forwarded-` headers are believed."""
    session_hours: float = Field(default=12.0, gt=0, le=720)
    """How long a login lasts."""
    stores: dict[str, str] = Field(default_factory=dict)
    """Further stores that tabs may change to, by the names that addresses have: each a folder, by its whole path, or a
    URL. No tab opens any other."""
    jobs: str = ""
    """Address of the cluster's job server, which runs the studies that operators start: http://HEAD:8265. Left out, it
    is that of `RAY_API_SERVER_ADDRESS`; without one they are processes of the replica's machine."""


class Arguments(Settings, frozen=True):
    """What a Serve config says under `args` of an application."""

    store: str = Field(default_factory=lambda: os.environ.get("CC_RAY_STORE", ""))
    """The store's folder, as every node sees it, or its URL; `CC_RAY_STORE` of the cluster where it is left out."""
    replicas: int = Field(default=1, ge=1, le=64)
    """Processes that share the work: each holds some of the tabs."""

    def checked(self) -> Arguments:
        """The same.

        Raises:
            CcRayError: If a store or the login file is not named by its whole path.
        """
        # Serve builds applications in a folder of its own.
        if not _is_whole(self.store):
            raise CcRayError(
                f"the store '{self.store}' is not a whole path. Set `store` under `args`, or CC_RAY_STORE, to one."
            )
        for name, root in self.stores.items():
            if not _is_whole(root):
                raise CcRayError(f"the store '{root}' is not a whole path. Set `{name}` of `stores` to one.")
        if self.login and not Path(self.login).is_absolute():
            raise CcRayError(f"the login file '{self.login}' is not a whole path. Set `login` under `args` to one.")
        return self


def _is_whole(root: str) -> bool:
    return url_of(root) is not None or Path(root).is_absolute()
