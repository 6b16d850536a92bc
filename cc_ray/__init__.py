"""CC-Ray: explore, record and compare compressed models.

import cc_ray

store = cc_ray.open("cc-ray-store")
store.models()
store.sql("SELECT ...")
store.compare([...])
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cc_ray.notebook import Notebook

__all__ = ["open"]


def open(store: Path | str | None = None, *, create: bool = False) -> Notebook:
    """Open a store for questions, and for models of your own (`log_model`).

    Args:
        store: The store's folder or URL; without it `CC_RAY_STORE`, else `./cc-ray-store`.
        create: Make it a store if it is not one yet.

    Raises:
        StoreError: If it is not a store.
    """
    # Imported here, so that the command line starts without DuckDB.
    from cc_ray.notebook import Notebook

    return Notebook(store, create=create)
