"""Decompression of uploaded files and of the members of archives."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol, cast

import zstandard

from service.reports.conversion.errors import ReportError, malformed
from service.reports.model import Encoding

CHUNK_BYTES: Final = 256 * 1024
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_MAX_WINDOW: Final = 128 * 2**20  # bytes; a Zstandard frame can require gigabytes
_MAX_LAYERS: Final = 2  # a compressed file that is sent with Content-Encoding
_MAX_INNER_BYTES: Final = 256 * 2**20  # of this file
_MIN_PART_BYTES: Final = 1_024  # on average, of the parts of a gzip file with more than _MAX_SMALL_PARTS
_MAX_SMALL_PARTS: Final = 1_000
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS  # for zlib: a gzip header and its checksum
_PACKED_CHUNK_BYTES: Final = 32 * 1024
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


@contextmanager
def open_decompressed(source: Path, compressions: tuple[Encoding, ...]) -> Iterator[BinaryIO]:
    """Open a file to read its decompressed bytes. Raises ReportError if the caller reads invalid data."""
    with source.open("rb") as file:
        stream: BinaryIO = file
        for layer, compression in enumerate(compressions):
            stream = open_compressed(_Limited(stream) if layer else stream, compression)
        try:
            yield stream
        except INVALID as error:
            raise malformed(
                f"the {compressions[-1] if compressions else 'compressed'} data is invalid: {error}"
            ) from None


class Readable(Protocol):
    """A source of bytes."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, or none at the end."""
        ...


def open_compressed(compressed: Readable, compression: Encoding) -> io.BufferedReader:
    """Return a reader of the decompressed bytes, which raises the errors INVALID."""
    if compression == "gzip":
        return io.BufferedReader(_GzipStream(compressed), CHUNK_BYTES)
    reader = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
    return cast("io.BufferedReader", reader.stream_reader(cast("BinaryIO", compressed), read_across_frames=True))


class _GzipStream(io.RawIOBase):
    """The decompressed bytes of a gzip file, which consists of one part or more.

    The module `gzip` reads any number of empty parts, of which a small archive can have millions.
    """

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._packed = b""
        self._inflater: Any = None  # of the current part
        self._parts = self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Read up to `len(buffer)` bytes. Raises zlib.error, EOFError, and BadGzipFile."""
        while self._inflater or self._start_part():
            if data := self._inflate(len(buffer)):
                self._size += len(data)
                buffer[: len(data)] = data
                return len(data)
        return 0

    def _start_part(self) -> bool:
        """Return whether another part begins. Skip zeros behind a part."""
        while True:
            self._packed = self._packed or self._source.read(_PACKED_CHUNK_BYTES)
            if not self._packed:
                return False
            if self._parts:
                self._packed = self._packed.lstrip(b"\0")
            if self._packed:
                break
        self._parts += 1
        if self._parts > _MAX_SMALL_PARTS + self._size // _MIN_PART_BYTES:
            raise gzip.BadGzipFile(f"it has thousands of parts with fewer than {_MIN_PART_BYTES} bytes each")
        self._inflater = zlib.decompressobj(_GZIP_WINDOW)
        return True

    def _inflate(self, size: int) -> bytes:
        """Return up to `size` bytes of the current part, or none at its end or if it needs further data."""
        inflater = self._inflater
        packed = self._packed or self._source.read(_PACKED_CHUNK_BYTES)
        data: bytes = inflater.decompress(packed, size)
        self._packed = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
        if inflater.eof:
            self._inflater = None
        elif not (packed or data):
            raise EOFError("the file ended before its end-of-stream marker")
        return data


class _Limited:
    """The data of the inner one of two compressions, which can be much larger than the file."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._left = _MAX_INNER_BYTES

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes. Raises ReportError."""
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise ReportError("too_large", f"the compressed file in the body is larger than {_MAX_INNER_BYTES} bytes")
        return data


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
        while len(read) < size and (part := stream.read1(size - len(read))):
            read += part
    except INVALID:  # the head ends inside of the data
        pass
    return read
