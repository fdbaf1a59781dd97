"""The OpenAPI document and the API reference page, which loads no external assets."""

from importlib.resources import files
from typing import Any, Final

from aiohttp import web

from service.domain.errors import NotFound
from service.http.routes import BINARY, Operation, Route

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


ROUTES: Final = (
    Route("GET", "/openapi.json", get_openapi_document, None, Operation(
        "get_openapi_document", "Get this OpenAPI document", {200: dict[str, Any]},
        description="OpenAPI 3.1, for client generators.",
    )),
    Route("GET", "/docs", get_documentation_page, None, Operation(
        "get_documentation_page", "Get the API reference as a web page", {200: "text/html"},
        description="Sends requests from the browser with an API key that you enter.",
    )),
    Route("GET", "/docs/{name}", get_documentation_asset, None, Operation(
        "get_documentation_asset", "Get an asset of the API reference", {200: BINARY}, errors=("not_found",),
        description="A script, a style sheet, or an icon.",
    )),
)  # fmt: skip
