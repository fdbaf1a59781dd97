"""Static files: style sheets, scripts, and images, whose names contain a digest of their content."""

import gzip
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import PurePath
from typing import Final, NamedTuple

from aiohttp import web

from service.api.http.compression import accepted_encodings
from service.domain.errors import NotFound

_TYPES: Final = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
}
_DIGEST_DIGITS: Final = 12
_IMMUTABLE: Final = "public, max-age=31536000, immutable"


class StaticFile(NamedTuple):
    """A file in memory, and compressed if that is smaller."""

    content: bytes
    compressed: bytes | None
    content_type: str


class StaticFiles:
    """The files of this installation. A changed file has another name, so that caches never expire it."""

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        self._names = {name: _hashed_name(name, content) for name, content in contents.items()}
        self._files = {self._names[name]: _load(name, content) for name, content in contents.items()}

    def hashed_name(self, name: str) -> str:
        """Return the name that contains the digest. Raises KeyError if the file doesn't exist."""
        return self._names[name]

    def find(self, hashed_name: str) -> StaticFile:
        """Return a file. Raises NotFound."""
        if hashed_name not in self._files:
            raise NotFound("the file doesn't exist in this version")
        return self._files[hashed_name]


STATIC_FILES: Final = web.AppKey("static_files", StaticFiles)


@cache
def read_static_files() -> StaticFiles:
    """Read the files of this package."""
    folder = files("service.console") / "static"
    return StaticFiles({file.name: file.read_bytes() for file in folder.iterdir() if PurePath(file.name).suffix})


async def get_static_file(request: web.Request) -> web.Response:
    """Return a static file, which never changes under its name."""
    file = request.app[STATIC_FILES].find(request.match_info["name"])
    response = web.Response(body=file.content, content_type=file.content_type)
    response.headers["Cache-Control"] = _IMMUTABLE
    if file.compressed is not None:
        response.headers["Vary"] = "Accept-Encoding"
        if "gzip" in accepted_encodings(request):
            response.body, response.headers["Content-Encoding"] = file.compressed, "gzip"
    return response


def _hashed_name(name: str, content: bytes) -> str:
    path = PurePath(name)
    return f"{path.stem}.{sha256(content).hexdigest()[:_DIGEST_DIGITS]}{path.suffix}"


def _load(name: str, content: bytes) -> StaticFile:
    compressed = gzip.compress(content, mtime=0)
    smaller = compressed if len(compressed) < len(content) else None
    return StaticFile(content, smaller, _TYPES[PurePath(name).suffix])
