"""The Citus cluster of a test session: RESULTS_TEST_CITUS_URL names the coordinator, and after it the workers.

The user must be a superuser, and every server must accept it and the database roles without a password from the others:
postgresql://postgres@127.0.0.1:9700,127.0.0.1:9701,127.0.0.1:9702/postgres
"""

import os
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg

from service.database import database, distribution, migrations
from service.database.engines import CITUS
from service.domain.addresses import split_hosts

_SHARDS: Final = 2  # a clone takes as long as its tables
_TERMINATION_MS: Final = 5_000
_TERMINATE: Final = "SELECT pg_terminate_backend(pid, $2::bigint) FROM pg_stat_activity WHERE datname = $1"


def server_urls() -> list[str]:
    """Return the URLs of the coordinator and of the workers, or an empty list without a cluster."""
    url = os.environ.get("RESULTS_TEST_CITUS_URL")
    return split_hosts(url) if url else []


def make_default() -> None:
    """Let the pools of this process, and the processes that it starts, use Citus."""
    open_pool: Any = database.open_pool
    as_owner: Any = database.as_owner
    open_pool.__defaults__ = as_owner.__wrapped__.__defaults__ = (CITUS,)
    os.environ["RESULTS_DATABASE_ENGINE"] = CITUS.name


async def distribute(urls: list[str]) -> None:
    """Install the schema in a database that exists on every server, and distribute it."""
    for url in urls:
        await _execute(url, "CREATE EXTENSION citus")
    coordinator, *workers = ((urlsplit(url).hostname, urlsplit(url).port) for url in urls)
    await _execute(urls[0], "SELECT citus_set_coordinator_host($1, $2)", *coordinator)
    for worker in workers:
        await _execute(urls[0], "SELECT citus_add_node($1, $2)", *worker)
    await migrations.apply(urls[0])
    await distribution.distribute(urls[0], _SHARDS)


async def close_connections(url: str, name: str) -> None:
    """Terminate the maintenance process of a database, if it exists, and prevent the restart of the process.

    Otherwise, the database can't be cloned, renamed, or dropped.
    """
    server = await asyncpg.connect(url)
    try:
        if await server.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
            await server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            await server.execute(_TERMINATE, name, _TERMINATION_MS)
    finally:
        await server.close()


async def _execute(url: str, statement: str, *arguments: object) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement, *arguments)
    finally:
        await connection.close()
