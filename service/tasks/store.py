"""Leases of tasks, heartbeats of workers, crash suspects, and the sizes of backlogs as rows.

Exports and reports are tasks; their SQL files define the same statements.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final
from uuid import uuid4

import asyncpg

from service.database.database import Connection, Pool
from service.database.errors import DRIVER_ERRORS
from service.database.statements import statements
from service.tasks.model import Lease

_SQL: Final = statements("tasks")
_WITHDRAW_TIMEOUT_S: Final = 3.0  # shorter than the time after which a canceled task is canceled again


class TaskTable:
    """A table of tasks. Each write checks the lease and changes nothing if the lease is lost.

    The SQL file of the noun defines `renew_lease`, `retry`, and `release`. `columns` are the values of further columns
    that the statement of this table sets, such as the progress of an export.
    """

    def __init__(self, noun: str) -> None:
        self._sql = statements(noun)

    async def renew_lease(self, connection: Connection, lease: Lease, duration: timedelta, *columns: object) -> bool:
        """Extend the lease to `duration` from now. Return False if the lease is lost."""
        return await connection.fetchval(self._sql["renew_lease"], *lease, duration, *columns) is not None

    async def retry(self, connection: Connection, lease: Lease, delay: timedelta, *columns: object) -> None:
        """Return the task to the queue. The next attempt starts after the delay."""
        await connection.execute(self._sql["retry"], *lease, delay, *columns)

    async def release(self, connection: Connection, lease: Lease, delay: timedelta = timedelta()) -> None:
        """Return the task to the queue without counting the attempt."""
        await connection.execute(self._sql["release"], *lease, delay)


EXPORT_TASKS: Final = TaskTable("exports")
REPORT_TASKS: Final = TaskTable("reports")


async def record_heartbeat(pool: asyncpg.Pool, worker_id: str, role: str) -> None:
    """Write the heartbeat of this worker."""
    await pool.execute(_SQL["record_heartbeat"], worker_id, role)


async def delete_heartbeat(pool: asyncpg.Pool, worker_id: str) -> None:
    """Delete the heartbeat of this worker, and heartbeats that are older than one day."""
    await pool.execute(_SQL["delete_heartbeat"], worker_id)


async def count_live_workers(connection: Connection) -> dict[str, int]:
    """Return the number of live workers by role."""
    return {row["role"]: row["workers"] for row in await connection.fetch(_SQL["count_live_workers"])}


async def find_heartbeats(connection: Connection, roles: Sequence[str]) -> list[asyncpg.Record]:
    """Return one row per role: role, workers (live), heartbeat_age_s (since the last heartbeat, or null)."""
    return await connection.fetch(_SQL["find_heartbeats"], roles)


class CrashSuspects:
    """The crash suspects of all queues, as one process sees them. Create one per process.

    An attempt counts until its process withdraws it. A process withdraws every attempt that it survives, so only those
    whose process has ended count. An attempt that can't be withdrawn during an outage is withdrawn afterwards.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._process = uuid4().hex
        self._interrupted: set[tuple[str, bytes]] = set()  # attempts that the database still counts

    async def start_attempt(self, queue: str, body_sha256: bytes) -> int:
        """Record an attempt before it starts. Return the number of processes with an attempt, including this one."""
        self._interrupted.discard((queue, body_sha256))
        count: int = await self._pool.fetchval(_SQL["start_attempt"], queue, body_sha256, self._process)
        return count

    async def withdraw(self, queue: str, body_sha256: bytes) -> None:
        """Withdraw an attempt that ended without the end of the process, now or later."""
        self._interrupted.add((queue, body_sha256))
        with suppress(OSError, *DRIVER_ERRORS):
            async with asyncio.timeout(_WITHDRAW_TIMEOUT_S):
                await self.withdraw_interrupted()

    async def withdraw_interrupted(self) -> None:
        """Withdraw the attempts that `withdraw` couldn't. Call it before the process receives further messages."""
        for queue, body_sha256 in tuple(self._interrupted):
            await self._pool.execute(_SQL["withdraw_attempt"], queue, body_sha256, self._process)
            self._interrupted.discard((queue, body_sha256))

    async def clear(self, queue: str, body_sha256: bytes) -> None:
        """Delete a suspect whose message is acknowledged."""
        await self._pool.execute(_SQL["clear"], queue, body_sha256)


async def find_backlogs(connection: Connection, limit: int) -> asyncpg.Record:
    """Return one row with the size and age of each backlog. Each count stops at `limit`."""
    async with connection.transaction(readonly=True):
        await connection.execute(_SQL["prefer_index_scans"])
        row = await connection.fetchrow(_SQL["find_backlogs"], limit)
    assert row is not None  # noqa: S101 - the statement always returns one row
    return row
