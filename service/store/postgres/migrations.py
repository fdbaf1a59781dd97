"""Brings a database to the current schema: schema.sql where it is empty, the missing migrations where it is not."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

_ROOT: Final = Path(__file__).parents[3]
_LOCK: Final = 0x5A6F66  # any number that is ours: one process applies at a time


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file of migrations/."""

    version: int
    name: str
    sql: str


def all_migrations() -> list[Migration]:
    """Every migration, oldest first."""
    files = sorted((_ROOT / "migrations").glob("*.sql"))
    matches = [(re.fullmatch(r"(\d{4})_(\w+)", file.stem), file) for file in files]
    return [Migration(int(m[1]), m[2], file.read_text(encoding="utf-8")) for m, file in matches if m]


async def apply(database_url: str) -> list[Migration]:
    """Applies what is missing, each in a transaction of its own; returns the migrations that are new here.

    Safe to call at once from several processes, and again.
    """
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        if await _is_empty(connection):
            return await _load_schema(connection)
        return [await _run(connection, migration) for migration in await _pending(connection)]
    finally:
        await connection.close()


async def pending(database_url: str) -> list[Migration]:
    """What `apply` would do."""
    connection = await asyncpg.connect(database_url)
    try:
        return all_migrations() if await _is_empty(connection) else await _pending(connection)
    finally:
        await connection.close()


async def _is_empty(connection: asyncpg.Connection) -> bool:
    return await connection.fetchval("SELECT to_regclass('public.schema_migrations') IS NULL") is True


async def _pending(connection: asyncpg.Connection) -> list[Migration]:
    rows = await connection.fetch("SELECT version FROM schema_migrations")
    applied = {row["version"] for row in rows}
    return [migration for migration in all_migrations() if migration.version not in applied]


async def _load_schema(connection: asyncpg.Connection) -> list[Migration]:
    async with connection.transaction():
        await connection.execute((_ROOT / "schema.sql").read_text(encoding="utf-8"))
        return [await _record(connection, migration) for migration in all_migrations()]


async def _run(connection: asyncpg.Connection, migration: Migration) -> Migration:
    async with connection.transaction():
        await connection.execute(migration.sql)
        return await _record(connection, migration)


async def _record(connection: asyncpg.Connection, migration: Migration) -> Migration:
    await connection.execute(
        "INSERT INTO schema_migrations (version, name) VALUES ($1, $2)", migration.version, migration.name
    )
    return migration
