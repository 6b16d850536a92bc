"""Keeps a job of this machine: runs its command in a session of its own, and writes down how it ended.

`python -P keeper.py FOLDER LOCK COMMAND...` returns at once; it imports nothing, so that it is quick and may fork. The
process that stays holds the lock, a file descriptor, for as long as the command runs: whoever finds it free knows that
the job has ended, however it did.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path


def keep(folder: Path, lock: int, command: list[str]) -> int:
    """Run a command to its end; SIGTERM is passed on to it.

    Args:
        folder: Takes its `log`, `pid` (of this process) and, in the end, `exit` (its code).
        lock: A locked file, which is let go of at the end.
        command: What to run.

    Returns:
        The exit code, as a shell would tell it.
    """
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        _written(folder / "pid", os.getpid())
        code = process.wait()
    code = code if code >= 0 else 128 - code
    _written(folder / "exit", code)
    os.close(lock)
    return code


def _written(file: Path, number: int) -> None:
    """Write a number whole or not at all."""
    part = file.with_suffix(".part")
    part.write_text(str(number))
    part.replace(file)


def main() -> None:
    """Leave the process that starts this, which may end before the job does and would take it along."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork() == 0:
        os.setsid()
        keep(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
    os._exit(0)


if __name__ == "__main__":
    main()
