"""The file of an artifact: an image is shown, and every other file is a download."""

from typing import Final

from aiohttp import web

from service.artifacts.operations import find_file
from service.console.artifacts import read_start, sniff_image
from service.http.authentication import get_caller
from service.http.downloads import Download, send_file
from service.http.process import RESOURCES
from service.storage.paths import content_disposition

_BINARY: Final = "application/octet-stream"
_SANDBOX: Final = "sandbox; default-src 'none'; frame-ancestors 'none'"


async def show_artifact(request: web.Request) -> web.StreamResponse:
    """Send the bytes without a redirect. Only a raster image is shown in the browser, in a sandbox."""
    resources = request.app[RESOURCES]
    found = await find_file(resources.pool, get_caller(request), request.match_info["id"])
    image = sniff_image(await read_start(resources, found))
    file = Download(found.path, found.name, image or _BINARY, found.size, found.sha256, found.byte_offset or 0)
    headers = {
        "Content-Security-Policy": _SANDBOX,
        "Content-Disposition": content_disposition(found.name, inline=image is not None),
    }
    return await send_file(request, resources.storage, file, headers)
