"""Gives out the files whose names say what is in them: browsers, and proxies on the way, may keep them."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from dashboards.lasting import files

_KINDS: Final = {"css": "text/css", "js": "text/javascript"}
_YEAR: Final = "public, max-age=31536000, immutable"


async def lasting_file(request: Request) -> Response:
    """Answer with the file `name` of the path; another version of the dashboard had others."""
    name = request.path_params["name"]
    if name not in files:
        return PlainTextResponse("There is no such file (any more): load the page again.\n", 404)
    return Response(files[name], media_type=_KINDS[name.rpartition(".")[2]], headers={"Cache-Control": _YEAR})
