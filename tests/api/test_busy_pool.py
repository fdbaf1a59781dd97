"""Requests while every database connection is in use."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from service.database import database
from service.database.database import Pool, as_organization
from service.domain.errors import Unavailable
from service.domain.ids import OrgId
from tests.served import Api


async def test_request_waits_only_for_a_limited_time_for_a_free_connection(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "ACQUIRE_TIMEOUT_S", 0.2)
    pool = api.resources.pool
    async with AsyncExitStack() as slow_transactions, asyncio.timeout(5):
        with pytest.raises(TimeoutError):
            await acquire_all(slow_transactions, pool)
        response = await api.send("GET", "/v1/runs")
        assert response.status == 503, await response.text()
        assert int(response.headers["Retry-After"]) > 0
    assert (await api.send("GET", "/v1/runs")).status == 200


async def test_organization_with_many_queries_leaves_connections_for_others(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, other_key = await api.make_organization("other")
    monkeypatch.setattr(database, "ACQUIRE_TIMEOUT_S", 0.2)
    async with AsyncExitStack() as slow_queries, asyncio.timeout(5):
        with pytest.raises(Unavailable, match="too many concurrent requests"):
            await acquire_share(slow_queries, api.resources.pool, api.org_id)
        assert (await api.send("GET", "/v1/runs", key=other_key)).status == 200
        assert (await api.send("GET", "/v1/runs")).status == 503
    assert (await api.send("GET", "/v1/runs")).status == 200


async def acquire_all(stack: AsyncExitStack, pool: Pool) -> None:
    while True:
        await stack.enter_async_context(pool.acquire())


async def acquire_share(stack: AsyncExitStack, pool: Pool, org_id: OrgId) -> None:
    while True:
        await stack.enter_async_context(as_organization(pool, org_id))
