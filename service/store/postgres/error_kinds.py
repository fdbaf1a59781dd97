"""Why a database can't be worked with, told apart by what helps."""

from typing import Final, Literal

import asyncpg

from service.store.postgres.database import Pool, is_outage

DatabaseErrorKind = Literal["address", "outage", "login", "database", "schema", "rights"]

_BY_STATE: Final[dict[str, DatabaseErrorKind]] = {
    "28000": "login",
    "28P01": "login",
    "3D000": "database",
    "22023": "schema",  # the role that we act as is not there
    "42P01": "schema",
    "42501": "rights",
}
_CONNECT_TIMEOUT_S: Final = 10


def database_error_kind(error: BaseException) -> DatabaseErrorKind | None:
    """What the error says of the database as such; None where it is about something else."""
    if isinstance(error, asyncpg.PostgresError):
        found = _BY_STATE.get(str(error.sqlstate))
    else:
        found = "address" if isinstance(error, asyncpg.ClientConfigurationError | UnicodeError) else None
    return found or ("outage" if is_outage(error) else None)


async def probe(pool: Pool) -> None:
    """Raises what a first statement meets."""
    async with pool.acquire(timeout=_CONNECT_TIMEOUT_S) as connection:
        await connection.fetchval("SELECT 'organizations'::regclass")
