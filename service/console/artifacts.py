"""Artifacts in the console: which ones a browser shows as images, and the texts of logs.

Producers choose names and content types, so only the first bytes of a file decide whether it is an image. HTML and SVG
never are: they can contain scripts.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from service.domain.errors import NotFound, Unavailable
from service.domain.failures import strip_escapes
from service.domain.keys import Caller
from service.storage import Storage
from service.store.postgres.database import Pool
from service.usecases.lists.list_artifacts import StoredFile, find_file

SNIFFED_BYTES: Final = 16
_MAX_LOG_BYTES: Final = 32 * 2**10
_MAX_LOGS: Final = 4
_MAX_IMAGES: Final = 8
_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)


class LogText(NamedTuple):
    """The text of a log, or only its end. `omitted` is the number of bytes before it. None if it can't be read."""

    artifact: dict[str, Any]
    text: str | None
    omitted: int


def sniff_image(start: bytes) -> str | None:
    """Return the content type of a raster image that starts with these bytes, or None for every other file."""
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "image/webp"
    return next((type_ for signature, type_ in _SIGNATURES if start.startswith(signature)), None)


async def read_start(storage: Storage, file: StoredFile) -> bytes:
    """Return the first bytes of a file. Raises NotFound and Unavailable."""
    return await _read(storage, file, 0, SNIFFED_BYTES)


async def find_images(
    pool: Pool, storage: Storage, caller: Caller, artifacts: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the artifacts that a browser shows as images: the first ones that are declared as images and are images.

    Files that can't be read are left out.
    """
    declared = [artifact for artifact in artifacts if artifact["url"] and _is_declared_image(artifact)]
    images = []
    for artifact in declared[:_MAX_IMAGES]:
        try:
            start = await read_start(storage, await find_file(pool, caller, artifact["id"]))
        except (NotFound, Unavailable):
            continue
        if sniff_image(start):
            images.append(artifact)
    return images


async def find_logs(pool: Pool, storage: Storage, caller: Caller, artifacts: Sequence[dict[str, Any]]) -> list[LogText]:
    """Return the texts of the first logs."""
    logs = [artifact for artifact in artifacts if artifact["url"] and _is_log(artifact)]
    return [await _read_log(pool, storage, caller, artifact) for artifact in logs[:_MAX_LOGS]]


async def _read_log(pool: Pool, storage: Storage, caller: Caller, artifact: dict[str, Any]) -> LogText:
    try:
        file = await find_file(pool, caller, artifact["id"])
        omitted = max(0, file.size - _MAX_LOG_BYTES)
        content = await _read(storage, file, omitted, file.size)
    except (NotFound, Unavailable):
        return LogText(artifact, None, 0)
    if omitted:  # continue with a complete line
        omitted += content.find(b"\n") + 1
        content = content[content.find(b"\n") + 1 :]
    return LogText(artifact, strip_escapes(content.decode(errors="replace")), omitted)


async def _read(storage: Storage, file: StoredFile, start: int, end: int) -> bytes:
    offset = file.byte_offset or 0
    chunks = await storage.read(file.path, offset + start, offset + min(end, file.size))
    return b"".join([chunk async for chunk in chunks])


def _is_declared_image(artifact: dict[str, Any]) -> bool:
    type_ = artifact["content_type"] or ""
    return artifact["kind"] == "screenshot" or type_.startswith("image/")


def _is_log(artifact: dict[str, Any]) -> bool:
    type_ = artifact["content_type"] or ""
    return artifact["kind"] == "log" or type_.startswith("text/plain")
