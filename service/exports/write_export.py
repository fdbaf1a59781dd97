"""Writing of an export file: the rows of one snapshot, in list order, with bounded memory."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, TypeVar

from service.database.database import Pool
from service.domain.ids import OrgId
from service.exports.encoders import encoder_of
from service.exports.model import ExportSpec
from service.exports.readers import ExportPlan, ReadStrategy, open_readers
from service.stopping import run_all
from service.storage import FileWriter

# One PostgreSQL process is slower than the encoding and storage of its rows.
READERS: Final = 2
STRATEGY: Final = ReadStrategy(READERS, range_results=60_000, buffered_chunks=10)

PartT = TypeVar("PartT")
PartT_contra = TypeVar("PartT_contra", contravariant=True)
ChunkT = TypeVar("ChunkT")
ChunkT_co = TypeVar("ChunkT_co", covariant=True)


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


class PartReader(Protocol[PartT_contra, ChunkT_co]):
    """Reads one part at a time."""

    async def read(self, part: PartT_contra, put: Callable[[ChunkT_co], Awaitable[None]], /) -> int:
        """Pass the chunks of a part to `put`, and return the number of rows."""


class _PartEnd(NamedTuple):
    """Follows the last chunk of a part in the queue."""

    rows: int


async def read_in_order(
    readers: Sequence[PartReader[PartT, ChunkT]],
    parts: Sequence[PartT],
    write: Callable[[ChunkT], Awaitable[None]],
    count_rows: Callable[[int], None],
    buffered_chunks: int,
) -> None:
    """Pass each chunk of each part to `write`, and the number of rows of a part to `count_rows` after its last chunk.

    Each reader reads every n-th part and buffers at most `buffered_chunks` chunks. Raises the first error of a reader
    or of `write`.
    """
    queues: list[asyncio.Queue[ChunkT | _PartEnd]] = [asyncio.Queue(buffered_chunks) for _ in readers]

    async def write_parts() -> None:
        for index in range(len(parts)):
            while not isinstance(chunk := await queues[index % len(queues)].get(), _PartEnd):
                await write(chunk)
            count_rows(chunk.rows)

    shares = [
        _read_share(reader, parts[index :: len(readers)], queue)
        for index, (reader, queue) in enumerate(zip(readers, queues, strict=True))
    ]
    await run_all([*shares, write_parts()])


async def _read_share(
    reader: PartReader[PartT, ChunkT], parts: Sequence[PartT], queue: "asyncio.Queue[ChunkT | _PartEnd]"
) -> None:
    for part in parts:
        await queue.put(_PartEnd(await reader.read(part, queue.put)))
