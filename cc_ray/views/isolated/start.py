"""Start of a worker process: `python -I start.py FOLDER_OF_CC_RAY STORE spare|now`.

A script rather than a module, because an isolated Python knows only what is installed, and because pyarrow must be kept
from importing pandas, which takes longer than all the rest.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Final

REFUSED: Final = frozenset({"cloudpickle", "numpy", "pandas", "ray", "torch"})


class _Refusal:
    """Finds no module that a worker has no use for."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        if name in REFUSED:
            raise ModuleNotFoundError(f"a worker does without {name}", name=name)


def start() -> None:
    """Run the worker."""
    folder, root, when = sys.argv[1:]
    sys.path.append(folder)
    sys.meta_path.insert(0, _Refusal)
    from cc_ray.views.isolated.worker import main

    main(root, spare=when == "spare")


if __name__ == "__main__":
    start()
