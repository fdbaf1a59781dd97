"""Bodies that are taken as streams: what was sent, part by part, never held whole."""

import itertools
import re
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import BadContentDispositionHeader, BadContentDispositionParam, BodyPartReader, web
from aiohttp.http import HttpProcessingError

from service.api.http.bodies import body_errors
from service.domain.errors import InvalidRequest, TooLarge, UnsupportedMediaType
from service.domain.reports import Encoding
from service.domain.texts import replace_unstorable
from service.usecases.reports.accept_report import UploadPart

MULTIPART: Final = "multipart/form-data"
_REPORT_TYPES: Final = frozenset(
    {"application/xml", "text/xml", "application/json", "application/vnd.ctrf+json", "application/x-ndjson"}
)
_SANE_TYPE: Final = re.compile(r"[\w.+-]{1,100}/[\w.+-]{1,100}(; ?[\w-]{1,40}=[\w.-]{1,60})*", re.ASCII)
_CHUNK_BYTES: Final = 256 * 2**10
_MAX_PARTS: Final = 1_000
_MAX_NAME: Final = 400
_MAX_REASON: Final = 200
_BAD_DISPOSITION: Final = (BadContentDispositionHeader, BadContentDispositionParam)
for _category in _BAD_DISPOSITION:
    warnings.simplefilter("error", _category)  # or a part would lose its name, and only the log would know


def safe_content_type(content_type: str | None) -> str | None:
    """A content type that can be sent on as it is."""
    return content_type if content_type and _SANE_TYPE.fullmatch(content_type) else None


def check_content_length(request: web.Request, limit: int) -> None:
    """Says so before anything is read, where the client says how much it will send."""
    if (request.content_length or 0) > limit:
        raise TooLarge(f"a body of {request.content_length} bytes; at most {limit} are taken")


def content_encoding(request: web.Request) -> Encoding | None:
    """How the body is compressed, which whoever reads it undoes."""
    match request.headers.get("Content-Encoding", "identity").strip().lower():
        case "identity" | "":
            return None
        case "gzip" | "x-gzip":
            return "gzip"
        case "zstd":
            return "zstd"
        case other:
            raise UnsupportedMediaType(f"Content-Encoding {other[:40]!r} is not taken; gzip and zstd are")


def report_media_type(content_type: str) -> str | None:
    """The content type, where it is one of a report; else the first bytes will tell."""
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type if media_type in _REPORT_TYPES else None


async def read_form_parts(request: web.Request) -> AsyncIterator[tuple[str, UploadPart]]:
    """Each file of a form with the name of its field; whoever takes one reads it before the next."""
    async with _form_read():
        form = await request.multipart()
    for count in itertools.count(1):
        async with _form_read():
            part = await form.next()
        if part is None:
            return
        if count > _MAX_PARTS:
            raise InvalidRequest(f"a form with more than {_MAX_PARTS} parts")
        if not isinstance(part, BodyPartReader):
            raise InvalidRequest("a form inside of a form")
        field, name = replace_unstorable(part.name or ""), replace_unstorable(part.filename or "")
        content_type = safe_content_type(part.headers.get("Content-Type"))
        yield field, UploadPart((name or field)[:_MAX_NAME], content_type, _chunks_of(part))


async def _chunks_of(part: BodyPartReader) -> AsyncIterator[bytes]:
    while True:
        async with _form_read():
            chunk = await part.read_chunk(_CHUNK_BYTES)
        if not chunk:
            return
        yield chunk


@asynccontextmanager
async def _form_read() -> AsyncIterator[None]:
    """Says what is wrong with a form. aiohttp's reader raises any of these, by where it finds the form broken."""
    try:
        async with body_errors():
            yield
    except _BAD_DISPOSITION as error:
        raise InvalidRequest(f"a form that can't be read: Content-Disposition: {_reason(error)}") from error
    except (ValueError, AssertionError, RuntimeError, HttpProcessingError) as error:
        raise InvalidRequest(f"a form that can't be read: {_reason(error) or 'its parts are broken'}") from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:_MAX_REASON]
