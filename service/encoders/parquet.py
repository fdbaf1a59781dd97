"""Arrow batches into a Parquet file. It works in a thread of its own, for the libraries do."""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from service.domain.exports import Compression

if TYPE_CHECKING:
    import pyarrow

_ROWS_PER_GROUP: Final = 50_000  # what is held in memory, and what a reader skips or reads at once
_CHUNK_BYTES: Final = 2**20
_UNIQUE: Final = "id"  # a dictionary of what never repeats is work for nothing


class _Outlet(io.RawIOBase):
    """What the library takes for a file, and passes every chunk on."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._position = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: object) -> int:
        chunk = bytes(data)  # type: ignore[call-overload]
        self._write(chunk)
        self._position += len(chunk)
        return len(chunk)


def write_parquet(
    batches: "pyarrow.RecordBatchReader",
    compression: Compression,
    write: Callable[[bytes], None],
    count: Callable[[int], None],
) -> int:
    """Passes the file to `write` in chunks and the rows so far to `count`; returns how many rows there were."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = 0
    schema = batches.schema.remove_metadata()
    schema = pa.schema([field.remove_metadata() for field in schema])
    outlet = io.BufferedWriter(_Outlet(write), _CHUNK_BYTES)
    repeating = [name for name in schema.names if name != _UNIQUE]
    with pq.ParquetWriter(outlet, schema, compression=compression, use_dictionary=repeating) as file:
        group: list[pa.RecordBatch] = []
        for batch in batches:
            rows += batch.num_rows
            group.append(batch)
            if sum(one.num_rows for one in group) >= _ROWS_PER_GROUP:
                _write_group(file, group, schema)
                group = []
                count(rows)
        if group:
            _write_group(file, group, schema)
    outlet.flush()
    return rows


def _write_group(
    file: "pyarrow.parquet.ParquetWriter", group: "list[pyarrow.RecordBatch]", schema: "pyarrow.Schema"
) -> None:
    import pyarrow as pa

    file.write_table(pa.Table.from_batches(group).cast(schema))
