"""Decompression of uploaded files and of the members of archives."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final, Protocol, cast

import zstandard

from service.domain.reports import Encoding
from service.reports.errors import ReportError, malformed

CHUNK_BYTES: Final = 256 * 1024
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_MAX_WINDOW: Final = 128 * 2**20  # bytes; a Zstandard frame can require gigabytes
_MAX_LAYERS: Final = 2  # a compressed file that is sent with Content-Encoding
INVALID: Final = (gzip.BadGzipFile, EOFError, zlib.error, zstandard.ZstdError)


def detect_compression(head: bytes) -> Encoding | None:
    """Return the compression of a file by its first bytes."""
    if head.startswith(_GZIP):
        return "gzip"
    return "zstd" if head.startswith(_ZSTD) else None


def find_compressions(source: Path, stated: Encoding | None) -> tuple[Encoding, ...]:
    """Return the compressions of a file, the outer one first. `stated` is its Content-Encoding.

    Raises ReportError if the data is invalid.
    """
    found: tuple[Encoding, ...] = (stated,) if stated else ()
    while len(found) < _MAX_LAYERS:
        with open_decompressed(source, found) as stream:
            detected = detect_compression(stream.read(len(_ZSTD)))
        if detected is None:
            break
        found = (*found, detected)
    return found


class Readable(Protocol):
    """A source of bytes."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, or none at the end."""
        ...


@contextmanager
def open_decompressed(source: Path, compressions: tuple[Encoding, ...]) -> Iterator[BinaryIO]:
    """Open a file to read its decompressed bytes. Raises ReportError if the caller reads invalid data."""
    with source.open("rb") as file:
        stream: BinaryIO = file
        for compression in compressions:
            stream = open_compressed(stream, compression)
        try:
            yield stream
        except INVALID as error:
            raise malformed(
                f"the {compressions[-1] if compressions else 'compressed'} data is invalid: {error}"
            ) from None


def decompress(source: Path, target: Path, compressions: tuple[Encoding, ...], max_bytes: int) -> int:
    """Write the decompressed bytes to `target`, and return their number. Raises ReportError."""
    size = 0
    with open_decompressed(source, compressions) as stream, target.open("wb") as file:
        while chunk := stream.read(CHUNK_BYTES):
            size += len(chunk)
            if size > max_bytes:
                raise ReportError("too_large", f"the report is larger than {max_bytes} bytes after decompression")
            file.write(chunk)
    return size


def decompress_head(head: bytes, size: int) -> bytes:
    """Return up to `size` decompressed bytes of a file that starts with `head`, or `head` if it isn't compressed."""
    compression = detect_compression(head)
    if compression is None:
        return head
    stream, read = open_compressed(BytesIO(head), compression), b""
    try:
        while len(read) < size and (byte := stream.read(1)):
            read += byte
    except INVALID:  # the head ends inside of the data
        pass
    return read


def open_compressed(compressed: Readable, compression: Encoding) -> BinaryIO:
    """Return a reader of the decompressed bytes, which raises the errors INVALID."""
    if compression == "gzip":
        return cast("BinaryIO", gzip.GzipFile(fileobj=cast("BinaryIO", compressed)))
    reader = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
    return cast("BinaryIO", reader.stream_reader(cast("BinaryIO", compressed), read_across_frames=True))
