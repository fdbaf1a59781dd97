"""Reuse of connections that already act as an organization."""

import asyncio
from contextlib import AsyncExitStack

import asyncpg
import pytest

from service.database import database
from service.database.connections import ScopedConnection
from service.domain.errors import Unavailable
from service.domain.ids import OrgId

ORGANIZATIONS = [OrgId(1), OrgId(2), OrgId(3)]
SESSION = "SELECT pg_backend_pid() AS server_process, current_setting('app.org_id')::int AS org_id"


@pytest.mark.one_server
async def test_organizations_in_turn_keep_their_connections(database_url: str) -> None:
    """Otherwise, each request gets the connection of the last one, and first sets its own organization."""
    pool = await database.open_pool(database_url, "results_api", 4)
    used = {}
    async with AsyncExitStack() as concurrent:
        for org_id in ORGANIZATIONS:
            connection = await concurrent.enter_async_context(database.acquire_as(pool, org_id))
            used[org_id] = await connection.fetch(SESSION)
    for org_id in ORGANIZATIONS * 2:
        async with database.acquire_as(pool, org_id) as connection:
            assert await connection.fetch(SESSION) == used[org_id]
    await database.close_pool(pool)
    assert len({row["server_process"] for [row] in used.values()}) == len(ORGANIZATIONS)


async def test_organization_without_a_connection_uses_that_of_another_one(database_url: str) -> None:
    pool = await database.open_pool(database_url, "results_api", 1)
    for org_id in ORGANIZATIONS:
        async with database.acquire_as(pool, org_id) as connection:
            assert await connection.fetchval("SELECT current_setting('app.org_id')::int") == org_id
    await database.close_pool(pool)


async def test_request_waits_only_for_a_limited_time_until_an_expired_connection_is_replaced(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an outage, all idle connections are expired, and the server might not respond."""

    async def never_connect(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    pool = await database.open_pool(database_url, "results_api", 1)
    async with database.as_organization(pool, OrgId(1)):
        pass
    await pool.expire_connections()
    monkeypatch.setattr(asyncpg, "connect", never_connect)
    monkeypatch.setattr(database, "ACQUIRE_TIMEOUT_S", 0.01)
    async with asyncio.timeout(5):
        with pytest.raises(Unavailable):
            async with database.as_organization(pool, OrgId(1)):
                pass
    await database.close_pool(pool)


async def test_pool_replaces_a_connection_whose_user_is_canceled_while_it_releases_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    releasing = asyncio.Event()

    async def never_end(_: ScopedConnection) -> None:
        releasing.set()
        await asyncio.Event().wait()

    async def use() -> int:
        async with database.as_organization(pool, OrgId(1)) as connection:
            return int(await connection.fetchval("SELECT pg_backend_pid()"))

    pool = await database.open_pool(database_url, "results_api", 1)
    with monkeypatch.context() as patched:
        patched.setattr(ScopedConnection, "end_implicit_transaction", never_end)
        user = asyncio.create_task(use())
        await releasing.wait()
        user.cancel()
        with pytest.raises(asyncio.CancelledError):
            await user
    async with asyncio.timeout(5):
        assert await use() > 0
    await database.close_pool(pool)
