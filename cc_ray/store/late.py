"""Files that pyarrow opens when it reads them, and that need not be there before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs


def opened_late(bring: Callable[[Path], None] | None = None) -> Any:
    """A file system of this machine for datasets: it does not ask whether files are there until they are read.

    Args:
        bring: Sees to it that a file is there.
    """
    return pafs.PyFileSystem(_Late(bring))


class _Late(pafs.FSSpecHandler):  # type: ignore[misc]
    def __init__(self, bring: Callable[[Path], None] | None) -> None:
        # Of what this class can do, pyarrow asks of a dataset of named files that they are opened, and no more.
        super().__init__(None)
        self._bring = bring
        self._local = pafs.LocalFileSystem()

    def get_type_name(self) -> str:
        return "late"

    def open_input_file(self, path: str) -> Any:
        if self._bring is not None:
            self._bring(Path(path))
        return self._local.open_input_file(path)
