"""Schema changes: schema.sql for an empty database, the missing migrations for an existing one.

The package contains both as resources; in a checkout, service/database/schema links to the files at the top level.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

import asyncpg

from service.database.connections import connect
from service.database.database import Connection
from service.database.errors import is_conflict
from service.domain.errors import NotFound, Unavailable
from service.retries import with_retries

_LOCK: Final = 0x5A6F66  # an arbitrary advisory lock of this project
_LOCK_TIMEOUT: Final = "2s"  # sessions that need the table also wait for this time
_LOCK_DELAYS_S: Final = (2.0,) * 60
_END_OF_STATEMENT: Final = re.compile(r";\s*(--.*)?$")
_GRANT_ROLES: Final = "SELECT format('GRANT results_api, results_worker, results_owner TO %I', $1::text)"


@dataclass(frozen=True, slots=True)
class Migration:
    """A numbered file of migrations/."""

    version: int
    name: str
    sql: str


def all_migrations() -> list[Migration]:
    """Return all migrations, oldest first. Raises FileNotFoundError if the installation lacks them."""
    folder = _schema_files() / "migrations"
    found = [_read(file) for file in folder.iterdir() if file.name.endswith(".sql")]
    if not found:
        raise FileNotFoundError(f"{folder}: no migrations found")
    return sorted(found, key=lambda migration: migration.version)


async def apply(
    database_url: str, on_locked: Callable[[Migration], object] = lambda _migration: None
) -> list[Migration]:
    """Apply the missing migrations, each in its own transaction; return those that this call applied.

    Idempotent. Several processes can call it concurrently: an advisory lock makes them wait for each other. If another
    transaction has locked a table for more than 2 s, or both wait for each other, call `on_locked` and repeat the
    migration, for about 4 minutes. Raises Unavailable if the table is still locked.
    """
    connection = await connect(database_url)
    try:
        await lock(connection)
        if await _is_empty(connection):
            return await _load_schema(connection)
        return [await _run(connection, migration, on_locked) for migration in await missing(connection)]
    finally:
        await connection.close()


async def lock(connection: Connection) -> None:
    """Wait until no other process changes the schema, and lock it until the connection ends."""
    await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)


async def pending(database_url: str) -> list[Migration]:
    """Return the migrations that `apply` would apply."""
    connection = await connect(database_url)
    try:
        if await _is_empty(connection):
            return all_migrations()
        await connection.execute("SET ROLE results_worker")  # the login of the processes has no privileges of its own
        return await missing(connection)
    finally:
        await connection.close()


async def missing(connection: Connection) -> list[Migration]:
    """Return the migrations of this version that a database with a schema lacks, oldest first.

    A database that a later version has migrated lacks none.
    """
    rows = await connection.fetch("SELECT version FROM schema_migrations")
    applied = {row["version"] for row in rows}
    return [migration for migration in all_migrations() if migration.version not in applied]


async def grant_roles(database_url: str, login: str) -> None:
    """Let a login act as the roles of the processes. Raises NotFound if the login doesn't exist."""
    connection = await connect(database_url)
    try:
        await connection.execute(await connection.fetchval(_GRANT_ROLES, login))
    except asyncpg.UndefinedObjectError as error:
        raise NotFound(f"login {login!r} not found; create it with CREATE ROLE … LOGIN NOINHERIT") from error
    finally:
        await connection.close()


def split_statements(sql: str) -> Iterator[str]:
    """Yield each statement of a migration: Citus can't pass a command with several statements on to its workers.

    A statement ends with a semicolon at the end of a line, outside of the body of a function ($$ … $$).
    """
    lines: list[str] = []
    is_quoted = False
    for line in sql.splitlines():
        lines.append(line)
        is_quoted ^= line.count("$$") % 2 == 1
        if not is_quoted and _END_OF_STATEMENT.search(line):
            yield "\n".join(lines)
            lines = []
    if any(line.strip() for line in lines):
        yield "\n".join(lines)


def _schema_files() -> Traversable:
    return files("service.database") / "schema"


def _read(file: Traversable) -> Migration:
    version, _, name = file.name.removesuffix(".sql").partition("_")
    if not re.fullmatch(r"\d{4}_\w+\.sql", file.name):
        raise ValueError(f"{file}: must be named like 0001_first_release.sql")
    return Migration(int(version), name, file.read_text(encoding="utf-8"))


async def _is_empty(connection: asyncpg.Connection) -> bool:
    return await connection.fetchval("SELECT to_regclass('public.schema_migrations') IS NULL") is True


async def _load_schema(connection: asyncpg.Connection) -> list[Migration]:
    schema = (_schema_files() / "schema.sql").read_text(encoding="utf-8")
    async with connection.transaction():
        await connection.execute(schema)
        return [await _record(connection, migration) for migration in all_migrations()]


async def _run(
    connection: asyncpg.Connection, migration: Migration, on_locked: Callable[[Migration], object]
) -> Migration:
    try:
        return await with_retries(
            partial(_attempt, connection, migration), is_conflict, _LOCK_DELAYS_S,
            on_retry=lambda _error, _delay_s: on_locked(migration),
        )  # fmt: skip
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
        raise Unavailable(
            f"migration {migration.version:04}: another transaction locks a table that the migration changes; find it"
            " in pg_stat_activity, wait for its end or terminate it, and run the command again"
        ) from error


async def _attempt(connection: asyncpg.Connection, migration: Migration) -> Migration:
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
        for statement in split_statements(migration.sql):
            await connection.execute(statement)
        return await _record(connection, migration)


async def _record(connection: asyncpg.Connection, migration: Migration) -> Migration:
    await connection.execute(
        "INSERT INTO schema_migrations (version, name) VALUES ($1, $2)", migration.version, migration.name
    )
    return migration
