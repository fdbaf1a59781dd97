"""Files of artifacts: which ones a browser shows as images, the texts of logs, and the download of every file.

Producers choose names and content types, so only the first bytes of a file decide whether it is an image. HTML and SVG
never are images, because they can contain scripts.
"""

import asyncio
from collections.abc import Sequence
from shlex import quote
from typing import Final, NamedTuple

from aiohttp import web

from service.artifacts.contract import Artifact
from service.artifacts.operations import StoredFile, find_file
from service.console.pages import ConsoleRoute, page
from service.contracts.queries import Cursor, PageQuery, Query
from service.domain.errors import NotFound, Unavailable
from service.failures.model import strip_escapes
from service.http.authentication import get_caller
from service.http.downloads import Download, send_file
from service.http.parsing import parse_query
from service.http.process import RESOURCES, Resources
from service.identity.keys.model import Caller
from service.storage.paths import content_disposition

_BINARY: Final = "application/octet-stream"
_SANDBOX: Final = "sandbox; default-src 'none'; frame-ancestors 'none'"
SNIFFED_BYTES: Final = 16
_MAX_LOG_BYTES: Final = 32 * 2**10
_MAX_LOGS: Final = 4
_MAX_IMAGES: Final = 8
_TIMEOUT_S: Final = 3.0  # for all files of a page
_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)


async def show_artifact(request: web.Request) -> web.StreamResponse:
    """Send the bytes without a redirect. Only a raster image is shown in the browser, in a sandbox."""
    resources = request.app[RESOURCES]
    found = await find_file(resources.pool, get_caller(request), request.match_info["id"])
    image = sniff_image(await _read(resources, found, 0, SNIFFED_BYTES))
    file = Download(found.path, found.name, image or _BINARY, found.size, found.sha256, found.byte_offset or 0)
    headers = {
        "Content-Security-Policy": _SANDBOX,
        "Content-Disposition": content_disposition(found.name, inline=image is not None),
    }
    return await send_file(request, resources.storage, file, headers)


def sniff_image(start: bytes) -> str | None:
    """Return the content type of a raster image that starts with these bytes, or None for every other file."""
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "image/webp"
    return next((type_ for signature, type_ in _SIGNATURES if start.startswith(signature)), None)


async def _read(resources: Resources, file: StoredFile, start: int, end: int) -> bytes:
    offset = file.byte_offset or 0
    chunks = await resources.storage.read(file.path, offset + start, offset + min(end, file.size))
    return b"".join([chunk async for chunk in chunks])


class ArtifactsQuery(Query):
    """The position in the list of artifacts on the page of a run or result."""

    starting_after: Cursor | None = None


def read_artifacts_query(request: web.Request, limit: int) -> PageQuery:
    """Return the query of the list of artifacts on the page of a run or result. Raises InvalidRequest."""
    return PageQuery(limit=limit, starting_after=parse_query(request, ArtifactsQuery).starting_after)


def trace_command(artifact: Artifact) -> str | None:
    """Return the command that opens a downloaded trace of Playwright, or None for other files and missing ones."""
    name = artifact["name"].replace("/", "_").replace("\\", "_")  # as browsers save it
    if artifact["url"] is None or artifact["kind"] != "trace" or not name.endswith(".zip"):
        return None
    return f"npx playwright show-trace {quote(f'./{name}' if name.startswith('-') else name)}"


class LogText(NamedTuple):
    """The text of a log, or only its end. `omitted` is the number of bytes before it. None if it can't be read."""

    artifact: Artifact
    text: str | None
    omitted: int


class _FilePart(NamedTuple):
    start: int
    content: bytes


class Previews:
    """Reads parts of files for one page. A storage that fails or is slow costs a page only a few seconds altogether."""

    def __init__(self, resources: Resources, caller: Caller) -> None:
        self._resources = resources
        self._caller = caller
        self._ends_at = asyncio.get_running_loop().time() + _TIMEOUT_S
        self._has_failed = False

    async def find_images(self, artifacts: Sequence[Artifact]) -> list[Artifact]:
        """Return the artifacts that a browser shows as images. Examine only the first ones that are declared as images.

        Files that can't be read are omitted.
        """
        declared = [artifact for artifact in artifacts if artifact["url"] and _is_declared_image(artifact)]
        return [artifact for artifact in declared[:_MAX_IMAGES] if await self._is_image(artifact)]

    async def find_logs(self, artifacts: Sequence[Artifact]) -> list[LogText]:
        """Return the texts of the first logs."""
        logs = [artifact for artifact in artifacts if artifact["url"] and _is_log(artifact)]
        return [await self._read_log(artifact) for artifact in logs[:_MAX_LOGS]]

    async def _is_image(self, artifact: Artifact) -> bool:
        start = await self._read(artifact, SNIFFED_BYTES)
        return start is not None and sniff_image(start.content) is not None

    async def _read_log(self, artifact: Artifact) -> LogText:
        end = await self._read(artifact, _MAX_LOG_BYTES, from_end=True)
        if end is None:
            return LogText(artifact, None, 0)
        skipped = end.content.find(b"\n") + 1 if end.start else 0  # start with a complete line
        text = end.content[skipped:].decode(errors="replace")
        return LogText(artifact, strip_escapes(text), end.start + skipped)

    async def _read(self, artifact: Artifact, count: int, *, from_end: bool = False) -> _FilePart | None:
        """Return the first or last bytes of the file, or None if it can't be read."""
        if self._has_failed:
            return None
        try:
            file = await find_file(self._resources.pool, self._caller, artifact["id"])
            start = max(0, file.size - count) if from_end else 0
            async with asyncio.timeout_at(self._ends_at):
                return _FilePart(start, await _read(self._resources, file, start, start + count))
        except NotFound:
            return None
        except (Unavailable, TimeoutError):
            self._has_failed = True
            return None


def _is_declared_image(artifact: Artifact) -> bool:
    type_ = artifact["content_type"] or ""
    return artifact["kind"] == "screenshot" or type_.startswith("image/")


def _is_log(artifact: Artifact) -> bool:
    type_ = artifact["content_type"] or ""
    return artifact["kind"] == "log" or type_.startswith("text/plain")


ROUTES: Final = (ConsoleRoute("artifact", "/console/artifacts/{id}", page("results:read", show_artifact)),)
