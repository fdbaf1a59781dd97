"""Connection pools for the database roles, and the classification of driver errors."""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Literal, cast

import asyncpg
import orjson
from asyncpg.pool import PoolAcquireContext, PoolConnectionProxy

from service.domain.errors import Unavailable
from service.domain.ids import OrgId
from service.keepalive import detect_half_open
from service.store.postgres import sqlstates
from service.store.postgres.connections import ACQUIRE_TIMEOUT_S, HostSelector, connect
from service.store.postgres.shares import OrganizationShares

# Other layers pass these types on without importing the driver.
Connection = asyncpg.Connection | PoolConnectionProxy
Pool = asyncpg.Pool
Row = asyncpg.Record
DRIVER_ERRORS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
DatabaseRole = Literal["results_api", "results_worker"]

_COMMAND_TIMEOUT_S: Final = 60
_MAX_QUERIES: Final = 50_000  # per connection, the default of the driver
_MAX_IDLE_S: Final = 300.0  # the default of the driver
_CLOSE_TIMEOUT_S: Final = 5
_JSONB_VERSION: Final = b"\x01"
_KEPT_MEMORY_BYTES: Final = 4 * 2**20
_CANCEL_TIMEOUT_S: Final = 5.0
_PROBE_AFTER_S: Final = 10.0  # without use
_PROBE_TIMEOUT_S: Final = 5.0
_SESSION: Final[dict[DatabaseRole, dict[str, str]]] = {
    # Every read follows an index in the order of the list and stops after a page. A bitmap scan can't stop early.
    # Every statement has one good plan for all values, and planning for the values takes longer than the execution.
    "results_api": {
        "statement_timeout": "30s",
        "idle_in_transaction_session_timeout": "10s",
        "enable_bitmapscan": "off",
        "random_page_cost": "1.1",
        "plan_cache_mode": "force_generic_plan",
    },
    "results_worker": {"lock_timeout": "5s", "idle_in_transaction_session_timeout": "10s"},
}


class BoundedPool(asyncpg.Pool):
    """A pool whose callers wait for a free connection only for a limited time.

    Without the limit, a few slow transactions would make every other caller wait as long as they take.
    """

    def __init__(self, *connect_arguments: Any, max_size: int, **options: Any) -> None:
        super().__init__(*connect_arguments, max_size=max_size, **options)
        self.shares = OrganizationShares(max_size)

    def acquire(self, *, timeout: float | None = None) -> PoolAcquireContext:
        """Acquire a connection. Raises TimeoutError, which is an outage, if none is free and connected in time."""
        return super().acquire(timeout=timeout or ACQUIRE_TIMEOUT_S)


async def open_pool(url: str, role: DatabaseRole, size: int) -> asyncpg.Pool:
    """Return a pool whose connections use this role. The caller closes it."""

    async def probe_if_idle(connection: Connection) -> None:
        """Raise TimeoutError after an outage of the network. The other connections of the pool are lost as well."""
        try:
            await cast("ScopedConnection", connection).probe_if_idle()
        except TimeoutError:
            await pool.expire_connections()
            raise

    pool = await BoundedPool(
        url,
        min_size=0,  # a process can start while the database is down
        max_size=size,
        max_queries=_MAX_QUERIES,
        max_inactive_connection_lifetime=_MAX_IDLE_S,
        loop=None,
        record_class=asyncpg.Record,
        command_timeout=_COMMAND_TIMEOUT_S,
        connect=HostSelector().connect,
        init=_init,
        setup=probe_if_idle,
        reset=_keep_session,
        connection_class=ScopedConnection,
        server_settings={"role": role, "application_name": role, "jit": "off", **_SESSION[role]},
    )
    return pool


async def close_pool(pool: asyncpg.Pool) -> None:
    """Close a pool after its connections are released. Terminate connections that aren't released within 5 s."""
    try:
        await asyncio.wait_for(pool.close(), _CLOSE_TIMEOUT_S)
    except TimeoutError:
        pool.terminate()


