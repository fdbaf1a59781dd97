"""Arrow batches into a Parquet file, row group by row group."""

import io
from typing import TYPE_CHECKING, Final

from service.domain.exports import Compression

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

_GROUP_BYTES: Final = 8 * 2**20  # of Arrow: what is held in memory, and what a reader skips or reads at once
_UNIQUE: Final = "id"  # a dictionary of what never repeats is work for nothing


class ParquetFile:
    """A file in the making: takes batches, gives the bytes of each row group once it is full."""

    def __init__(self, compression: Compression) -> None:
        self._compression = compression
        self._outlet = _Outlet()
        self._file: pyarrow.parquet.ParquetWriter | None = None
        self._group: list[pyarrow.RecordBatch] = []

    def encode(self, batch: "pyarrow.RecordBatch") -> bytes:
        """The next bytes of the file; may be none yet."""
        if self._file is None:
            self._file = self._open(batch.schema)
        self._group.append(batch)
        if sum(each.nbytes for each in self._group) >= _GROUP_BYTES:
            self._write_group(self._file)
        return self._outlet.take()

    def finish(self) -> bytes:
        """The last bytes of a file that has got one batch at least."""
        if self._file is None:
            raise ValueError("a Parquet file needs the schema that comes with a batch, be it an empty one")
        self._write_group(self._file)
        self._file.close()
        return self._outlet.take()

    def _open(self, schema: "pyarrow.Schema") -> "pyarrow.parquet.ParquetWriter":
        import pyarrow as pa
        import pyarrow.parquet as pq

        plain = pa.schema([field.remove_metadata() for field in schema.remove_metadata()])
        repeating = [name for name in plain.names if name != _UNIQUE]
        return pq.ParquetWriter(self._outlet, plain, compression=self._compression, use_dictionary=repeating)

    def _write_group(self, file: "pyarrow.parquet.ParquetWriter") -> None:
        import pyarrow as pa

        group, self._group = self._group, []
        if any(batch.num_rows for batch in group):
            file.write_table(pa.Table.from_batches(group).cast(file.schema))


class _Outlet(io.RawIOBase):
    """What the library takes for a file; what was written is taken out again, so that it never grows large."""

    def __init__(self) -> None:
        self._written = bytearray()
        self._taken = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._taken + len(self._written)

    def write(self, data: object) -> int:
        before = len(self._written)
        self._written += memoryview(data)  # type: ignore[arg-type]
        return len(self._written) - before

    def take(self) -> bytes:
        taken, self._written = bytes(self._written), bytearray()
        self._taken += len(taken)
        return taken
