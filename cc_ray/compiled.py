"""Loops over values as machine code (Numba): made when a loop is first called, and kept on disk for later processes.

A compiled loop holds no lock of the interpreter, so threads run it side by side; many short calls of numpy wait for
one another. It takes arrays and numbers, and trusts them: whoever calls it has checked that they fit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from threading import Lock
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def compiled(loop: Callable[P, T]) -> Callable[P, T]:
    """Compile a loop when it is first called, so that importing it costs nothing.

    Sums may be added up in any order, as many at once as the processor can.
    """
    made: list[Callable[P, T]] = []
    making = Lock()

    @wraps(loop)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        if not made:
            with making:
                if not made:
                    made.append(_machine_code(loop))
        return made[0](*args, **kwargs)

    return run


def _machine_code(loop: Callable[P, T]) -> Callable[P, T]:
    from numba import njit

    how: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "nsz"}}
    try:
        found: Callable[P, T] = njit(cache=True, **how)(loop)
    except RuntimeError:  # There is no folder that it may be kept in.
        found = njit(**how)(loop)
    return found
