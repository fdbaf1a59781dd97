"""Test databases, cloned from a template with the schema."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

from service.store.postgres import migrations

_TEMPLATE_LOCK: Final = 7_230_515


@contextmanager
def cloned_database(server_url: str, template: str) -> Iterator[str]:
    """Create a database from the template; drop it at the end even if clients are connected."""
    name = f"test_{uuid4().hex}"
    run_in_new_loop(_clone(server_url, template, name))
    try:
        yield with_database(server_url, name)
    finally:
        run_in_new_loop(_execute(server_url, f'DROP DATABASE "{name}" WITH (FORCE)'))


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
    run_in_new_loop(_execute(server_url, f'DROP DATABASE IF EXISTS "{template}" WITH (FORCE)'))


def with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def run_in_new_loop(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine like asyncio.run, which would also close the event loop of pytest-asyncio in this thread."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(work)
    finally:
        loop.close()


async def _clone(server_url: str, template: str, name: str) -> None:
    connection = await asyncpg.connect(server_url)
    try:
        await _create_template(connection, server_url, template)
        # Without fsync, this strategy needs half the time of the default.
        await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
    finally:
        await connection.close()


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
            await connection.execute(f'ALTER DATABASE "{unfinished}" RENAME TO "{template}"')
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", _TEMPLATE_LOCK)


async def _exists(connection: asyncpg.Connection, name: str) -> bool:
    return await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name) is not None


async def _execute(server_url: str, statement: str) -> None:
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
