"""Reading of request bodies. A body that ends early or arrives too slowly is reported as an error of the client."""

import asyncio
import itertools
import re
import time
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import unquote

from aiohttp import BadContentDispositionHeader, BadContentDispositionParam, BodyPartReader, web
from aiohttp.http import HttpProcessingError

from service.domain.errors import InvalidRequest, TooLarge, UnsupportedMediaType
from service.domain.report_fields import check_path_prefix
from service.domain.texts import replace_unstorable
from service.reports.accept_report import UploadPart
from service.reports.model import Encoding

MULTIPART: Final = "multipart/form-data"
_READ_TIMEOUT_S: Final = 60.0
_MIN_BYTES_PER_S: Final = 4 * 2**10  # a byte a minute would otherwise keep the 8 MiB of an upload in memory
_CHUNK_BYTES: Final = 256 * 2**10
_SAFE_TYPE: Final = re.compile(r"[\w.+-]{1,100}/[\w.+-]{1,100}(; ?[\w-]{1,40}=[\w.-]{1,60})*", re.ASCII)
_PATH_PREFIX: Final = "Path-Prefix"
_MAX_PARTS: Final = 1_000
_MAX_NAME: Final = 400
_MAX_REASON: Final = 200
_BAD_DISPOSITION: Final = (BadContentDispositionHeader, BadContentDispositionParam)
for _category in _BAD_DISPOSITION:
    warnings.simplefilter("error", _category)  # otherwise, a part would silently lose its name


class BodyTimer:
    """The time that a client has left to send its body: 60 s at first, and more with each received byte.

    A body that arrives at the minimum rate is never too slow. Only waits for the client count.
    """

    def __init__(self) -> None:
        self._left_s = _READ_TIMEOUT_S

    def add_received(self, size: int) -> None:
        """Extend the time, to at most 60 s, after `size` bytes were received."""
        self._left_s = min(_READ_TIMEOUT_S, self._left_s + size / _MIN_BYTES_PER_S)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """Raise InvalidRequest if the body ends early, or if no time is left while the block waits for its bytes.

        The timeout also covers a malformed chunk: aiohttp doesn't report it but waits for more bytes.
        """
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._left_s):
                yield
        except TimeoutError:
            raise InvalidRequest(
                f"the rest of the request body didn't arrive within {_READ_TIMEOUT_S:g} s,"
                f" or arrived at less than {_MIN_BYTES_PER_S} bytes per second"
            ) from None
        except (web.RequestPayloadError, OSError) as error:
            raise InvalidRequest("the request body is incomplete") from error
        finally:
            self._left_s -= time.monotonic() - started


async def read_body(request: web.Request) -> bytes:
    """Return the complete body. aiohttp limits its size."""
    async with BodyTimer().reading():
        return await request.read()


async def read_small_body(request: web.Request, limit: int) -> bytes:
    """Return the complete body. Raises TooLarge, without reading the rest, if it has more than `limit` bytes."""
    body = bytearray()
    async for chunk in body_chunks(request):
        body += chunk
        if len(body) > limit:
            raise TooLarge(f"body: must have at most {limit} bytes")
    return bytes(body)


async def body_chunks(request: web.Request) -> AsyncIterator[bytes]:
    """Yield the body in chunks, without a size limit."""
    timer = BodyTimer()
    while True:
        async with timer.reading():
            chunk = await request.content.read(_CHUNK_BYTES)
        if not chunk:
            return
        timer.add_received(len(chunk))
        yield chunk


def safe_content_type(content_type: str | None) -> str | None:
    """Return the content type if it is safe to repeat in a response header, otherwise None."""
    return content_type if content_type and _SAFE_TYPE.fullmatch(content_type) else None


def check_content_length(request: web.Request, limit: int) -> None:
    """Raise TooLarge before the body is read if its Content-Length exceeds `limit` bytes."""
    if (request.content_length or 0) > limit:
        raise TooLarge(f"body: must have at most {limit} bytes, but Content-Length is {request.content_length}")


def content_encoding(request: web.Request) -> Encoding | None:
    """Return the compression of the body; the parser process decompresses it. Raises UnsupportedMediaType."""
    match request.headers.get("Content-Encoding", "identity").strip().lower():
        case "identity" | "":
            return None
        case "gzip" | "x-gzip":
            return "gzip"
        case "zstd":
            return "zstd"
        case other:
            raise UnsupportedMediaType(f"Content-Encoding {other[:40]!r} is not supported. Use gzip or zstd.")


async def read_form_parts(request: web.Request, path_prefix: str) -> AsyncIterator[tuple[str, UploadPart]]:
    """Yield each file of a form with its field name. The caller must read a file before it requests the next one.

    Files without the header `Path-Prefix` have `path_prefix`.
    """
    timer = BodyTimer()
    async with _form_errors(timer):
        form = await request.multipart()
    for count in itertools.count(1):
        async with _form_errors(timer):
            part = await form.next()
        if part is None:
            return
        if count > _MAX_PARTS:
            raise InvalidRequest(f"form: must have at most {_MAX_PARTS} parts")
        if not isinstance(part, BodyPartReader):
            raise InvalidRequest("form: must not contain another form")
        field, name = replace_unstorable(part.name or ""), replace_unstorable(part.filename or "")
        content_type = safe_content_type(part.headers.get("Content-Type"))
        prefix = _path_prefix(part) if _PATH_PREFIX in part.headers else path_prefix
        yield field, UploadPart((name or field)[:_MAX_NAME], content_type, _part_chunks(part, timer), prefix)


def _path_prefix(part: BodyPartReader) -> str:
    try:
        return check_path_prefix(unquote(part.headers[_PATH_PREFIX]))
    except ValueError as error:
        raise InvalidRequest(f"form: {_PATH_PREFIX}: {error}", "form") from error


async def peek(part: UploadPart, size: int) -> tuple[bytes, UploadPart]:
    """Return the first `size` bytes of a file, or fewer at its end, and the file, which still contains them."""
    read: list[bytes] = []
    async for chunk in part.chunks:
        read.append(chunk)
        if sum(map(len, read)) >= size:
            break
    return b"".join(read)[:size], part._replace(chunks=_chain(read, part.chunks))


async def _chain(read: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in read:
        yield chunk
    async for chunk in rest:
        yield chunk


async def _part_chunks(part: BodyPartReader, timer: BodyTimer) -> AsyncIterator[bytes]:
    while True:
        async with _form_errors(timer):
            chunk = await part.read_chunk(_CHUNK_BYTES)
        if not chunk:
            return
        timer.add_received(len(chunk))
        yield chunk


@asynccontextmanager
async def _form_errors(timer: BodyTimer) -> AsyncIterator[None]:
    """Raise InvalidRequest for a malformed form. aiohttp raises different exceptions for the different defects."""
    try:
        async with timer.reading():
            yield
    except _BAD_DISPOSITION as error:
        raise InvalidRequest(f"form: malformed Content-Disposition: {_reason(error)}") from error
    except (ValueError, AssertionError, RuntimeError, HttpProcessingError) as error:
        raise InvalidRequest(f"form: malformed: {_reason(error) or 'invalid parts'}") from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:_MAX_REASON]
