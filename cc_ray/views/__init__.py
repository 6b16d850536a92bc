"""Read-only DuckDB over a store: named views, one SQL file each. `README.md` beside this file lists every column."""

from cc_ray.views.opening import Views, open_views

__all__ = ["Views", "open_views"]
