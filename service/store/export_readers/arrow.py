"""Reader of the rows of an export as Arrow batches, with ADBC. Its libraries are the extra `parquet`."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, urlsplit, urlunsplit

from service.domain.exports import ExportSpec
from service.domain.ids import OrgId
from service.domain.key_ranges import KeyRange
from service.store.export_readers.plans import ExportPlan, plan_export
from service.store.export_readers.snapshots import ReadStrategy, export_snapshot, open_snapshot
from service.store.postgres.database import Pool, is_data_state, pool_engine
from service.store.postgres.engines import Engine

if TYPE_CHECKING:
    import pyarrow
    from adbc_driver_manager import AdbcConnection, AdbcStatement

_BATCH_BYTES: Final = 2**20
# Arrow reads this variable when it allocates memory for the first time. With its default pool, the peak RSS of an
# export is about 40 MiB higher.
_MEMORY_POOL: Final = "ARROW_DEFAULT_MEMORY_POOL", "system"
_DETECT_DEAD_PEER: Final = (
    "connect_timeout=10&keepalives_idle=30&keepalives_interval=10&keepalives_count=3&tcp_user_timeout=60000"
)
_ISOLATION: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"


class ArrowReading(NamedTuple):
    """An export plan and its readers, all at one snapshot."""

    plan: ExportPlan
    readers: "Sequence[ArrowReader]"


@asynccontextmanager
async def open_arrow_readers(
    pool: Pool, database_url: str, org_id: OrgId, spec: ExportSpec, strategy: ReadStrategy
) -> AsyncIterator[ArrowReading]:
    """Open readers, on connections of their own, that see the organization at the current time.

    Raises ImportError if the extra `parquet` isn't installed.
    """
    os.environ.setdefault(*_MEMORY_POOL)
    with ExitStack() as opened:
        async with open_snapshot(pool, org_id) as first:
            plan = await plan_export(first, org_id, spec, strategy.range_results)
            engine = pool_engine(pool)
            url = _scoped_url(database_url, org_id, engine)
            connector = _Connector(opened, url, await export_snapshot(first), engine.scope(org_id))
            readers = engine.limit_readers(strategy.readers)
            connections = [await _run_in_thread(connector.connect) for _ in range(readers)]
        yield ArrowReading(plan, [ArrowReader(connection, plan) for connection in connections])


class ArrowReader:
    """Streams key ranges as Arrow batches."""

    def __init__(self, connection: "AdbcConnection", plan: ExportPlan) -> None:
        self._connection = connection
        self._plan = plan

    async def read(self, key_range: KeyRange, put: "Callable[[pyarrow.RecordBatch], Awaitable[None]]") -> int:
        """Pass the rows of a range to `put` in batches, or one empty batch if the range has no rows.

        Returns the number of rows.
        """
        import pyarrow as pa
        from adbc_driver_manager import AdbcStatement

        with AdbcStatement(self._connection) as statement:
            batches = await _run_in_thread(_execute, statement, self._plan.query(key_range))
            rows = 0
            while (batch := await _run_in_thread(next, batches, None)) is not None:  # an empty batch is falsy
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
class _Connector:
    """Opens connections at a snapshot. `opened` closes them, also if the waiting task is canceled."""

    opened: ExitStack
    url: str
    snapshot: str
    scope: Sequence[str]

    def connect(self) -> "AdbcConnection":
        """Open a connection. Blocks. Uses the driver manager because the DB-API layer would import pandas."""
        from adbc_driver_manager import AdbcConnection, AdbcStatement
        from adbc_driver_postgresql import connect

        database = self.opened.enter_context(connect(self.url))
        connection: AdbcConnection = self.opened.enter_context(AdbcConnection(database))
        connection.set_autocommit(False)
        for command in (_ISOLATION, f"SET TRANSACTION SNAPSHOT '{self.snapshot}'", *self.scope):
            with AdbcStatement(connection) as statement:
                statement.set_sql_query(command)
                statement.execute_update()
        return connection


async def _run_in_thread(work: Callable[..., Any], *arguments: Any) -> Any:
    """Run blocking work. A cancellation waits for the thread, so no connection is closed while the driver uses it.

    Further cancellations don't end the wait.
    """
    thread = asyncio.ensure_future(asyncio.to_thread(_translating_outages, work, *arguments))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        while not thread.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({thread})
        raise


def _translating_outages(work: Callable[..., Any], *arguments: Any) -> Any:
    """Run the work. Raises ConnectionError for an outage, which the driver reports as an error of its own."""
    from adbc_driver_manager import Error, OperationalError

    try:
        return work(*arguments)
    except Error as error:
        is_lost = not is_data_state(error.sqlstate) if error.sqlstate else isinstance(error, OperationalError)
        if is_lost:
            raise ConnectionError(str(error)) from error
        raise


def _scoped_url(database_url: str, org_id: OrgId, engine: Engine) -> str:
    """Return the URL with the role results_api and the organization of the export."""
    session = {"role": "results_api", "app.org_id": org_id, "jit": "off", **engine.session}
    options = " ".join(f"-c {name}={value}" for name, value in session.items())
    parts = urlsplit(database_url)
    parameters = [parts.query, f"options={quote(options)}", "application_name=results_api", _DETECT_DEAD_PEER]
    query = "&".join(filter(None, parameters))
    return urlunsplit(parts._replace(query=query))
