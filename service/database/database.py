"""Connection pools for the database roles, and the classification of driver errors."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import Any, Final, Literal, cast

import asyncpg
import orjson
from asyncpg.pool import PoolAcquireContext, PoolConnectionProxy

from service.database.asyncpg_internals import DriverPool, is_detached
from service.database.connections import (
    ACQUIRE_TIMEOUT_S,
    CONNECTION_FAILURES,
    UNREACHABLE,
    HostSelector,
    ScopedConnection,
    connect,
)
from service.database.engines import POSTGRESQL, Engine, EngineMismatch, TablesNotDistributed, check_engine
from service.database.shares import PoolShares, Worker
from service.database.statements import statements
from service.domain.bounded_cache import BoundedCache
from service.domain.errors import Unavailable
from service.domain.ids import OrgId

# Other layers pass these types on without importing the driver.
Connection = asyncpg.Connection | PoolConnectionProxy
Pool = asyncpg.Pool
Row = asyncpg.Record
DRIVER_ERRORS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
DatabaseRole = Literal["results_api", "results_worker"]
JSONB_VERSION: Final = b"\x01"  # the first byte of a value in the binary format

# The options of a COPY of JSON lines. Plain CSV or text COPY corrupts JSON. These two bytes can't occur in JSON.
JSON_LINES: Final[dict[str, Any]] = {"format": "csv", "quote": "\x01", "delimiter": "\x02"}

_CITUS_SQL: Final = statements("database", "citus")
_WORKER_REMEMBERED_S: Final = 60.0  # of an organization, whose shard can move to another one
_REACH_TIMEOUT_S: Final = 10.0  # longer than citus.node_connection_timeout
_COMMAND_TIMEOUT_S: Final = 60
_CLOSE_TIMEOUT_S: Final = 5
_RELEASE_TIMEOUT_S: Final = 5.0
_KEPT_MEMORY_KIB: Final = 8192
# By default, the allocator of Linux returns the memory of every page to the kernel and obtains it again, which takes as
# long as the page itself. After the server process has freed a larger block, it keeps twice the size of that block.
# repeat copies its text in a loop, so one character per iteration takes 4 times as long.
_START_SESSION: Final = (
    "SELECT octet_length(repeat(repeat(' ', 1024), $1)),"
    " to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL AS has_citus,"
    " concat_ws(' ', extract(epoch FROM pg_postmaster_start_time()),"
    " (SELECT oid FROM pg_database WHERE datname = current_database())) AS incarnation"
)
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


class BoundedPool(DriverPool):
    """A pool whose callers wait for a free connection only for a limited time.

    Without the limit, a few slow transactions would make every other caller wait as long as they take.
    """

    def __init__(self, url: str, *, engine: Engine, max_size: int, **options: Any) -> None:
        super().__init__(url, max_size=max_size, connection_class=engine.connection_class, **options)
        self.engine = engine
        self.shares = PoolShares(max_size, self.find_worker if engine.is_distributed else None)
        self._open_connection = partial(connect, url, server_settings=options["server_settings"])
        # The worker of each organization, and the time at which to find it again. At most 256 KiB.
        self._workers: BoundedCache[OrgId, tuple[Worker, float]] = BoundedCache(256 * 2**10)

    def acquire(self, *, timeout: float | None = None) -> PoolAcquireContext:
        """Acquire a connection. Raises TimeoutError, which is an outage, if none is free and connected in time."""
        return super().acquire(timeout=timeout or ACQUIRE_TIMEOUT_S)

    async def find_worker(self, org_id: OrgId) -> Worker:
        """Return the worker of Citus that has the rows of an organization. Only the coordinator must respond."""
        found = self._workers.get(org_id)
        if found is None or found[1] < time.monotonic():
            async with self.acquire() as connection:
                [row] = await connection.fetch(_CITUS_SQL["find_worker"], org_id)
            found = Worker(row["nodename"], row["nodeport"]), time.monotonic() + _WORKER_REMEMBERED_S
            self._workers.add(org_id, found)
        return found[0]

    async def can_reach(self, worker: Worker) -> bool:
        """Return whether the coordinator can open a connection to a worker of Citus.

        The check has a new connection to the coordinator. In another one, Citus would send it on the connection to the
        worker that an earlier statement has opened, without a timeout.
        """
        async with asyncio.timeout(_REACH_TIMEOUT_S):
            connection = await self._open_connection()
            try:
                return bool(await connection.fetchval(_CITUS_SQL["can_reach"], *worker))
            finally:
                connection.terminate()

    async def release(self, connection: Any, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - of the driver
        """Release a connection in the task of its user, which waits only after a failed or canceled statement.

        The error of such a release isn't raised, because it would replace the result of the block, its error, or its
        cancellation.
        """
        with suppress(OSError, *DRIVER_ERRORS):
            await self.release_in_task(connection, timeout or _RELEASE_TIMEOUT_S)

    def acquire_for(self, org_id: OrgId) -> PoolAcquireContext:
        """Acquire a connection that already acts as this organization, or else any one.

        If requests of two organizations alternate, each of them would otherwise set its organization first.
        """
        if self.prefer_idle(lambda idle: idle.organization == org_id):
            return super().acquire()  # without a timer, because it doesn't wait
        return self.acquire()


async def open_pool(url: str, role: DatabaseRole, size: int, engine: Engine = POSTGRESQL) -> asyncpg.Pool:
    """Return a pool whose connections use this role. The caller closes it."""

    async def probe_if_idle(connection: Connection) -> None:
        """Raise TimeoutError after an outage of the network. The other connections of the pool are lost as well."""
        try:
            await cast("ScopedConnection", connection).probe_if_idle()
        except TimeoutError:
            await pool.expire_connections()
            raise

    settings = {"role": role, "application_name": role, "jit": "off", **_SESSION[role], **engine.session}
    pool = await BoundedPool(
        url,
        engine=engine,
        min_size=0,  # a process can start while the database is down
        max_size=size,
        command_timeout=_COMMAND_TIMEOUT_S,
        connect=HostSelector().connect,
        init=partial(_init, engine),
        setup=probe_if_idle,
        reset=_keep_session,
        server_settings=settings,
    )
    return pool


def pool_engine(pool: asyncpg.Pool) -> Engine:
    """Return the engine of the connections of a pool."""
    return cast("BoundedPool", pool).engine


async def close_pool(pool: asyncpg.Pool) -> None:
    """Close a pool after its connections are released. Terminate connections that aren't released within 5 s."""
    try:
        await asyncio.wait_for(pool.close(), _CLOSE_TIMEOUT_S)
    except TimeoutError:
        pool.terminate()


