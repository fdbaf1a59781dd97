"""The OpenAPI document and the API reference page, which loads no external assets."""

from importlib.resources import files
from typing import Final

from aiohttp import web

from service.domain.errors import NotFound

DOCUMENT: Final = web.AppKey("document", bytes)

_ASSETS: Final = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
_POLICY: Final = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; script-src 'self'"
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Results API</title>
<link rel="icon" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="page"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
_START: Final = """SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#page", deepLinking: true, validatorUrl: null, docExpansion: "list"
});
"""


async def get_openapi_document(request: web.Request) -> web.Response:
    """Return the OpenAPI document."""
    return web.Response(body=request.app[DOCUMENT], content_type="application/json")


async def get_documentation_page(_: web.Request) -> web.Response:
    """Return the API reference page."""
    return web.Response(text=_PAGE, content_type="text/html", headers={"Content-Security-Policy": _POLICY})


async def get_documentation_asset(request: web.Request) -> web.Response:
    """Return a script, style sheet, or icon of the API reference page."""
    name = request.match_info["name"]
    if name == "start.js":
        return web.Response(text=_START, content_type="text/javascript")
    if name not in _ASSETS:
        raise NotFound(f"asset {name[:100]!r} not found")
    body = files("swagger_ui").joinpath("static", name).read_bytes()
    return web.Response(body=body, content_type=_ASSETS[name], headers={"Cache-Control": "max-age=86400"})
