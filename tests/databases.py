"""Test databases, cloned from a template with the schema."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

from service.database import migrations
from tests import citus_cluster
from tests.run_events import COMPLETED_AT

_TEMPLATE_LOCK: Final = 7_230_515
_CATALOGS: Final = (
    "SELECT string_agg(oid::regclass::text, ', ') FROM pg_class"
    " WHERE relkind = 'r' AND NOT relisshared AND relnamespace = 'pg_catalog'::regnamespace"
)


class DatabaseServer:
    """A connection of a superuser that creates and drops databases, with an event loop of its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._loop = asyncio.new_event_loop()
        self._connection = self._loop.run_until_complete(asyncpg.connect(url))

    def close(self) -> None:
        self._loop.run_until_complete(self._connection.close())
        self._loop.close()

    @contextmanager
    def cloned_database(self, template: str) -> Iterator[str]:
        """Create a database from the template; drop it at the end even if clients are connected."""
        name = f"test_{uuid4().hex}"
        self._loop.run_until_complete(_clone(self._connection, self._url, template, name))
        try:
            yield with_database(self._url, name)
        finally:
            self._loop.run_until_complete(_drop(self._connection, name))


@contextmanager
def cloned_database(server_url: str, template: str) -> Iterator[str]:
    """Create a database from the template; drop it at the end even if clients are connected."""
    with closing(DatabaseServer(server_url)) as server, server.cloned_database(template) as url:
        yield url


@contextmanager
def empty_database(server_url: str) -> Iterator[str]:
    """Create a database without the schema; drop it at the end."""
    name = f"test_{uuid4().hex}"
    run_in_new_loop(_execute(server_url, f'CREATE DATABASE "{name}"'))
    try:
        yield with_database(server_url, name)
    finally:
        run_in_new_loop(_execute(server_url, f'DROP DATABASE "{name}" WITH (FORCE)'))


def drop_template(server_url: str, template: str) -> None:
    run_in_new_loop(_drop_template(server_url, template))


def with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def run_in_new_loop(work: Coroutine[Any, Any, object]) -> None:
    """Run a coroutine like asyncio.run, which would also close the event loop of pytest-asyncio in this thread."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(work)
    finally:
        loop.close()


async def _drop_template(server_url: str, template: str) -> None:
    connection = await asyncpg.connect(server_url)
    try:
        await _drop(connection, template)
    finally:
        await connection.close()


async def _drop(connection: asyncpg.Connection, name: str) -> None:
    drop = f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'
    servers = citus_cluster.server_urls()
    for url in servers:  # first the coordinator, which connects to the workers
        await citus_cluster.close_connections(url, name)
    for url in servers:
        await _execute(url, drop)
    if not servers:
        await connection.execute(drop)


async def _clone(connection: asyncpg.Connection, server_url: str, template: str, name: str) -> None:
    if servers := citus_cluster.server_urls():
        await _clone_on_cluster(servers, template, name)
        return
    await _create_template(connection, server_url, template)
    # Without fsync, this strategy needs half the time of the default.
    await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')


async def _clone_on_cluster(servers: list[str], template: str, name: str) -> None:
    """Clone the database of each server. The metadata of the coordinator names servers, and no databases."""
    connection = await asyncpg.connect(servers[0])
    try:
        if not await _exists(connection, template):
            await _create_distributed_template(connection, servers, template)
    finally:
        await connection.close()
    clone = f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy'
    await asyncio.gather(*(_execute(url, clone) for url in servers))


async def _create_distributed_template(coordinator: asyncpg.Connection, servers: list[str], template: str) -> None:
    """Create and distribute the template, under another name until it is complete."""
    await coordinator.execute("SELECT pg_advisory_lock($1)", _TEMPLATE_LOCK)
    try:
        if await _exists(coordinator, template):
            return
        unfinished = f"{template}_unfinished"
        for url in servers:
            await _execute(url, f'DROP DATABASE IF EXISTS "{unfinished}" WITH (FORCE)')
            await _execute(url, f'CREATE DATABASE "{unfinished}"')
        await citus_cluster.distribute([with_database(url, unfinished) for url in servers])
        for url in reversed(servers):  # the coordinator is last, because its template is the one that is looked up
            await citus_cluster.close_connections(url, unfinished)
            await _execute(url, f'ALTER DATABASE "{unfinished}" RENAME TO "{template}"')
    finally:
        await coordinator.execute("SELECT pg_advisory_unlock($1)", _TEMPLATE_LOCK)


async def _create_template(connection: asyncpg.Connection, server_url: str, template: str) -> None:
    """Create the template if it doesn't exist; other test processes wait for the lock."""
    if await _exists(connection, template):
        return
    await connection.execute("SELECT pg_advisory_lock($1)", _TEMPLATE_LOCK)
    try:
        if not await _exists(connection, template):
            unfinished = f"{template}_unfinished"
            await connection.execute(f'DROP DATABASE IF EXISTS "{unfinished}" WITH (FORCE)')
            await connection.execute(f'CREATE DATABASE "{unfinished}"')
            await migrations.apply(with_database(server_url, unfinished))
            await _prepare(with_database(server_url, unfinished))
            await connection.execute(f'ALTER DATABASE "{unfinished}" RENAME TO "{template}"')
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", _TEMPLATE_LOCK)


async def _prepare(url: str) -> None:
    """Do once what each test would repeat in its database, or what makes its clone slow."""
    connection = await asyncpg.connect(url)
    try:
        # In the database of a test, the partitions of its first event would take as long as the clone.
        month = datetime.fromisoformat(COMPLETED_AT).date()
        await connection.execute("SELECT create_month_partitions($1)", month)
        # Compact catalogs have no maps of their free and visible pages, which would be 70 files of each clone.
        await connection.execute(f"VACUUM (FULL) {await connection.fetchval(_CATALOGS)}")
    finally:
        await connection.close()


async def _exists(connection: asyncpg.Connection, name: str) -> bool:
    return await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name) is not None


async def _execute(server_url: str, statement: str) -> None:
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
