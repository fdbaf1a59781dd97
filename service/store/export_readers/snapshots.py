"""Database snapshots that several connections share."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from service.domain.ids import OrgId
from service.store.postgres.connections import connect
from service.store.postgres.database import Connection, Pool, acquire_as, terminate

_BEGIN: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
# Between two ranges, a reader can wait for slow storage. COPY writes times as the session shows them.
_SETTINGS: Final = (
    "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = '10min';"
    "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'"
)
_PROBE_TIMEOUT_S: Final = 10.0
# The login role sees the state of its own processes. A process that waits for `ClientWrite` has filled the buffers of a
# connection from which the reader gets nothing.
_IS_WORKING: Final = (
    "SELECT EXISTS (SELECT 1 FROM pg_stat_activity"
    " WHERE pid = $1 AND state = 'active' AND wait_event IS DISTINCT FROM 'ClientWrite')"
)

Probe = Callable[[], Awaitable[bool]]


class ReadStrategy(NamedTuple):
    """The number of readers, the results per range, and the chunks of 1 MiB that a reader can buffer.

    Each range looks up its cases again, so short ranges are slower. A reader with a full buffer waits for the others.
    """

    readers: int
    range_results: int
    buffered_chunks: int


@asynccontextmanager
async def open_snapshot(pool: Pool, org_id: OrgId, name: str | None = None) -> AsyncIterator[Connection]:
    """Open a connection of results_api that sees the organization now, or at the named snapshot.

    If the block raises, which can be during a COPY, the connection is terminated. Otherwise, the driver would send a
    cancel request and wait for its response, which a suspended server, or one that has sent everything, never sends.
    """
    async with acquire_as(pool, org_id) as connection:
        try:
            await connection.execute(_BEGIN)
            if name is not None:
                await connection.execute(f"SET TRANSACTION SNAPSHOT '{name}'")
            await connection.execute(_SETTINGS)
            yield connection
        except BaseException:
            terminate(connection)
            raise
        await connection.execute("COMMIT")


async def loss_probe(connection: Connection, database_url: str) -> Probe:
    """Return a function that returns whether the connection's server process can send nothing more.

    It has ended, is idle, or waits for the network. The function asks on a new connection, and raises the error of this
    connection if the server doesn't respond.
    """
    process_id = await connection.fetchval("SELECT pg_backend_pid()")  # that of the driver can be one of a proxy

    async def is_lost() -> bool:
        async with asyncio.timeout(_PROBE_TIMEOUT_S):
            probing = await connect(database_url)
            try:
                return not await probing.fetchval(_IS_WORKING, process_id)
            finally:
                probing.terminate()

    return is_lost


async def export_snapshot(connection: Connection) -> str:
    """Return the name of the connection's snapshot, which other connections can use until this transaction ends."""
    return str(await connection.fetchval("SELECT pg_export_snapshot()"))