@asynccontextmanager
async def as_owner(url: str, engine: Engine = POSTGRESQL) -> AsyncIterator[Connection]:
    """Provide a connection with the role results_owner, which owns the partitioned tables."""
    # While a statement waits for a lock, other statements queue after it, so it gives up soon.
    settings = {"role": "results_owner", "application_name": "results_owner", "lock_timeout": "2s"}
    connection = await connect(
        url,
        command_timeout=_COMMAND_TIMEOUT_S,
        server_settings={**settings, **engine.session},
        connection_class=engine.connection_class,
    )
    try:
        yield connection
    finally:
        await connection.close()


async def _init(engine: Engine, connection: asyncpg.Connection) -> None:
    """Prepare a new connection. Raises EngineMismatch if the server has another engine."""
    await connection.set_type_codec(  # COPY requires the binary format: a version byte, then JSON
        "jsonb", encoder=_to_jsonb, decoder=_from_jsonb, schema="pg_catalog", format="binary"
    )
    [server] = await connection.fetch(_START_SESSION, _KEPT_MEMORY_KIB)
    await check_engine(connection, engine, has_citus=server["has_citus"])
    cast("ScopedConnection", connection).incarnation = server["incarnation"]


def _to_jsonb(value: object) -> bytes:
    return JSONB_VERSION + orjson.dumps(value)


