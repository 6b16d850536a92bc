"""Who looks at a tab and what they may do, as whoever serves the dashboard says in headers that nobody else sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

NAME_HEADER: Final = "x-cc-ray-user"
ROLE_HEADER: Final = "x-cc-ray-role"
READER: Final = "reader"
OPERATOR: Final = "operator"


@dataclass(frozen=True)
class User:
    """The person at a tab."""

    name: str = ""
    """As the login knows them; empty where there is no login."""
    operator: bool = False
    """Whether they may write: start and stop studies, save comparisons. Others only read."""

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> User:
        """The user whom the headers of a tab's request name, in any case; a reader without a name if they do not."""
        found = {name.lower(): value for name, value in headers.items()}
        return cls(found.get(NAME_HEADER, ""), found.get(ROLE_HEADER) == OPERATOR)
