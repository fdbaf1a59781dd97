"""Encoders of export files: compression, and JSON lines as one array. An encoder has state and encodes one file."""

import zlib
from typing import Final, Protocol

import zstandard

from service.domain.export_columns import EXPORT_COLUMNS
from service.domain.exports import Compression, ExportFormatName, ExportSpec
from service.encoders.parquet import ParquetEncoder

_GZIP_LEVEL: Final = 1  # level 6 takes twice as long as PostgreSQL takes to send the rows
_ZSTD_LEVEL: Final = 3
_GZIP_WINDOW: Final = 31  # zlib window size that adds a gzip header


class Encoder(Protocol):
    """One step of the conversion from rows to file bytes."""

    def encode(self, data: bytes) -> bytes:
        """Return the next bytes of the file, which can be empty."""

    def finish(self) -> bytes:
        """Return the last bytes of the file."""


class PlainEncoder:
    """Returns the data unchanged."""

    def encode(self, data: bytes) -> bytes:
        return data

    def finish(self) -> bytes:
        return b""


class GzipEncoder:
    """Writes one gzip stream."""

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)

    def encode(self, data: bytes) -> bytes:
        return self._compressor.compress(data)

    def finish(self) -> bytes:
        return self._compressor.flush()


class ZstdEncoder:
    """Writes one zstd frame."""

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compressobj()

    def encode(self, data: bytes) -> bytes:
        return self._compressor.compress(data)

    def finish(self) -> bytes:
        return self._compressor.flush()


class JsonArrayEncoder:
    """Converts JSON lines to one JSON array: each line end except the last becomes a comma."""

    def __init__(self) -> None:
        self._started = False
        self._line_ended = False  # the comma is written only when another line follows

    def encode(self, data: bytes) -> bytes:
        if not data:
            return b""
        start = b",\n" if self._line_ended else b"" if self._started else b"["
        self._started, self._line_ended = True, data.endswith(b"\n")
        # JSON escapes a line end inside a string as \n, so an unescaped line end always ends a line.
        return start + data.removesuffix(b"\n").replace(b"\n", b",\n")

    def finish(self) -> bytes:
        return b"]\n" if self._started else b"[]\n"


class ChainedEncoder:
    """Passes the output of one encoder to another."""

    def __init__(self, first: Encoder, second: Encoder) -> None:
        self._first = first
        self._second = second

    def encode(self, data: bytes) -> bytes:
        return self._second.encode(self._first.encode(data))

    def finish(self) -> bytes:
        return self._second.encode(self._first.finish()) + self._second.finish()


_COMPRESSORS: Final[dict[Compression, type[Encoder]]] = {
    "none": PlainEncoder,
    "gzip": GzipEncoder,
    "zstd": ZstdEncoder,
}
# The store writes the other formats without a conversion.
_FORMAT_ENCODERS: Final[dict[ExportFormatName, type[Encoder]]] = {"json": JsonArrayEncoder}


def encoder_of(spec: ExportSpec) -> Encoder:
    """Return the encoder for the file of an export. Raises ImportError if it needs a library that isn't installed."""
    file_format = spec.file_format
    if file_format.name == "parquet":
        types = {column: EXPORT_COLUMNS[spec.content][column].type for column in spec.columns}
        return ParquetEncoder(types, file_format.compression)
    compressor = _COMPRESSORS[file_format.compression]()
    format_encoder = _FORMAT_ENCODERS.get(file_format.name)
    return ChainedEncoder(format_encoder(), compressor) if format_encoder else compressor