@asynccontextmanager
async def as_owner(url: str) -> AsyncIterator[Connection]:
    """Provide a connection with the role results_owner, which owns the partitioned tables."""
    # While a statement waits for a lock, other statements queue after it, so it gives up soon.
    settings = {"role": "results_owner", "application_name": "results_owner", "lock_timeout": "2s"}
    connection = await connect(
        url, command_timeout=_COMMAND_TIMEOUT_S, server_settings=settings, connection_class=ScopedConnection
    )
    try:
        yield connection
    finally:
        await connection.close()


async def _init(connection: Connection) -> None:
    await connection.set_type_codec(  # COPY requires the binary format: a version byte, then JSON
        "jsonb", encoder=_to_jsonb, decoder=_from_jsonb, schema="pg_catalog", format="binary"
    )
    await _keep_memory(connection)


async def _keep_memory(connection: Connection) -> None:
    """Let the server process of this connection keep the memory of a statement for the next one.

    By default, the allocator of Linux returns the memory of every page to the kernel and obtains it again, which takes
    as long as the page itself. After a larger block was freed, it keeps twice the size of that block.
    """
    await connection.fetchval("SELECT octet_length(repeat(' ', $1))", _KEPT_MEMORY_BYTES)


def _to_jsonb(value: object) -> bytes:
    return _JSONB_VERSION + orjson.dumps(value)


def _from_jsonb(data: bytes) -> Any:
    return orjson.loads(data[len(_JSONB_VERSION) :])


async def _keep_session(connection: Connection) -> None:
    """Save the round trip of a reset on release, except after a failed statement.

    Only `act_as` changes session state, and it tracks that state.
    """
    scoped = cast("ScopedConnection", connection)
    await scoped.end_implicit_transaction()
    scoped.record_release()


class ScopedConnection(asyncpg.Connection):
    """A connection that tracks the organization whose rows it can read, and doesn't wait long for a lost server."""

    __slots__ = ("_has_failed", "_organization", "_released_at")

    def __init__(self, protocol: Any, transport: asyncio.Transport, *arguments: Any) -> None:
        super().__init__(protocol, transport, *arguments)
        detect_half_open(transport.get_extra_info("socket"))

    async def _do_execute(self, *arguments: Any, **named: Any) -> Any:
        """Record a statement that failed, or whose task was canceled, also between its preparation and its execution.

        The driver prepares a statement without a Sync message, which starts an implicit transaction. The execution
        would end that transaction.
        """
        try:
            return await super()._do_execute(*arguments, **named)  # type: ignore[misc]  # missing in the stubs
        except BaseException:
            self._has_failed = True
            raise

    async def end_implicit_transaction(self) -> None:
        """End the transaction that a failed statement left open. Otherwise, the next statement would be part of it."""
        if getattr(self, "_has_failed", False):
            self._has_failed = False
            await self.execute("SELECT 1")  # the simple query protocol, which ends with a Sync

    def record_release(self) -> None:
        """Record that the connection is idle in its pool from now on."""
        self._released_at = time.monotonic()

    async def probe_if_idle(self) -> None:
        """Probe the connection if it wasn't used for some time."""
        if time.monotonic() - getattr(self, "_released_at", math.inf) > _PROBE_AFTER_S:
            await self.probe()

    async def probe(self) -> None:
        """Raise TimeoutError and terminate the connection if the server doesn't respond within a few seconds."""
        try:
            await self.fetchval("SELECT 1", timeout=_PROBE_TIMEOUT_S)
        except TimeoutError:
            self.terminate()
            raise

    def _cancel_current_command(self, *arguments: Any, **named: Any) -> None:
        """Cancel a command after its timeout or the cancellation of its task, or else terminate the connection.

        Each later command, such as the ROLLBACK, waits until the server confirms the cancellation. If the connection
        is half-open, the server never does, and each of these commands would wait for its own timeout.
        """
        super()._cancel_current_command(*arguments, **named)  # type: ignore[misc]  # missing in the stubs
        asyncio.get_running_loop().call_later(_CANCEL_TIMEOUT_S, self._terminate_unconfirmed)

    def _terminate_unconfirmed(self) -> None:
        if not self.is_closed() and self._protocol._is_cancelling():  # type: ignore[attr-defined]  # codespell:ignore cancelling - as above
            self.terminate()

    async def act_as(self, org_id: OrgId) -> None:
        """Set the organization for row-level security if it isn't set already."""
        if getattr(self, "_organization", None) != org_id:
            self._organization: OrgId | None = None
            await self.execute("SELECT set_config('app.org_id', $1, false)", str(org_id))
            self._organization = org_id


