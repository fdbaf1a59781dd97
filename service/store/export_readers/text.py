"""Reader of the rows of an export as text, with COPY."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Final, NamedTuple

from service.domain.exports import ExportSpec, RowSource
from service.domain.ids import OrgId
from service.domain.key_ranges import KeyRange
from service.stopping import end_tasks
from service.store.export_readers.plans import ExportPlan, plan_export
from service.store.export_readers.snapshots import Probe, ReadStrategy, export_snapshot, loss_probe, open_snapshot
from service.store.postgres.database import DRIVER_ERRORS, Connection, Pool, pool_engine
from service.tracing.spans import copy_span

_COPY_TIMEOUT_S: Final = 6 * 3600.0
# Even with cold caches, a range sends rows within this time. A suspended server never does.
_STALL_TIMEOUT_S: Final = 300.0
_PROBE_AFTER_S: Final = 15.0  # without rows
_ARRIVAL_S: Final = 2.0  # of what the server has sent
_CHUNK_BYTES: Final = 2**20  # large enough to encode in a thread
# PostgreSQL sends packets of 8 KiB, and asyncpg spends 25 us on each packet of any size. After a small packet, the
# reader waits for the shortest time that an event loop supports, so that the socket gathers more data.
_SMALL_PACKET_BYTES: Final = 64 * 2**10
_GATHER_S: Final = 0.001
# Plain CSV or text COPY corrupts JSON. These two bytes can't occur in JSON.
_JSON_LINES: Final = {"format": "csv", "quote": "\x01", "delimiter": "\x02"}


class TextReading(NamedTuple):
    """An export plan and its readers, all at one snapshot."""

    plan: ExportPlan
    readers: "Sequence[TextReader]"


@asynccontextmanager
async def open_readers(
    pool: Pool, database_url: str, org_id: OrgId, spec: ExportSpec, strategy: ReadStrategy
) -> AsyncIterator[TextReading]:
    """Open readers that see the organization at the current time until the block ends.

    `database_url` is that of the pool, whose connections can all be in use.
    """
    async with AsyncExitStack() as opened:
        first = await opened.enter_async_context(open_snapshot(pool, org_id))
        plan = await plan_export(first, org_id, spec, strategy.range_results)
        name = await export_snapshot(first)
        readers = pool_engine(pool).limit_readers(strategy.readers)
        others = [await opened.enter_async_context(open_snapshot(pool, org_id, name)) for _ in range(1, readers)]
        source = spec.file_format.details.source
        connections = [(each, await loss_probe(each, database_url)) for each in (first, *others)]
        yield TextReading(plan, [TextReader(*each, plan, source) for each in connections])


class TextReader:
    """Streams key ranges as CSV, with a header before the first range, or as JSON lines."""

    def __init__(self, connection: Connection, is_lost: Probe, plan: ExportPlan, source: RowSource) -> None:
        self._connection = connection
        self._is_lost = is_lost
        self._plan = plan
        self._source = source

    async def read(self, key_range: KeyRange, put: Callable[[bytes], Awaitable[None]]) -> int:
        """Pass the rows of a range to `put` in chunks, and return the number of rows.

        Raises TimeoutError, which is an outage, if the server sends nothing for 5 minutes, or sooner if its process
        doesn't work on the range any more, because the connection is half-open.
        """
        async with asyncio.timeout(_STALL_TIMEOUT_S) as stall:
            chunks = _ChunkBuffer(put, stall)
            probing = asyncio.create_task(self._probe_while_quiet(chunks, stall))
            try:
                with copy_span("results"):
                    done = await self._connection.copy_from_query(
                        self._plan.query(key_range), output=chunks.add, timeout=_COPY_TIMEOUT_S,
                        **self._options(key_range),
                    )  # fmt: skip
                await chunks.flush()
            finally:
                await end_tasks([probing])
        return int(done.split()[-1])

    async def _probe_while_quiet(self, chunks: "_ChunkBuffer", stall: asyncio.Timeout) -> None:
        """End the timeout as soon as the server process can send nothing more, and the reader still gets nothing.

        A server that doesn't respond on the new connection either can be suspended, and continue later.
        """
        while True:
            await asyncio.sleep(_PROBE_AFTER_S)
            packets = chunks.packets
            if chunks.quiet_s() < _PROBE_AFTER_S:
                continue
            with suppress(OSError, *DRIVER_ERRORS):
                if await self._is_lost():
                    await asyncio.sleep(_ARRIVAL_S)
                    if chunks.packets == packets and chunks.quiet_s():
                        return stall.reschedule(asyncio.get_running_loop().time())

    def _options(self, key_range: KeyRange) -> dict[str, Any]:
        if self._source == "json_lines":
            return _JSON_LINES
        return {"format": "csv", "header": self._source == "csv" and key_range == self._plan.ranges[0]}


class _ChunkBuffer:
    """Combines packets into chunks. Each packet postpones the timeout, which doesn't include the wait for `put`."""

    def __init__(self, put: Callable[[bytes], Awaitable[None]], stall: asyncio.Timeout) -> None:
        self._put = put
        self._stall = stall
        self._packets: list[bytes] = []
        self._size = 0  # bytes
        self._clock_s = asyncio.get_running_loop().time
        self._quiet_since_s = self._clock_s()
        self.packets = 0  # that have arrived

    def quiet_s(self) -> float:
        """Return how long the buffer has waited for a packet; 0 while it waits for `put`."""
        return max(0.0, self._clock_s() - self._quiet_since_s)

    async def add(self, packet: bytes) -> None:
        """Add a packet. The sender waits until this method returns."""
        self.packets += 1
        self._packets.append(packet)
        self._size += len(packet)
        if self._size >= _CHUNK_BYTES:
            await self.flush()
        elif len(packet) < _SMALL_PACKET_BYTES:
            await asyncio.sleep(_GATHER_S)
        self._quiet_since_s = self._clock_s()
        self._stall.reschedule(self._quiet_since_s + _STALL_TIMEOUT_S)

    async def flush(self) -> None:
        """Pass all buffered packets on as one chunk."""
        chunk = b"".join(self._packets)
        self._packets.clear()
        self._size = 0
        self._quiet_since_s = math.inf
        self._stall.reschedule(None)
        await self._put(chunk)