def _from_jsonb(data: bytes) -> Any:
    return orjson.loads(data[len(JSONB_VERSION) :])


async def _keep_session(connection: Connection) -> None:
    """Save the round trip of a reset on release, except after a failed statement.

    Only `act_as` changes session state, and it tracks that state.
    """
    scoped = cast("ScopedConnection", connection)
    await scoped.end_implicit_transaction()
    scoped.record_release()


def incarnation_of(connection: Connection) -> str:
    """Return the incarnation of the server and database. A failover changes it, and can lose committed rows."""
    return cast("ScopedConnection", connection).incarnation


@asynccontextmanager
async def acquire_as(pool: asyncpg.Pool, org_id: OrgId) -> AsyncIterator[Connection]:
    """Provide a connection that sees only the rows of this organization.

    Don't use it inside a transaction, because a rollback would undo the setting.
    """
    async with cast("BoundedPool", pool).acquire_for(org_id) as connection:
        await cast("ScopedConnection", connection).act_as(org_id)
        yield connection


@asynccontextmanager
async def as_organization(pool: asyncpg.Pool, org_id: OrgId) -> AsyncIterator[Connection]:
    """Provide a connection of the organization's share of the pool, like `acquire_as`.

    Raises Unavailable during an outage, or if the organization has too many concurrent queries. Don't use it twice at
    the same time for one request, because requests that wait for each other's connections would deadlock.
    """
    share = cast("BoundedPool", pool).shares.slot(org_id, ACQUIRE_TIMEOUT_S)
    async with OutagesAsUnavailable(), share, acquire_as(pool, org_id) as connection:
        yield connection


def is_lost(connection: Connection) -> bool:
    """Return whether the connection is closed."""
    return is_detached(connection) or connection.is_closed()


def terminate(connection: Connection) -> None:
    """Terminate the connection and return it to its pool, if it has one. Does nothing if it was lost before."""
    if not is_detached(connection):
        connection.terminate()


# SQLSTATE codes and classes, grouped by how a caller can respond. A code that no group contains is an error of the
# server, not of the data: it is read-only, has another password, lacks a table, reports a damaged disk or a lost node
# (58), or an error that it can't classify (XX000).
_LOCK_TIMEOUT: Final = "55P03"
_CONFLICTS: Final = ("40001", "40P01", _LOCK_TIMEOUT)
_CONNECTION_ERRORS: Final = (*UNREACHABLE, "28", "53")  # also if the server rejects the login, or has no resources
_DATA_ERRORS: Final = (
    "22000",  # raised by the driver itself, for a value that it can't encode
    "22001", "22003", "22007", "22008", "22021", "22P02", "22P05",  # values that a column can't store
    "23",  # violated constraints
    "54",  # values that exceed a limit of PostgreSQL, such as the size of an index entry
)  # fmt: skip
_UNSUPPORTED: Final = "0A000"  # a statement that PostgreSQL, or Citus on distributed tables, never executes
_MISSING_RIGHT: Final = "42501"


class RowDeleted(Exception):
    """A row was deleted between two statements of a transaction. Repeat the transaction."""


class RowLocked(Exception):
    """Other transactions use a row for a long time. Repeat the transaction later."""


def is_outage(error: BaseException) -> bool:
    """Return whether the server or its connection is the cause, so the same statement can succeed later."""
    if isinstance(error, asyncpg.PostgresError):
        return not is_data_error(error) and not is_conflict(error) and not is_unsupported(error)
    # The driver raises InternalClientError for connections that a server is closing while it shuts down.
    return isinstance(error, OSError | asyncpg.InterfaceError | asyncpg.InternalClientError | TimeoutError)


