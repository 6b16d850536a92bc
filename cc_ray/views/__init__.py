"""Read-only DuckDB over a store: named views, one SQL file each."""
