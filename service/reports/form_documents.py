"""JSON documents in the files of a form, which gzip can compress."""

import zlib
from asyncio import to_thread
from contextlib import suppress
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

from service.contracts.validation import describe_error, field_path, validation_errors
from service.domain.errors import InvalidRequest, TooLarge
from service.reports.accept_report import UploadPart

FormModel = TypeVar("FormModel", bound=BaseModel)

_GZIP: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 31  # of zlib


async def read_document(
    part: UploadPart, field: str, model: type[FormModel], max_bytes: int
) -> tuple[int, FormModel]:  # fmt: skip
    """Return the size without compression, and the validated document. Raises InvalidRequest and TooLarge."""
    data = bytearray()
    async for chunk in part.chunks:
        data += chunk
        _check_size(data, part, field, max_bytes)
    return await to_thread(_parse, bytes(data), part, field, model, max_bytes)


def _parse(
    data: bytes, part: UploadPart, field: str, model: type[FormModel], max_bytes: int
) -> tuple[int, FormModel]:  # fmt: skip
    if data.startswith(_GZIP):
        inflater = zlib.decompressobj(_GZIP_WINDOW)
        with suppress(zlib.error):  # then the file isn't complete
            data = inflater.decompress(data, max_bytes + 1)
        _check_size(data, part, field, max_bytes)
        if not inflater.eof or inflater.unused_data:
            raise InvalidRequest(f"{field}: {part.name} must be one complete gzip file", field)
    try:
        return len(data), model.model_validate_json(data)
    except ValidationError as error:
        first = validation_errors(error)[0]
        path = field_path((field, *first["loc"]))
        raise InvalidRequest(f"{path}: {describe_error(first)} ({part.name})", path) from None


def _check_size(data: bytes | bytearray, part: UploadPart, field: str, max_bytes: int) -> None:
    if len(data) > max_bytes:
        raise TooLarge(f"{field}: {part.name} must have at most {max_bytes} bytes without compression")
