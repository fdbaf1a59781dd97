"""Reuse of connections that already act as an organization."""

from contextlib import AsyncExitStack

import pytest

from service.domain.ids import OrgId
from service.store.postgres import database

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
