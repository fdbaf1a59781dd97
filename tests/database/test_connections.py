"""Connections to a URL with several hosts: unreachable hosts, hosts that don't respond, and errors of all hosts."""

import asyncio
import time

import asyncpg
import pytest

from service.database import connections, database, migrations
from service.database.notifications import open_notifications
from tests.hosts import host_of, with_closed_port, with_first_host
from tests.proxies import UnreliableProxy
from tests.running import TIMEOUT_S

READ_WRITE = "?target_session_attrs=read-write"


async def test_unreachable_host_is_skipped_by_every_kind_of_connection(database_url: str) -> None:
    url = with_closed_port(database_url) + READ_WRITE
    pool = await database.open_pool(url, "results_api", 1)
    assert await pool.fetchval("SELECT current_user") == "results_api"
    async with database.as_owner(url) as owner:
        assert await owner.fetchval("SELECT 1") == 1
    assert await migrations.pending(url) == []
    await database.close_pool(pool)


async def test_host_that_does_not_respond_delays_only_the_first_connection(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "ACQUIRE_TIMEOUT_S", 3.0)
    async with UnreliableProxy(database_url) as proxy:
        proxy.stalls_new_connections = True
        pool = await database.open_pool(with_first_host(database_url, host_of(proxy.url)), "results_worker", 2)
        durations_s = []
        for _ in range(2):
            started = time.monotonic()
            assert await pool.fetchval("SELECT 1") == 1
            durations_s.append(time.monotonic() - started)
            await pool.expire_connections()
        await database.close_pool(pool)
    assert durations_s[1] < durations_s[0] / 2


async def test_notifications_continue_on_another_host(database_url: str) -> None:
    async with UnreliableProxy(database_url) as proxy:
        url = with_first_host(database_url, host_of(proxy.url)) + READ_WRITE
        pool = await database.open_pool(url, "results_api", 2)
        async with open_notifications(pool, "channel") as notifications:
            with notifications.watching("channel") as wake:
                await asyncio.wait_for(wake.wait(), TIMEOUT_S)
                proxy.rejects_connections = True
                proxy.close_connections()
                wake.clear()
                await asyncio.wait_for(wake.wait(), TIMEOUT_S)
        await database.close_pool(pool)


@pytest.mark.parametrize(("attributes", "is_accepted"), [("standby", False), ("prefer-standby", True), ("any", True)])
async def test_session_attributes_apply_to_all_hosts(database_url: str, attributes: str, is_accepted: bool) -> None:
    """None of the hosts is a standby."""
    url = with_first_host(database_url, host_of(database_url)) + f"?target_session_attrs={attributes}"
    if is_accepted:
        await (await connections.connect(url)).close()
        return
    with pytest.raises(asyncpg.TargetServerAttributeNotMatched):
        await connections.connect(url)


@pytest.mark.one_server
async def test_wrong_password_is_reported_instead_of_an_error_of_another_host(database_url: str) -> None:
    login, _, rest = database_url.rpartition("@")
    url = f"{login.rpartition(':')[0]}:wrong@{host_of(database_url)},{with_closed_port('@' + rest)[1:]}"
    with pytest.raises(asyncpg.InvalidPasswordError):
        await connections.connect(url)
