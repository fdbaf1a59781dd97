"""The moment of which an export tells, seen by several connections at once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from service.domain.ids import OrgId
from service.store.postgres.database import Connection, Pool, as_organization

_BEGIN: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
# Between two ranges a reader may wait for a slow storage.
_PATIENT: Final = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = '10min'"


class Shape(NamedTuple):
    """How an export is read: by how many at once, in ranges of about how many results.

    A range looks up each of its cases anew, so short ones cost more; `ahead` is how many chunks a reader may have
    waiting, of a mebibyte each: a reader that can't hold a range has to wait for the others.
    """

    readers: int
    range_results: int
    ahead: int


@asynccontextmanager
async def open_snapshot(pool: Pool, org_id: OrgId, name: str | None = None) -> AsyncIterator[Connection]:
    """A connection of results_api that sees the organization as it is now, or as it was when a snapshot was named.

    Left by an exception, which may be in the middle of a COPY, it is closed: the driver would ask the server to stop
    and wait for its word, which one that has sent everything, or hangs, never gives.
    """
    async with as_organization(pool, org_id) as connection:
        try:
            await connection.execute(_BEGIN)
            if name is not None:
                await connection.execute(f"SET TRANSACTION SNAPSHOT '{name}'")
            await connection.execute(_PATIENT)
            yield connection
        except BaseException:
            connection.terminate()
            raise
        await connection.execute("COMMIT")


async def name_snapshot(connection: Connection) -> str:
    """What other connections call the moment that this one sees, until it sees another."""
    return str(await connection.fetchval("SELECT pg_export_snapshot()"))
