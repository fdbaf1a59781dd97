"""Writing of an export file: the rows of one snapshot, in list order, with bounded memory."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from service.domain.exports import ExportSpec
from service.domain.ids import OrgId
from service.encoders.encoding import text_encoder
from service.encoders.parquet import ParquetEncoder
from service.storage import FileWriter
from service.store.export_readers.arrow import open_arrow_readers
from service.store.export_readers.plans import ExportPlan
from service.store.export_readers.snapshots import ReadStrategy
from service.store.export_readers.text import open_text_readers
from service.store.postgres.database import Pool
from service.usecases.exports.read_in_order import read_in_order

if TYPE_CHECKING:
    import pyarrow  # an optional dependency that only Parquet exports need

# One PostgreSQL process is slower than the encoding and storage of its rows.
READERS: Final = 2
TEXT: Final = ReadStrategy(READERS, range_results=60_000, buffered_chunks=18)
ARROW: Final = ReadStrategy(READERS, range_results=40_000, buffered_chunks=3)  # its libraries use 100 MiB


@dataclass(slots=True)
class ExportProgress:
    """The number of written rows, the expected number if it's known, and the position in the event stream."""

    rows: int = 0
    expected_rows: int | None = None
    position: str = ""

    @property
    def fraction(self) -> float | None:
        """Return the progress from 0 to 1, or None if the expected number isn't known."""
        return min(1.0, self.rows / self.expected_rows) if self.expected_rows else None

    def start(self, plan: ExportPlan) -> None:
        """Set the values that are known before the first row."""
        self.expected_rows, self.position = plan.expected_rows, plan.position

    def add_rows(self, rows: int) -> None:
        """Add written rows."""
        self.rows += rows


@dataclass(frozen=True, slots=True)
class ExportWriter:
    """Writes export files.

    `pool` has the role results_api. The Parquet driver and the probes of quiet connections use `database_url`, because
    they can't use the pool.
    """

    pool: Pool
    database_url: str
    text: ReadStrategy = TEXT
    arrow: ReadStrategy = ARROW

    async def write(self, org_id: OrgId, spec: ExportSpec, file: FileWriter, progress: ExportProgress) -> None:
        """Write all rows of the export. Raises ImportError if the libraries for Parquet aren't installed."""
        write = self._write_arrow if spec.file_format.details.source == "arrow" else self._write_text
        await write(org_id, spec, file, progress)

    async def _write_text(self, org_id: OrgId, spec: ExportSpec, file: FileWriter, progress: ExportProgress) -> None:
        encoder = text_encoder(spec.file_format)

        async def write(chunk: bytes) -> None:
            await file.write(await asyncio.to_thread(encoder.encode, chunk))

        async with open_text_readers(self.pool, self.database_url, org_id, spec, self.text) as (plan, readers):
            progress.start(plan)
            await read_in_order(readers, plan.ranges, write, progress.add_rows, self.text.buffered_chunks)
        await file.write(encoder.finish())

    async def _write_arrow(self, org_id: OrgId, spec: ExportSpec, file: FileWriter, progress: ExportProgress) -> None:
        encoder = ParquetEncoder(spec.file_format.compression)

        async def write(batch: "pyarrow.RecordBatch") -> None:
            await file.write(await asyncio.to_thread(encoder.encode, batch))

        async with open_arrow_readers(self.pool, self.database_url, org_id, spec, self.arrow) as (plan, readers):
            progress.start(plan)
            await read_in_order(readers, plan.ranges, write, progress.add_rows, self.arrow.buffered_chunks)
        await file.write(await asyncio.to_thread(encoder.finish))
