"""Reads the rows of an export as text, by COPY."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, NamedTuple

from service.domain.exports import ExportOrder, Format
from service.domain.ids import OrgId
from service.domain.key_ranges import KeyRange
from service.store.export_readers.plans import ExportPlan, plan_export
from service.store.export_readers.snapshots import Shape, name_snapshot, open_snapshot
from service.store.postgres.database import Connection, Pool

_LONGEST_S: Final = 6 * 3600.0
_CHUNK_BYTES: Final = 2**20  # worth a thread that encodes it
# PostgreSQL sends 8 KiB at a time, and asyncpg takes 25 us over each packet that it hands on, whatever is in it: where
# one comes in small, the socket is left to gather more, in the shortest time that an event loop waits.
_SMALL_BYTES: Final = 64 * 2**10
_GATHER_S: Final = 0.001
# With plain CSV or text COPY would corrupt JSON: these two bytes can't occur in it.
_JSON_LINES: Final = {"format": "csv", "quote": "\x01", "delimiter": "\x02"}


class TextReading(NamedTuple):
    """What is read, and who reads it, all at the same snapshot."""

    plan: ExportPlan
    readers: "Sequence[TextReader]"


@asynccontextmanager
async def reading_text(pool: Pool, org_id: OrgId, order: ExportOrder, shape: Shape) -> AsyncIterator[TextReading]:
    """The organization as it is now, for as long as the export takes."""
    async with AsyncExitStack() as opened:
        first = await opened.enter_async_context(open_snapshot(pool, org_id))
        plan = await plan_export(first, org_id, order, shape.range_results)
        name = await name_snapshot(first)
        others = [await opened.enter_async_context(open_snapshot(pool, org_id, name)) for _ in range(1, shape.readers)]
        yield TextReading(plan, [TextReader(connection, plan, order.format) for connection in (first, *others)])


class TextReader:
    """Streams ranges as CSV with a header before the first one, or as lines of JSON."""

    def __init__(self, connection: Connection, plan: ExportPlan, form: Format) -> None:
        self._connection = connection
        self._plan = plan
        self._form = form

    async def read(self, part: KeyRange, put: Callable[[bytes], Awaitable[None]]) -> int:
        """Hands on the rows of a range in chunks; returns how many rows."""
        gathering = _Gathering(put)
        done = await self._connection.copy_from_query(
            self._plan.query(part), output=gathering.take, timeout=_LONGEST_S, **self._options(part)
        )
        await gathering.hand_on()
        return int(done.split()[-1])

    def _options(self, part: KeyRange) -> dict[str, Any]:
        return {"format": "csv", "header": part == self._plan.ranges[0]} if self._form == "csv" else _JSON_LINES


class _Gathering:
    """Makes chunks out of packets."""

    def __init__(self, put: Callable[[bytes], Awaitable[None]]) -> None:
        self._put = put
        self._packets: list[bytes] = []
        self._size = 0  # bytes

    async def take(self, packet: bytes) -> None:
        """Takes the next packet; whoever sends them waits meanwhile."""
        self._packets.append(packet)
        self._size += len(packet)
        if self._size >= _CHUNK_BYTES:
            await self.hand_on()
        elif len(packet) < _SMALL_BYTES:
            await asyncio.sleep(_GATHER_S)

    async def hand_on(self) -> None:
        """Hands on what there is."""
        chunk = b"".join(self._packets)
        self._packets.clear()
        self._size = 0
        await self._put(chunk)
