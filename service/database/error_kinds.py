"""The kinds of errors for which an operator must fix the database or its settings."""

from typing import Final, Literal

import asyncpg

from service.database import sqlstates
from service.database.database import Pool, is_outage
from service.database.engines import EngineMismatch, TablesNotDistributed

DatabaseErrorKind = Literal[
    "address", "outage", "login", "database", "schema", "migrations", "rights", "engine", "distribution"
]

_BY_STATE: Final[dict[str, DatabaseErrorKind]] = {
    **dict.fromkeys(sqlstates.LOGINS, "login"),
    sqlstates.MISSING_DATABASE: "database",
    sqlstates.MISSING_ROLE: "schema",
    sqlstates.MISSING_TABLE: "schema",
    sqlstates.MISSING_RIGHT: "rights",
}
_CONNECT_TIMEOUT_S: Final = 10


def database_error_kind(error: BaseException) -> DatabaseErrorKind | None:
    """Return the kind of an error of the database itself, or None for any other error."""
    if isinstance(error, EngineMismatch):
        return "distribution" if isinstance(error, TablesNotDistributed) else "engine"
    if isinstance(error, asyncpg.PostgresError):
        kind = _BY_STATE.get(str(error.sqlstate))
    else:
        kind = "address" if isinstance(error, asyncpg.ClientConfigurationError | UnicodeError) else None
    return kind or ("outage" if is_outage(error) else None)


async def probe(pool: Pool) -> None:
    """Run a minimal query. Raises the error that any first statement would raise."""
    async with pool.acquire(timeout=_CONNECT_TIMEOUT_S) as connection:
        await connection.fetchval("SELECT 'organizations'::regclass")
