"""Distribution of the tables over the workers of a Citus cluster."""

from typing import Final, NamedTuple

import asyncpg

from service.database import migrations
from service.database.connections import connect
from service.database.database import Connection
from service.database.engines import DISTRIBUTED_TABLES, WORKER_SESSIONS
from service.database.statements import statements
from service.domain.errors import Conflict

_SQL: Final = statements("database", "citus")
_TIMEOUT_S: Final = 24 * 3600.0  # existing rows move to the workers
_FIRST: Final = DISTRIBUTED_TABLES[0]


class Distribution(NamedTuple):
    """The tables that a call distributed, and the number of shards of each table."""

    tables: list[str]
    shards: int


async def distribute(database_url: str, shards: int | None) -> Distribution:
    """Distribute the tables that aren't distributed yet.

    The first table gets this number of shards, and each other table has the shards of the first one, whose number
    rises if an organization gets a shard of its own. Idempotent: continues after an interruption. Requires a superuser,
    the schema, and stopped processes. Raises Conflict, whose message states what the cluster or the database lacks.
    """
    connection = await connect(database_url, command_timeout=_TIMEOUT_S)
    try:
        await migrations.lock(connection)
        await _check_cluster(connection)
        found = await connection.fetch(_SQL["find_tables"], DISTRIBUTED_TABLES)
        known = {row["name"] for row in found if row["is_distributed"]}
        if _FIRST not in known and shards is None:
            raise Conflict("--shards: required, because no table is distributed yet")
        await _prepare_roles(connection)
        for unsupported in ("find_foreign_keys", "find_triggers"):
            for statement in await connection.fetch(_SQL[unsupported], DISTRIBUTED_TABLES):
                await connection.execute(statement[0])
        missing = [name for name in DISTRIBUTED_TABLES if name not in known]
        for name in missing:
            await _distribute_table(connection, name, shards)
        await _create_commit_mark(connection)
        await _check_logins(connection)
        return Distribution(missing, await connection.fetchval(_SQL["count_shards"], _FIRST))
    finally:
        await connection.close()


async def _check_cluster(connection: Connection) -> None:
    if not await connection.fetchval(_SQL["has_citus"]):
        raise Conflict("the database doesn't have the extension citus; run CREATE EXTENSION citus on every server")
    if not await connection.fetchval(_SQL["count_workers"]):
        raise Conflict("the cluster has no worker; add each one with SELECT citus_add_node('host', 5432)")
    if not await connection.fetchval(_SQL["is_coordinator"]):
        raise Conflict("RESULTS_DATABASE_URL must name the coordinator, and this server is a worker")
    try:
        missing = await migrations.missing(connection)
    except asyncpg.UndefinedTableError as error:
        raise Conflict("the schema isn't installed; run `zof-results schema apply` first") from error
    if missing:
        raise Conflict("the database lacks migrations of this version; run `zof-results schema apply` first")
    running = [row["role"] for row in await connection.fetch(_SQL["find_consumers"])]
    if running:
        raise Conflict(f"consumers are running ({', '.join(running)}); stop all processes of the service first")


async def _prepare_roles(connection: Connection) -> None:
    """Permit the coordinator to connect to the workers as the roles, which it does for each statement of a role."""
    for role, settings in WORKER_SESSIONS.items():
        await connection.execute(f"ALTER ROLE {role} LOGIN")
        for name, value in settings.items():
            await connection.execute(f"ALTER ROLE {role} SET {name} = '{value}'")


async def _distribute_table(connection: Connection, name: str, shards: int | None) -> None:
    """Distribute a table with its rows, in one transaction, so that an interruption leaves the table unchanged."""
    async with connection.transaction():
        if name == _FIRST:
            await connection.execute(_SQL["distribute_first"], name, shards)
        else:
            await connection.execute(_SQL["distribute_with"], name, _FIRST)
        await connection.execute(_SQL["truncate_local_rows"], name)


async def _create_commit_mark(connection: Connection) -> None:
    if not await connection.fetchval(_SQL["has_commit_mark"]):
        async with connection.transaction():
            await connection.execute("CREATE TABLE commit_mark (id int PRIMARY KEY)")
            await connection.execute(f"GRANT SELECT, DELETE ON commit_mark TO {', '.join(WORKER_SESSIONS)}")
            await connection.execute(_SQL["manage_commit_mark"])


async def _check_logins(connection: Connection) -> None:
    """Raise Conflict if the coordinator can't connect to the workers as one of the roles."""
    for role in WORKER_SESSIONS:
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL ROLE {role}")
                await connection.execute(_SQL["read_all_shards"])
        except asyncpg.PostgresError as error:
            raise Conflict(
                f"the coordinator can't connect to a worker as {role}: {error}. Allow the role in pg_hba.conf of each"
                " worker, with a password in pg_dist_authinfo or with a certificate; then run the command again"
            ) from error
