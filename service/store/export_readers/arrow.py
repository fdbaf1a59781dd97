"""Reads the rows of an export as Arrow batches, by ADBC, whose libraries are the extra `parquet`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, urlsplit, urlunsplit

from service.domain.exports import ExportOrder
from service.domain.ids import OrgId
from service.domain.key_ranges import KeyRange
from service.store.export_readers.plans import ExportPlan, plan_export
from service.store.export_readers.snapshots import Shape, name_snapshot, open_snapshot
from service.store.postgres.database import Pool

if TYPE_CHECKING:
    import pyarrow
    from adbc_driver_manager import AdbcConnection, AdbcStatement

_BATCH_BYTES: Final = 2**20
_NOTICES_A_DEAD_PEER: Final = (
    "connect_timeout=10&keepalives_idle=30&keepalives_interval=10&keepalives_count=3&tcp_user_timeout=60000"
)
_ISOLATED: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"


class ArrowReading(NamedTuple):
    """What is read, and who reads it, all at the same snapshot."""

    plan: ExportPlan
    readers: "Sequence[ArrowReader]"


@asynccontextmanager
async def reading_arrow(
    pool: Pool, database_url: str, org_id: OrgId, order: ExportOrder, shape: Shape
) -> AsyncIterator[ArrowReading]:
    """The organization as it is now, on connections of their own. Raises ImportError where the extra is missing."""
    with ExitStack() as opened:
        async with open_snapshot(pool, org_id) as first:
            plan = await plan_export(first, org_id, order, shape.range_results)
            connecting = _Connecting(opened, _url_as(database_url, org_id), await name_snapshot(first))
            connections = [await _in_thread(connecting.connect) for _ in range(shape.readers)]
        yield ArrowReading(plan, [ArrowReader(connection, plan) for connection in connections])


class ArrowReader:
    """Streams ranges as Arrow batches."""

    def __init__(self, connection: "AdbcConnection", plan: ExportPlan) -> None:
        self._connection = connection
        self._plan = plan

    async def read(self, part: KeyRange, put: "Callable[[pyarrow.RecordBatch], Awaitable[None]]") -> int:
        """Hands on the rows of a range in batches, an empty one where there are none; returns how many rows."""
        import pyarrow as pa
        from adbc_driver_manager import AdbcStatement

        with AdbcStatement(self._connection) as statement:
            batches = await _in_thread(_execute, statement, self._plan.query(part))
            rows = 0
            while (batch := await _in_thread(next, batches, None)) is not None:  # one without rows is false
                rows += batch.num_rows
                await put(batch)
            if not rows:
                await put(pa.RecordBatch.from_pylist([], batches.schema))
        return rows


def _execute(statement: "AdbcStatement", query: str) -> "pyarrow.RecordBatchReader":
    import pyarrow as pa
    from adbc_driver_postgresql import StatementOptions

    statement.set_options(**{StatementOptions.BATCH_SIZE_HINT_BYTES.value: str(_BATCH_BYTES)})
    statement.set_sql_query(query)
    stream, _ = statement.execute_query()
    return pa.RecordBatchReader.from_stream(stream)


@dataclass(frozen=True, slots=True)
class _Connecting:
    """Opens connections at a snapshot; they are closed with what opened them, be the thread that waits canceled."""

    opened: ExitStack
    url: str
    snapshot: str

    def connect(self) -> "AdbcConnection":
        """Blocks. The driver manager's own level: its DB-API would load data frames, which nobody needs here."""
        from adbc_driver_manager import AdbcConnection, AdbcStatement
        from adbc_driver_postgresql import connect

        database = self.opened.enter_context(connect(self.url))
        connection: AdbcConnection = self.opened.enter_context(AdbcConnection(database))
        connection.set_autocommit(False)
        for command in (_ISOLATED, f"SET TRANSACTION SNAPSHOT '{self.snapshot}'"):
            with AdbcStatement(connection) as statement:
                statement.set_sql_query(command)
                statement.execute_update()
        return connection


async def _in_thread(work: Callable[..., Any], *arguments: Any) -> Any:
    """Runs what blocks. Canceled, it waits for the thread first: nothing is closed under a driver that works."""
    thread = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        await asyncio.wait({thread})
        raise


def _url_as(database_url: str, org_id: OrgId) -> str:
    """The URL for a driver of its own, in the role and the organization of this export."""
    options = f"-c role=results_api -c app.org_id={org_id} -c jit=off"
    parts = urlsplit(database_url)
    said = [parts.query, f"options={quote(options)}", "application_name=results_api", _NOTICES_A_DEAD_PEER]
    query = "&".join(filter(None, said))
    return urlunsplit(parts._replace(query=query))