def is_conflict(error: BaseException) -> bool:
    """Return whether two transactions conflicted, so the same transaction can succeed if it is repeated."""
    return isinstance(error, RowDeleted | RowLocked) or (
        isinstance(error, asyncpg.PostgresError) and error.sqlstate in _CONFLICTS
    )


def is_lock_timeout(error: BaseException) -> bool:
    """Return whether another transaction had a lock for longer than the statement could wait."""
    return isinstance(error, RowLocked) or (
        isinstance(error, asyncpg.PostgresError) and error.sqlstate == _LOCK_TIMEOUT
    )


def is_connection_error(error: BaseException) -> bool:
    """Return whether no statement can succeed now: the connection is lost, or the server accepts no connection."""
    if isinstance(error, asyncpg.PostgresError):
        is_reported = str(error.sqlstate).startswith(_CONNECTION_ERRORS)
        return is_reported and not is_unreachable_worker(error)
    return is_outage(error)


def is_unreachable_worker(error: BaseException) -> bool:
    """Return whether the connected server reports that it can't reach another server, such as a worker of Citus.

    The connection still works. An error of the driver has no severity, and a server that ends a connection reports
    FATAL.
    """
    return (
        isinstance(error, asyncpg.PostgresError)
        and str(error.sqlstate).startswith(CONNECTION_FAILURES)
        and getattr(error, "severity_en", None) == "ERROR"
    )


def is_unsupported(error: BaseException) -> bool:
    """Return whether the server never executes the statement, so the statement is a defect of the service.

    A prepared statement whose result a migration has changed has the same code, and its next execution succeeds.
    """
    return getattr(error, "sqlstate", None) == _UNSUPPORTED and not isinstance(
        error, asyncpg.InvalidCachedStatementError
    )


def is_data_error(error: BaseException) -> bool:
    """Return whether the data can't be stored, so a retry can't succeed."""
    return isinstance(error, asyncpg.PostgresError) and str(error.sqlstate).startswith(_DATA_ERRORS)


def is_missing_right(error: BaseException) -> bool:
    """Return whether the login or its role lacks a permission, which an operator must grant."""
    return getattr(error, "sqlstate", None) == _MISSING_RIGHT


class OutagesAsUnavailable(AbstractAsyncContextManager[None, None]):
    """Converts an outage or a conflict to Unavailable, which callers outside of this package can handle."""

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, (*DRIVER_ERRORS, OSError)) and (is_outage(error) or is_conflict(error)):
            raise Unavailable("the database is not available; try again later") from error


# The errors that an operator must fix in the database or its settings
DatabaseErrorKind = Literal[
    "address", "outage", "login", "database", "schema", "migrations", "rights", "engine", "distribution"
]

_KINDS: Final[dict[str, DatabaseErrorKind]] = {
    "28000": "login",
    "28P01": "login",
    "3D000": "database",  # it is missing
    "22023": "schema",  # a role is missing
    "42P01": "schema",  # a table is missing
    _MISSING_RIGHT: "rights",
}
_CONNECT_TIMEOUT_S: Final = 10


def database_error_kind(error: BaseException) -> DatabaseErrorKind | None:
    """Return the kind of an error of the database itself, or None for any other error."""
    if isinstance(error, EngineMismatch):
        return "distribution" if isinstance(error, TablesNotDistributed) else "engine"
    if isinstance(error, asyncpg.PostgresError):
        kind = _KINDS.get(str(error.sqlstate))
    else:
        kind = "address" if isinstance(error, asyncpg.ClientConfigurationError | UnicodeError) else None
    return kind or ("outage" if is_outage(error) else None)


async def probe(pool: Pool) -> None:
    """Run a minimal query. Raises the error that any first statement would raise."""
    async with pool.acquire(timeout=_CONNECT_TIMEOUT_S) as connection:
        await connection.fetchval("SELECT 'organizations'::regclass")
