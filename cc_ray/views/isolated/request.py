"""What goes to a worker."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Self

from cc_ray.errors import QueryError

LONGEST_LINE: Final = 4 * 2**20
"""Bytes of a written request at most."""


@dataclass(frozen=True)
class Limits:
    """What one query may take."""

    seconds: float = 30.0
    """Wall time from the request to the answer, in seconds; processor time is bounded by it, too."""
    memory_bytes: int = 2**30
    """Memory beyond what an idle worker holds."""
    rows: int = 10_000
    """Rows of the answer; what is more is cut off and said to be."""
    result_bytes: int = 64 * 2**20
    """Bytes of the answer, in memory and as written."""


@dataclass(frozen=True)
class Request:
    """One question."""

    query: str
    parameters: Sequence[Any] | Mapping[str, Any] | None = None
    format: str = "arrow"
    """One of `formats.FORMATS`."""
    offset: int = 0
    """Rows of the answer to leave out before the first one."""
    explain: bool = False
    """Answer with the query's plan instead of running it."""
    limits: Limits = field(default_factory=Limits)

    def to_line(self) -> bytes:
        """One line of JSON.

        Raises:
            QueryError: If a parameter is of a kind that JSON does not have, or all is too long.
        """
        try:
            line = json.dumps(asdict(self)).encode() + b"\n"
        except (TypeError, ValueError, RecursionError) as error:
            raise QueryError(f"a parameter cannot be sent: {error}. Numbers, texts, lists and null can.") from error
        if len(line) > LONGEST_LINE:
            raise QueryError(f"the query and its parameters have {len(line)} bytes; {LONGEST_LINE} are allowed.")
        return line

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """The opposite of `to_line`."""
        found = json.loads(line)
        limits = Limits(**found.pop("limits"))
        return cls(**{f.name: found[f.name] for f in fields(cls) if f.name in found}, limits=limits)
