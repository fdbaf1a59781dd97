"""Writing of an export file: the rows of one snapshot, in list order, with bounded memory."""

import asyncio
from dataclasses import dataclass
from typing import Final

from service.domain.exports import ExportSpec
from service.domain.ids import OrgId
from service.encoders.encoding import encoder_of
from service.storage import FileWriter
from service.store.export_readers.plans import ExportPlan
from service.store.export_readers.snapshots import ReadStrategy
from service.store.export_readers.text import open_readers
from service.store.postgres.database import Pool
from service.usecases.exports.read_in_order import read_in_order

# One PostgreSQL process is slower than the encoding and storage of its rows.
READERS: Final = 2
STRATEGY: Final = ReadStrategy(READERS, range_results=60_000, buffered_chunks=10)


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

    `pool` has the role results_api. The probes of quiet connections use `database_url`, because all connections of the
    pool can be in use.
    """

    pool: Pool
    database_url: str
    strategy: ReadStrategy = STRATEGY

    async def write(self, org_id: OrgId, spec: ExportSpec, file: FileWriter, progress: ExportProgress) -> None:
        """Write all rows of the export. Raises ImportError if the library for Parquet isn't installed."""
        encoder = await asyncio.to_thread(encoder_of, spec)  # the first import of a library takes long

        async def write(chunk: bytes) -> None:
            await file.write(await asyncio.to_thread(encoder.encode, chunk))

        async with open_readers(self.pool, self.database_url, org_id, spec, self.strategy) as (plan, readers):
            progress.start(plan)
            await read_in_order(readers, plan.ranges, write, progress.add_rows, self.strategy.buffered_chunks)
        await file.write(await asyncio.to_thread(encoder.finish))
