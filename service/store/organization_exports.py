"""All rows of an organization as JSON lines, without secrets."""

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from service.domain.ids import OrgId
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("organization_exports")
_TIMEOUT_S: Final = 24 * 3600.0  # of one table
# Plain CSV or text COPY corrupts JSON. These two bytes can't occur in JSON.
_JSON_LINES: Final[dict[str, Any]] = {"format": "csv", "quote": "\x01", "delimiter": "\x02"}

# Secrets and their hashes, and stored responses, which can have any content.
SECRET_COLUMNS: Final = (
    "api_keys.secret_sha256",
    "api_keys.previous_sha256",
    "api_keys.token_sha256",
    "sessions.session_sha256",
    "sessions.secret_sha256",
    "token_exchanges.token_sha256",
    "webhooks.secret",
    "webhooks.previous_secret",
    "idempotency_keys.body",
)


class TableQuery(NamedTuple):
    """A table, and the query for the rows of one organization."""

    table: str
    query: str


@asynccontextmanager
async def one_snapshot(connection: Connection, org_id: OrgId) -> AsyncIterator[None]:
    """Read one snapshot in all queries of the block.

    The first query creates the snapshot. On Citus, it reads from the server that has the rows of the organization.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute("SET LOCAL timezone = 'UTC'; SET LOCAL idle_in_transaction_session_timeout = 0")
        await connection.execute(_SQL["take_snapshot"], org_id)
        yield


async def find_queries(connection: Connection, org_id: OrgId) -> Sequence[TableQuery]:
    """Return one query for each table, without the columns that contain secrets."""
    rows = await connection.fetch(_SQL["find_queries"], org_id, SECRET_COLUMNS)
    return [TableQuery(row["table"], row["query"]) for row in rows]


async def copy_rows(connection: Connection, query: str, write: Callable[[bytes], Coroutine[Any, Any, None]]) -> int:
    """Pass the rows to `write` as JSON lines, and return their number."""
    done = await connection.copy_from_query(query, output=write, timeout=_TIMEOUT_S, **_JSON_LINES)
    return int(done.split()[-1])
