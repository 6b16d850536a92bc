"""Somebody who is known, for a while."""

from __future__ import annotations

from dataclasses import dataclass

from dashboards.user import OPERATOR


@dataclass(frozen=True)
class Identity:
    """Who asks."""

    name: str
    """Empty where there is no login."""
    role: str
    """`reader` or `operator`."""
    until: float | None = None
    """When the login ends, in seconds since 1970; None where it does not."""
    program: bool = False
    """Whether it came by a token or a password with the request itself."""

    @property
    def operator(self) -> bool:
        """Whether they may write."""
        return self.role == OPERATOR
