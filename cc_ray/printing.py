"""What a step prints, and the traceback of one that fails: as much of them as a row keeps."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import TextIOBase
from typing import Final, TextIO

KEPT: Final = 16_000
"""Characters; what came before them is left out."""


class Printed:
    """The end of what was printed so far."""

    def __init__(self) -> None:
        self._text = ""

    def add(self, text: str) -> None:
        """Hear more."""
        self._text = (self._text + text)[-KEPT:]

    @property
    def text(self) -> str | None:
        """What was heard; None where that is nothing."""
        return self._text or None


@contextmanager
def heard() -> Iterator[Printed]:
    """Hear what this process prints meanwhile, and pass it on.

    Only in the main thread, where steps of a cluster run: what `sys.stdout` is holds for all threads.
    """
    printed = Printed()
    if threading.current_thread() is not threading.main_thread():
        yield printed
        return
    with redirect_stdout(_Tee(sys.stdout, printed)), redirect_stderr(_Tee(sys.stderr, printed)):
        yield printed


def traced(error: BaseException) -> str:
    """The end of an error's traceback; of the lines of code that it went through, not of the values that they had."""
    return "".join(traceback.format_exception(error))[-KEPT:]


class _Tee(TextIOBase):
    def __init__(self, target: TextIO, printed: Printed) -> None:
        self._target = target
        self._printed = printed

    def write(self, text: str) -> int:
        self._printed.add(text)
        return self._target.write(text)

    def flush(self) -> None:
        self._target.flush()

    def isatty(self) -> bool:
        # Who asks at the end of the process may ask after its target was closed.
        return not self._target.closed and self._target.isatty()

    def fileno(self) -> int:
        return self._target.fileno()
