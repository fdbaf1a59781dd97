"""Connections and connection pools for the database roles."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final, Literal, cast

import asyncpg
import orjson
from asyncpg.pool import PoolAcquireContext, PoolConnectionProxy

from service.database.asyncpg_internals import DriverPool, is_detached
from service.database.connections import (
    ACQUIRE_TIMEOUT_S,
    HostSelector,
    ScopedConnection,
    connect,
)
from service.database.engines import POSTGRESQL, Engine, check_engine
from service.database.errors import DRIVER_ERRORS, OutagesAsUnavailable
from service.database.shares import PoolShares, Worker
from service.database.statements import statements
from service.domain.bounded_cache import BoundedCache
from service.domain.ids import OrgId

# Other layers pass these types on without importing the driver.
Connection = asyncpg.Connection | PoolConnectionProxy
Pool = asyncpg.Pool
Row = asyncpg.Record
DatabaseRole = Literal["results_api", "results_worker"]
JSONB_VERSION: Final = b"\x01"  # the first byte of a value in the binary format

# The options of a COPY of JSON lines. Plain CSV or text COPY corrupts JSON. These two bytes can't occur in JSON.
JSON_LINES: Final[dict[str, Any]] = {"format": "csv", "quote": "\x01", "delimiter": "\x02"}

_CITUS_SQL: Final = statements("database", "citus")
_WORKER_REMEMBERED_S: Final = 60.0  # of an organization, whose shard can move to another one
_REACH_TIMEOUT_S: Final = 10.0  # longer than citus.node_connection_timeout
_COMMAND_TIMEOUT_S: Final = 60
_CONNECT_TIMEOUT_S: Final = 10
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
    """Provide a connection that sees only rows of this organization, by row-level security.

    Each organization can use a share of the pool. Raises Unavailable during an outage, or if the organization has too
    many concurrent queries. Don't use it twice at the same time for one request, because requests that wait for each
    other's connections would deadlock.
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


async def probe(pool: Pool) -> None:
    """Run a minimal query. Raises the error that any first statement would raise."""
    async with pool.acquire(timeout=_CONNECT_TIMEOUT_S) as connection:
        await connection.fetchval("SELECT 'organizations'::regclass")
