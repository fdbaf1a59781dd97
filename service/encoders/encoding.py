"""Bytes in, bytes out: compression, and lines of JSON as one array. Encoders keep state and are used once."""

import zlib
from typing import Final, Protocol

import zstandard

from service.domain.exports import Compression, ExportOrder

_GZIP_LEVEL: Final = 1  # level 6 takes twice as long as PostgreSQL takes to send the rows
_ZSTD_LEVEL: Final = 3
_GZIP_WINDOW: Final = 31  # the window of zlib with a gzip header around it


class Encoder(Protocol):
    """A step between rows and file."""

    def encode(self, data: bytes) -> bytes:
        """The next bytes of the file; may be none yet."""

    def finish(self) -> bytes:
        """The last bytes of the file."""


class Plain:
    """Leaves everything as it is."""

    def encode(self, data: bytes) -> bytes:
        return data

    def finish(self) -> bytes:
        return b""


class Gzip:
    """One gzip stream."""

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)

    def encode(self, data: bytes) -> bytes:
        return self._compressor.compress(data)

    def finish(self) -> bytes:
        return self._compressor.flush()


class Zstd:
    """One zstd frame."""

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compressobj()

    def encode(self, data: bytes) -> bytes:
        return self._compressor.compress(data)

    def finish(self) -> bytes:
        return self._compressor.flush()


class JsonArray:
    """Lines of JSON as one array: a line end becomes a comma, except the last, which therefore waits."""

    def __init__(self) -> None:
        self._begun = False
        self._line_ended = False

    def encode(self, data: bytes) -> bytes:
        if not data:
            return b""
        start = b",\n" if self._line_ended else b"" if self._begun else b"["
        self._begun, self._line_ended = True, data.endswith(b"\n")
        # In JSON a line end inside of a text is written \n, so a real one always ends a line.
        return start + data.removesuffix(b"\n").replace(b"\n", b",\n")

    def finish(self) -> bytes:
        return b"]\n" if self._begun else b"[]\n"


class Both:
    """One encoder after the other."""

    def __init__(self, first: Encoder, then: Encoder) -> None:
        self._first = first
        self._then = then

    def encode(self, data: bytes) -> bytes:
        return self._then.encode(self._first.encode(data))

    def finish(self) -> bytes:
        return self._then.encode(self._first.finish()) + self._then.finish()


_COMPRESSORS: Final[dict[Compression, type[Encoder]]] = {"none": Plain, "gzip": Gzip, "zstd": Zstd}


def encoder_for(order: ExportOrder) -> Encoder:
    """What makes the file of an order out of the rows as the store sends them, for all formats but Parquet."""
    compressor = _COMPRESSORS[order.compression]()
    return Both(JsonArray(), compressor) if order.format == "json" else compressor
