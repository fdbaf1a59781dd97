"""Connections whose packets get lost: each wait is short, and cleanup doesn't wait again."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest

from service.database import asyncpg_internals, connections, database, notifications
from service.database.errors import DRIVER_ERRORS, is_outage
from service.database.notifications import listening, open_notifications
from service.events import store as events_store
from tests.proxies import UnreliableProxy

pytestmark = pytest.mark.slow

CHUNKS = 64  # of 1 MiB: more than the buffers of the sockets


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[UnreliableProxy]:
    async with UnreliableProxy(database_url) as opened:
        yield opened


@pytest.fixture
async def pool(proxy: UnreliableProxy) -> AsyncIterator[asyncpg.Pool]:
    opened = await database.open_pool(proxy.url, "results_worker", 2)
    yield opened
    opened.terminate()


async def chunks() -> AsyncIterator[bytes]:
    for _ in range(CHUNKS):
        yield b"x" * 2**20


async def copy_while_stalled(pool: asyncpg.Pool, proxy: UnreliableProxy) -> None:
    async with pool.acquire() as connection:
        await connection.execute("CREATE TEMP TABLE written (value text)")
        proxy.stall_connections()
        await connection.copy_to_table("written", source=chunks())


async def copied(pool: asyncpg.Pool, proxy: UnreliableProxy) -> BaseException | None:
    """Return the error of a COPY on a stalled connection that the proxy closes soon."""
    copying = asyncio.create_task(copy_while_stalled(pool, proxy))
    await asyncio.sleep(0.3)
    proxy.close_stalled()
    await asyncio.wait({copying}, timeout=5)
    return copying.exception()


async def test_copy_ends_when_its_connection_is_lost(pool: asyncpg.Pool, proxy: UnreliableProxy) -> None:
    error = await copied(pool, proxy)
    assert error is not None
    assert is_outage(error)


async def test_copy_that_the_server_does_not_read_has_a_limit(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_COMMAND_TIMEOUT_S", 0.5)
    monkeypatch.setattr(asyncpg_internals, "_CANCEL_TIMEOUT_S", 0.2)
    async with UnreliableProxy(database_url) as proxy:
        pool = await database.open_pool(proxy.url, "results_worker", 2)
        with pytest.raises((OSError, *DRIVER_ERRORS)) as raised:
            await asyncio.wait_for(copy_while_stalled(pool, proxy), 10)
        assert is_outage(raised.value)
        pool.terminate()


async def test_copy_over_a_slow_connection_continues_while_rows_are_transferred(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_COMMAND_TIMEOUT_S", 3.0)
    async with UnreliableProxy(database_url) as proxy:
        pool = await database.open_pool(proxy.url, "results_worker", 2)
        async with pool.acquire() as connection:
            await connection.execute("CREATE TEMP TABLE written (value text)")
            proxy.bytes_per_s = 8 * 2**20
            started = time.monotonic()
            await connection.copy_to_table("written", source=chunks())
            assert time.monotonic() - started > 4
        await database.close_pool(pool)


async def test_end_of_listening_does_not_wait_for_a_stalled_server(
    pool: asyncpg.Pool, proxy: UnreliableProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "_UNLISTEN_TIMEOUT_S", 0.2)
    started = time.monotonic()
    async with pool.acquire() as connection, listening(connection, events_store.EVENTS_WRITTEN, lambda _: None):
        proxy.stall_connections()
    assert time.monotonic() - started < 3
    assert await pool.fetchval("SELECT 1") == 1


async def test_release_on_a_stalled_connection_does_not_replace_the_result(
    pool: asyncpg.Pool, proxy: UnreliableProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_RELEASE_TIMEOUT_S", 0.2)
    async with pool.acquire() as connection:
        with pytest.raises(asyncpg.PostgresError):
            await connection.fetchval("SELECT 1 / 0")  # the release then needs the server
        proxy.stall_connections()
    assert await pool.fetchval("SELECT 1") == 1


async def test_canceled_probe_terminates_its_connection(
    pool: asyncpg.Pool, proxy: UnreliableProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_PROBE_AFTER_S", 0.0)
    await pool.fetchval("SELECT 1")
    proxy.stall_connections()
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        async with pool.acquire(timeout=0.2):  # shorter than the probe
            pass
    assert time.monotonic() - started < 2


async def query_while_stalled(pool: asyncpg.Pool, proxy: UnreliableProxy) -> None:
    async with pool.acquire() as connection, connection.transaction():
        proxy.stall_connections()
        await connection.fetchval("SELECT 1")


async def test_command_on_a_stalled_connection_waits_for_its_timeout_only_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_COMMAND_TIMEOUT_S", 1.5)
    monkeypatch.setattr(asyncpg_internals, "_CANCEL_TIMEOUT_S", 0.2)
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
    monkeypatch.setattr(asyncpg_internals, "_CANCEL_TIMEOUT_S", 0.2)
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
    monkeypatch.setattr(connections, "_PROBE_AFTER_S", 0.0)
    monkeypatch.setattr(connections, "_PROBE_TIMEOUT_S", 0.3)
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


async def test_discarded_connections_of_a_stalled_server_cause_no_error_of_the_event_loop(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_CLOSE_TIMEOUT_S", 0.2)
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    async with UnreliableProxy(database_url) as proxy:
        pool = await database.open_pool(proxy.url, "results_worker", 2)
        assert await pool.fetchval("SELECT 1") == 1
        proxy.stall_connections()
        await pool.expire_connections()
        assert await pool.fetchval("SELECT 2") == 2  # on a new connection
        await asyncio.sleep(0.5)  # until the stalled one is terminated
        gc.collect()
        await database.close_pool(pool)
    assert reported == []


async def test_stalled_listening_connection_is_replaced(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "_PROBE_EVERY_S", 0.2)
    monkeypatch.setattr(connections, "_PROBE_TIMEOUT_S", 0.3)
    async with UnreliableProxy(database_url) as proxy:
        pool = await database.open_pool(proxy.url, "results_worker", 2)
        async with open_notifications(pool, events_store.EVENTS_NUMBERED) as opened:
            with opened.watching(events_store.EVENTS_NUMBERED) as wake:
                await asyncio.wait_for(wake.wait(), 5)
                proxy.stall_connections()
                wake.clear()
                await asyncio.wait_for(wake.wait(), 5)  # listens again
                wake.clear()
                await pool.execute(f"NOTIFY {events_store.EVENTS_NUMBERED}")
                await asyncio.wait_for(wake.wait(), 5)
        await database.close_pool(pool)
