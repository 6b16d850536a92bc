"""Storage: tables as Parquet, models by content. The contract stands at the top of `tables.py`."""

from cc_ray.store.tables import Store

__all__ = ["Store"]
