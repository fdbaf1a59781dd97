"""Parquet encoder: converts Arrow batches to row groups."""

import io
from typing import TYPE_CHECKING, Final

from service.domain.exports import Compression

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

_GROUP_BYTES: Final = 5 * 2**20  # Arrow bytes per row group, which the encoder buffers
_UNIQUE_COLUMN: Final = "id"  # a dictionary doesn't compress unique values


class ParquetEncoder:
    """Encodes one Parquet file. Returns the bytes of a row group as soon as it's full."""

    def __init__(self, compression: Compression) -> None:
        self._compression = compression
        self._buffer = _OutputBuffer()
        self._file: pyarrow.parquet.ParquetWriter | None = None
        self._group: list[pyarrow.RecordBatch] = []

    def encode(self, batch: "pyarrow.RecordBatch") -> bytes:
        """Return the next bytes of the file, which can be empty."""
        if self._file is None:
            self._file = self._open(batch.schema)
        self._group.append(batch)
        if sum(batch.nbytes for batch in self._group) >= _GROUP_BYTES:
            self._write_group(self._file)
        return self._buffer.drain()

    def finish(self) -> bytes:
        """Return the last bytes of the file. Raises ValueError if `encode` received no batch."""
        if self._file is None:
            raise ValueError("a Parquet file needs at least one batch, which can be empty, for its schema")
        self._write_group(self._file)
        self._file.close()
        return self._buffer.drain()

    def _open(self, schema: "pyarrow.Schema") -> "pyarrow.parquet.ParquetWriter":
        import pyarrow as pa
        import pyarrow.parquet as pq

        plain = pa.schema([field.remove_metadata() for field in schema.remove_metadata()])
        repeating = [name for name in plain.names if name != _UNIQUE_COLUMN]
        return pq.ParquetWriter(self._buffer, plain, compression=self._compression, use_dictionary=repeating)

    def _write_group(self, file: "pyarrow.parquet.ParquetWriter") -> None:
        import pyarrow as pa

        group, self._group = self._group, []
        if any(batch.num_rows for batch in group):
            file.write_table(pa.Table.from_batches(group).cast(file.schema))


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
