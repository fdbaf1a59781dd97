"""Which workers are alive."""

from collections.abc import Sequence
from typing import Final

import asyncpg

from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("heartbeats")


async def record_heartbeat(pool: asyncpg.Pool, worker_id: str, role: str) -> None:
    """Says that this worker is alive now."""
    await pool.execute(_SQL["record_heartbeat"], worker_id, role)


async def delete_heartbeat(pool: asyncpg.Pool, worker_id: str) -> None:
    """Takes this worker out, and whoever has been silent for a day."""
    await pool.execute(_SQL["delete_heartbeat"], worker_id)


async def count_live_workers(connection: Connection) -> dict[str, int]:
    """How many workers of each role are alive."""
    return {row["role"]: row["workers"] for row in await connection.fetch(_SQL["count_live_workers"])}


async def find_heartbeats(connection: Connection, roles: Sequence[str]) -> list[asyncpg.Record]:
    """Of each of these roles: role, workers that are alive, heartbeat_age_s since the last beat or null."""
    return await connection.fetch(_SQL["find_heartbeats"], roles)
