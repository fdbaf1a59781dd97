"""Streams the rows of an export into its file, in the order of the list and at one snapshot, in little memory."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from service.domain.exports import ExportOrder
from service.domain.ids import OrgId
from service.encoders.encoding import encoder_for
from service.encoders.parquet import ParquetFile
from service.storage import Writing
from service.store.export_readers.arrow import reading_arrow
from service.store.export_readers.snapshots import Shape
from service.store.export_readers.text import reading_text
from service.store.postgres.database import Pool
from service.usecases.exports.read_in_order import read_in_order

if TYPE_CHECKING:
    import pyarrow  # an extra: only whoever exports Parquet needs it

# One process of PostgreSQL alone is slower than what encodes and stores its rows.
READERS: Final = 2
TEXT: Final = Shape(READERS, range_results=60_000, ahead=18)
ARROW: Final = Shape(READERS, range_results=40_000, ahead=8)  # its libraries need a hundred MiB themselves


@dataclass(slots=True)
class Progress:
    """How many rows are written, of how many where that is known."""

    rows: int = 0
    expected: int | None = None

    @property
    def share(self) -> float | None:
        """From 0 to 1."""
        return min(1.0, self.rows / self.expected) if self.expected else None

    def count(self, rows: int) -> None:
        """So many more are written."""
        self.rows += rows


@dataclass(frozen=True, slots=True)
class ExportWriter:
    """The use case with what it needs: a pool of results_api, and the URL for a driver that has no pool."""

    pool: Pool
    database_url: str
    text: Shape = TEXT
    arrow: Shape = ARROW

    async def write(self, org_id: OrgId, order: ExportOrder, file: Writing, progress: Progress) -> None:
        """Writes all that was ordered. Raises ImportError where Parquet can't be written."""
        write = self._write_parquet if order.format == "parquet" else self._write_text
        await write(org_id, order, file, progress)

    async def _write_text(self, org_id: OrgId, order: ExportOrder, file: Writing, progress: Progress) -> None:
        encoder = encoder_for(order)

        async def take(chunk: bytes) -> None:
            await file.write(await asyncio.to_thread(encoder.encode, chunk))

        async with reading_text(self.pool, org_id, order, self.text) as (plan, readers):
            progress.expected = plan.expected
            await read_in_order(readers, plan.ranges, take, progress.count, self.text.ahead)
        await file.write(encoder.finish())

    async def _write_parquet(self, org_id: OrgId, order: ExportOrder, file: Writing, progress: Progress) -> None:
        encoder = ParquetFile(order.compression)

        async def take(batch: "pyarrow.RecordBatch") -> None:
            await file.write(await asyncio.to_thread(encoder.encode, batch))

        async with reading_arrow(self.pool, self.database_url, org_id, order, self.arrow) as (plan, readers):
            progress.expected = plan.expected
            await read_in_order(readers, plan.ranges, take, progress.count, self.arrow.ahead)
        await file.write(await asyncio.to_thread(encoder.finish))
