"""The HTTP API: the questions of the catalogue, SQL and the store's lists, for programs.

`/api/v1/...` is version 1; `/api/...` is always the newest. Described by OpenAPI at `/api/openapi.json`.
"""

from cc_ray.api.application import build_api

__all__ = ["build_api"]
