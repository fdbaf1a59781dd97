"""Requests while every database connection is in use."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from service.store.postgres import database
from service.store.postgres.database import Pool
from tests.api.served import Api


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


async def acquire_all(stack: AsyncExitStack, pool: Pool) -> None:
    while True:
        await stack.enter_async_context(pool.acquire())
