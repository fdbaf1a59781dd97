"""Encoders of export files: compression, one JSON array, and Parquet. An encoder has state and encodes one file."""

import io
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Protocol

import zstandard

from service.exports.columns import ARROW_TYPES, EXPORT_COLUMNS, ColumnType
from service.exports.model import Compression, ExportFormatName, ExportSpec

if TYPE_CHECKING:
    import pyarrow

_GZIP_LEVEL: Final = 1  # level 6 takes twice as long as PostgreSQL takes to send the rows
_GZIP_WINDOW: Final = 31  # zlib window size that adds a gzip header
_ZSTD_LEVEL: Final = 3
_GROUP_BYTES: Final = 5 * 2**20  # Arrow bytes per row group, which the encoder buffers
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_UNIQUE_COLUMN: Final = "id"  # a dictionary doesn't compress unique values


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


class ParquetEncoder:
    """Encodes one Parquet file. Returns the bytes of a row group as soon as it's full.

    Raises ImportError if the extra `parquet` isn't installed.
    """

    def __init__(self, columns: Mapping[str, ColumnType], compression: Compression) -> None:
        import pyarrow as pa
        import pyarrow.csv
        import pyarrow.parquet as pq

        pa.set_memory_pool(pa.system_memory_pool())  # the default pool needs about 40 MiB more for an export
        time = pa.timestamp("us", "UTC")  # has no alias
        types = {
            name: time if each == "time" else pa.type_for_alias(ARROW_TYPES[each]) for name, each in columns.items()
        }
        self._schema = pa.schema(types)
        # PostgreSQL writes a null as nothing, an empty text as "", and a boolean as t or f.
        self._conversion = pyarrow.csv.ConvertOptions(
            column_types=self._schema, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False,
            true_values=["t"], false_values=["f"],
        )  # fmt: skip
        self._buffer = _OutputBuffer()
        repeating = [name for name in types if name != _UNIQUE_COLUMN]
        self._file = pq.ParquetWriter(self._buffer, self._schema, compression=compression, use_dictionary=repeating)
        self._group: list[pyarrow.Table] = []

    def encode(self, data: bytes) -> bytes:
        """Return the next bytes of the file, which can be empty. `data` contains complete rows of CSV."""
        if data:
            self._group.append(self._parse(data))
            if sum(rows.nbytes for rows in self._group) >= _GROUP_BYTES:
                self._write_group()
        return self._buffer.drain()

    def finish(self) -> bytes:
        """Return the last bytes of the file."""
        if self._group:
            self._write_group()
        self._file.close()
        return self._buffer.drain()

    def _parse(self, data: bytes) -> "pyarrow.Table":
        import pyarrow as pa
        from pyarrow import csv

        data = _BYTE_ORDER_MARK + data  # the library skips one at the start, which can belong to a name
        return csv.read_csv(
            pa.BufferReader(data),
            # One block, because a row can't continue in the next one.
            csv.ReadOptions(column_names=self._schema.names, use_threads=False, block_size=len(data)),
            # An empty line is a row whose only column is null.
            csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
            self._conversion,
        )

    def _write_group(self) -> None:
        import pyarrow as pa

        group, self._group = self._group, []
        self._file.write_table(pa.concat_tables(group))


class _OutputBuffer(io.RawIOBase):
    """The output file of the Parquet library. `drain` removes the written bytes, so the buffer stays small."""

    def __init__(self) -> None:
        self._written = bytearray()
        self._drained = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._drained + len(self._written)

    def write(self, data: object) -> int:
        before = len(self._written)
        self._written += memoryview(data)  # type: ignore[arg-type]
        return len(self._written) - before

    def drain(self) -> bytes:
        drained, self._written = bytes(self._written), bytearray()
        self._drained += len(drained)
        return drained


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