@asynccontextmanager
async def acquire_as(pool: asyncpg.Pool, org_id: OrgId) -> AsyncIterator[Connection]:
    """Provide a connection that sees only the rows of this organization.

    Don't use it inside a transaction, because a rollback would undo the setting.
    """
    async with pool.acquire() as connection:
        await cast("ScopedConnection", connection).act_as(org_id)
        yield connection


@asynccontextmanager
async def as_organization(pool: asyncpg.Pool, org_id: OrgId) -> AsyncIterator[Connection]:
    """Provide a connection of the organization's share of the pool, like `acquire_as`.

    Raises Unavailable during an outage, or if the organization has too many concurrent queries. Don't use it twice at
    the same time for one request, because requests that wait for each other's connections would deadlock.
    """
    share = cast("BoundedPool", pool).shares.slot(org_id, ACQUIRE_TIMEOUT_S)
    async with share, outages_as_unavailable(), acquire_as(pool, org_id) as connection:
        yield connection


class RowDeleted(Exception):
    """A row was deleted between two statements of a transaction. Repeat the transaction."""


def is_outage(error: BaseException) -> bool:
    """Return whether the server or its connection is the cause, so the same statement can succeed later."""
    if isinstance(error, asyncpg.PostgresError):
        return not is_data_error(error) and not is_conflict(error)
    # The driver raises InternalClientError for connections that a server is closing while it shuts down.
    return isinstance(error, OSError | asyncpg.InterfaceError | asyncpg.InternalClientError | TimeoutError)


def is_conflict(error: BaseException) -> bool:
    """Return whether two transactions conflicted, so the same transaction can succeed if it is repeated."""
    return isinstance(error, RowDeleted) or (
        isinstance(error, asyncpg.PostgresError) and error.sqlstate in sqlstates.CONFLICTS
    )


def is_lock_timeout(error: BaseException) -> bool:
    """Return whether another transaction had a lock for longer than the statement could wait."""
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate == sqlstates.LOCK_TIMEOUT


def is_connection_error(error: BaseException) -> bool:
    """Return whether no statement can succeed now: the connection is lost, or the server accepts no connection."""
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate).startswith(sqlstates.CONNECTION_ERRORS)
    return is_outage(error)


def is_data_error(error: BaseException) -> bool:
    """Return whether the data can't be stored, so a retry can't succeed."""
    return isinstance(error, asyncpg.PostgresError) and is_data_state(str(error.sqlstate))


def is_data_state(sqlstate: str) -> bool:
    """Return whether the SQLSTATE code reports data that can't be stored or read."""
    return sqlstate.startswith(sqlstates.DATA_ERRORS)


@asynccontextmanager
async def outages_as_unavailable() -> AsyncIterator[None]:
    """Convert an outage or a conflict to Unavailable, which layers outside the store can handle."""
    try:
        yield
    except (*DRIVER_ERRORS, OSError) as error:
        if not is_outage(error) and not is_conflict(error):
            raise
        raise Unavailable("the database is not available; try again later") from error
