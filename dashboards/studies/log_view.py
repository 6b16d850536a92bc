"""What a study's job has written: its last lines, or those that hold a text; lines of errors marked."""

from __future__ import annotations

import re
from typing import Final

from dashboards.markup import esc

SHOWN: Final = 500
"""Lines."""
_WIDEST: Final = 2_000
"""Characters of a line."""
_ERROR: Final = re.compile(
    r"error\b|\bexception\b|\btraceback\b|\bkilled\b|^failed |\b[1-9][\d,]* failed\b", re.IGNORECASE
)
_CONTROL: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
"""What a terminal would take as a colour or a move."""


def bar(study: str, sought: str) -> str:
    """HTML of the search and the button that saves all of it; reports `do="log-search"` and `do="log-save"`."""
    return (
        f'<div class="bar"><input type="text" class="search" data-do="log-search" data-live data-key="log-search" '
        f'aria-label="Search the log" placeholder="Search the log" value="{esc(sought)}">'
        '<span class="actions"><button data-do="log-save" data-key="log-save" '
        f'title="Save the whole log of {esc(study)}">Download</button></span></div>'
    )


def log(text: str, sought: str) -> str:
    """HTML of the last lines of a log.

    Args:
        text: All of it.
        sought: Only lines that hold this, in any case; empty for all.
    """
    lines = _CONTROL.sub("", text).replace("\r\n", "\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    found = [line for line in lines if sought.lower() in line.lower()]
    if not found:
        nothing = f"No line holds “{esc(sought)}”." if sought and lines else "Nothing has been written yet."
        return f'<p class="empty">{nothing}</p>'
    before = len(found) - SHOWN
    note = f'<p class="soft log-note">{before:,} lines before these; Download has all.</p>' if before > 0 else ""
    return (
        f'{note}<pre class="log" data-follow tabindex="0" aria-label="Log">{"".join(map(_line, found[-SHOWN:]))}</pre>'
    )


def _line(line: str) -> str:
    kind = ' class="wrong"' if _ERROR.search(line) else ""
    cut = line if len(line) <= _WIDEST else f"{line[:_WIDEST]} …"
    return f"<span{kind}>{esc(cut)}\n</span>"
