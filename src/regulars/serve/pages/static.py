"""Scripts and styles, from the package alone; plotly's script comes from its wheel."""

from __future__ import annotations

import gzip
from functools import cache
from importlib import resources
from typing import Any

from litestar import Request, Response, get
from litestar.params import FromPath

from regulars.serve.problems import NotFound

FILES = {
    "style.css": "text/css; charset=utf-8", "common.js": "text/javascript; charset=utf-8",
    "shop.js": "text/javascript; charset=utf-8", "dashboard.js": "text/javascript; charset=utf-8",
    "plotly.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml",
}  # fmt: skip


@cache
def _packed(name: str) -> bytes:
    """A file, gzipped once."""
    if name == "plotly.js":
        source = resources.files("plotly") / "package_data" / "plotly.min.js"
    else:
        source = resources.files("regulars.serve.pages") / "static" / name
    return gzip.compress(source.read_bytes(), compresslevel=6, mtime=0)


def _answer(request: Request[Any, Any, Any], name: str) -> Response[bytes]:
    if name not in FILES:
        raise NotFound(f"/static/{name}", wanted=", ".join(FILES))
    packed = _packed(name)
    headers = {"Cache-Control": "max-age=86400" if name == "plotly.js" else "no-cache", "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(packed, media_type=FILES[name], headers={**headers, "Content-Encoding": "gzip"})
    return Response(gzip.decompress(packed), media_type=FILES[name], headers=headers)


@get("/static/{name:str}", sync_to_thread=False, include_in_schema=False)
def static(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
    """Return one of our files."""
    return _answer(request, name)


@get("/favicon.ico", sync_to_thread=False, include_in_schema=False)
def favicon(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Return the icon to browsers that ask at the old place."""
    return _answer(request, "icon.svg")


ROUTES: list[Any] = [static, favicon]
