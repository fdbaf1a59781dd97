"""Heartbeats of the consumer processes, one row per process and role."""

from collections.abc import Sequence
from typing import Final

import asyncpg

from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("heartbeats")


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
