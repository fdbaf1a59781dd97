"""Connections: one pool per role, and what the driver's errors mean for whoever called."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Literal, cast

import asyncpg
import orjson
from asyncpg.pool import PoolConnectionProxy

from service.domain.errors import Unavailable
from service.domain.ids import OrgId

# What others hand on without knowing the driver.
Connection = asyncpg.Connection | PoolConnectionProxy
Pool = asyncpg.Pool
Row = asyncpg.Record
DRIVER_ERRORS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
DatabaseRole = Literal["results_api", "results_worker"]

_COMMAND_TIMEOUT_S: Final = 60
_CLOSE_TIMEOUT_S: Final = 5
_SESSION: Final[dict[DatabaseRole, dict[str, str]]] = {
    # Every read walks an index in the order of the list and stops after a page, which a bitmap can't.
    "results_api": {
        "statement_timeout": "30s",
        "idle_in_transaction_session_timeout": "10s",
        "enable_bitmapscan": "off",
        "random_page_cost": "1.1",
    },
    "results_worker": {"lock_timeout": "5s", "idle_in_transaction_session_timeout": "10s"},
}

# Errors by what helps against them; the classes are those of the SQL standard.
_OUTAGES: Final = ("08", "53", "57")
_CLASHES: Final = ("40001", "40P01", "55P03")
_DATA: Final = ("22", "23", "54")


async def open_pool(url: str, role: DatabaseRole, size: int) -> asyncpg.Pool:
    """A pool whose connections act as this role. The caller closes it."""
    return await asyncpg.create_pool(
        url,
        min_size=0,  # a process starts, and waits, while the database is down
        max_size=size,
        command_timeout=_COMMAND_TIMEOUT_S,
        init=_init,
        reset=_keep_session,
        connection_class=ScopedConnection,
        server_settings={"role": role, "application_name": role, "jit": "off", **_SESSION[role]},
    )


async def close_pool(pool: asyncpg.Pool) -> None:
    """Closes a pool once its connections are back, or hard where one is not within a few seconds."""
    try:
        await asyncio.wait_for(pool.close(), _CLOSE_TIMEOUT_S)
    except TimeoutError:
        pool.terminate()


@asynccontextmanager
async def as_owner(url: str) -> AsyncIterator[Connection]:
    """A connection as who we log in, who owns the tables."""
    # A lock that does not come soon is given up: as long as it is waited for, others queue up behind it.
    settings = {"application_name": "results_owner", "lock_timeout": "2s"}
    connection = await asyncpg.connect(url, command_timeout=_COMMAND_TIMEOUT_S, server_settings=settings)
    try:
        yield connection
    finally:
        await connection.close()


async def _init(connection: Connection) -> None:
    await connection.set_type_codec("jsonb", encoder=_to_json, decoder=orjson.loads, schema="pg_catalog")


def _to_json(value: object) -> str:
    return orjson.dumps(value).decode()


async def _keep_session(_: Connection) -> None:
    """No round trip on release: nobody leaves session state but `act_as`, which knows what it left."""


class ScopedConnection(asyncpg.Connection):
    """A connection that remembers which organization's rows it sees."""

    __slots__ = ("_organization",)

    async def act_as(self, org_id: OrgId) -> None:
        """Tells the server the organization, unless it was told already."""
        if getattr(self, "_organization", None) != org_id:
            self._organization: OrgId | None = None
            await self.execute("SELECT set_config('app.org_id', $1, false)", str(org_id))
            self._organization = org_id


@asynccontextmanager
async def as_organization(pool: asyncpg.Pool, org_id: OrgId) -> AsyncIterator[Connection]:
    """A connection that sees this organization's rows only. Never inside a transaction: a rollback would undo it."""
    async with outages_as_unavailable(), pool.acquire() as connection:
        await cast("ScopedConnection", connection).act_as(org_id)
        yield connection


class RowDeleted(Exception):
    """A row went away between two statements of one transaction; the same transaction, again, will do without it."""


def is_outage(error: BaseException) -> bool:
    """The server is not there, or has no room: the same statement may succeed later."""
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate).startswith(_OUTAGES)
    if isinstance(error, asyncpg.DataError):
        return False
    # The driver's internal one: between a server's farewell and its end the driver does not know what to make of us.
    return isinstance(error, OSError | asyncpg.InterfaceError | asyncpg.InternalClientError | TimeoutError)


def is_conflict(error: BaseException) -> bool:
    """Two transactions were in each other's way: the same transaction, again, will do."""
    return isinstance(error, RowDeleted) or (isinstance(error, asyncpg.PostgresError) and error.sqlstate in _CLASHES)


def is_data_error(error: BaseException) -> bool:
    """The data can't be stored as it is; trying again changes nothing."""
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate).startswith(_DATA)
    return isinstance(error, asyncpg.DataError)


@asynccontextmanager
async def outages_as_unavailable() -> AsyncIterator[None]:
    """Turns an outage of the database into `Unavailable`, which callers outside the store understand."""
    try:
        yield
    except (*DRIVER_ERRORS, OSError) as error:
        if not is_outage(error):
            raise
        raise Unavailable("the database does not answer") from error
