"""Connections whose packets get lost: each wait is short, and cleanup doesn't wait again."""

import asyncio

import asyncpg
import pytest

from service.store import events
from service.store.postgres import database, notifications, scoped_connections
from service.store.postgres.notifications import open_notifications
from tests.proxies import UnreliableProxy


async def query_while_stalled(pool: asyncpg.Pool, proxy: UnreliableProxy) -> None:
    async with pool.acquire() as connection, connection.transaction():
        proxy.stall_connections()
        await connection.fetchval("SELECT 1")


async def test_command_on_a_stalled_connection_waits_for_its_timeout_only_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_COMMAND_TIMEOUT_S", 1.5)
    monkeypatch.setattr(scoped_connections, "_CANCEL_TIMEOUT_S", 0.2)
    async with UnreliableProxy(database_url) as proxy:
        pool = await database.open_pool(proxy.url, "results_worker", 2)
        async with pool.acquire() as connection:
            await connection.fetchval("SELECT 1")
        # The ROLLBACK after the timeout ends with the connection, instead of with a TimeoutError of its own.
        with pytest.raises((asyncpg.InterfaceError, asyncpg.PostgresConnectionError)) as raised:
            await query_while_stalled(pool, proxy)
        assert isinstance(raised.value.__context__, TimeoutError)
        assert await pool.fetchval("SELECT 2") == 2
        await database.close_pool(pool)


async def test_canceled_command_on_a_stalled_connection_ends_soon(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoped_connections, "_CANCEL_TIMEOUT_S", 0.2)
    async with UnreliableProxy(database_url) as proxy:
        pool = await database.open_pool(proxy.url, "results_worker", 2)
        querying = asyncio.create_task(query_while_stalled(pool, proxy))
        await asyncio.sleep(0.5)
        querying.cancel()
        await asyncio.wait_for(asyncio.wait({querying}), database._COMMAND_TIMEOUT_S / 2)
        await database.close_pool(pool)


@pytest.mark.slow
async def test_stalled_idle_connections_cost_one_short_probe(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoped_connections, "_PROBE_AFTER_S", 0.0)
    monkeypatch.setattr(scoped_connections, "_PROBE_TIMEOUT_S", 0.3)
    async with UnreliableProxy(database_url) as proxy:
        pool = await database.open_pool(proxy.url, "results_worker", 3)
        async with pool.acquire() as one, pool.acquire() as two, pool.acquire() as three:
            await asyncio.gather(*(each.fetchval("SELECT 1") for each in (one, two, three)))
        proxy.stall_connections()
        with pytest.raises(TimeoutError):
            await pool.fetchval("SELECT 1")
        for _ in range(3):  # without another probe, which would raise TimeoutError
            assert await pool.fetchval("SELECT 2") == 2
        await database.close_pool(pool)


async def test_stalled_listening_connection_is_replaced(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "_PROBE_EVERY_S", 0.2)
    monkeypatch.setattr(scoped_connections, "_PROBE_TIMEOUT_S", 0.3)
    async with UnreliableProxy(database_url) as proxy:
        pool = await database.open_pool(proxy.url, "results_worker", 2)
        async with open_notifications(pool, events.NUMBERED) as opened:
            with opened.watching(events.NUMBERED) as wake:
                await asyncio.wait_for(wake.wait(), 5)
                proxy.stall_connections()
                wake.clear()
                await asyncio.wait_for(wake.wait(), 5)  # listens again
                wake.clear()
                await pool.execute(f"NOTIFY {events.NUMBERED}")
                await asyncio.wait_for(wake.wait(), 5)
        await database.close_pool(pool)
