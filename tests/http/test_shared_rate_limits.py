"""Rate limits that processes share through a real Redis, which is killed, paused, and restarted."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient
from limits.aio.storage import RedisStorage
from redis.asyncio import SSLConnection
from structlog.testing import capture_logs

from service.api.server import main as serving
from service.app import make_app
from service.http import rate_limits
from service.http.rate_limits import RedisCounters, open_rate_limit_counters, redis_pool
from service.processes import MissingSetting
from service.settings import Settings
from tests.redis import Redis, is_installed
from tests.served import Api, listening, serve

needs_redis = pytest.mark.skipif(not is_installed(), reason="redis-server is not installed")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    with Redis(tmp_path / "redis") as started:
        yield started


@pytest.fixture
def patient_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the servers wait long enough for Redis on a busy machine, so that they never count alone by accident."""
    monkeypatch.setattr(rate_limits, "_TIMEOUT_S", 10.0)


class ServerPair:
    """Two servers with the same database and Redis."""

    def __init__(self, api: Api, other: TestClient[Any, Any]) -> None:
        self.api = api
        self._servers = (api.http, other)

    async def get_results(self, server: int, key: str | None = None) -> ClientResponse:
        headers = {"Authorization": f"Bearer {key or self.api.key}"}
        return await self._servers[server].get("/v1/results", headers=headers)

    async def remaining(self, server: int) -> int:
        response = await self.get_results(server)
        assert response.status == 200
        return int(response.headers["X-RateLimit-Remaining"])

    async def until_shared(self) -> None:
        """Wait until both servers use the shared counters."""
        async with asyncio.timeout(10):
            while await self.remaining(0) != await self.remaining(1) + 1:  # noqa: ASYNC110 - another process's state
                await asyncio.sleep(0.1)


@asynccontextmanager
async def pair(database_url: str, redis: Redis, **limits: str) -> AsyncIterator[ServerPair]:
    shared = {**limits, "rate_limit_url": redis.url}
    async with serve(database_url, **shared) as api, listening(database_url, **shared) as other:
        yield ServerPair(api, other)


@needs_redis
@pytest.mark.usefixtures("patient_servers")
async def test_two_servers_share_the_limit_of_a_key(database_url: str, redis: Redis) -> None:
    async with pair(database_url, redis, rate_limit="4/day") as both:
        assert [await both.remaining(server) for server in (0, 1, 1, 0)] == [3, 2, 1, 0]
        rejected = [await both.get_results(server) for server in (0, 1)]
        assert [response.status for response in rejected] == [429, 429]
        assert len({response.headers["X-RateLimit-Reset"] for response in rejected}) == 1
        assert (await both.get_results(0, (await both.api.make_key()).key)).status == 200


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://redis/0", ("redis", 6379, 0)),
        ("redis://redis", ("redis", 6379, 0)),
        ("redis://redis:7000/2", ("redis", 7000, 2)),
        ("redis://:secret@[::1]/1", ("::1", 6379, 1)),
        ("redis://name:secret@10.0.0.7:7000?db=3", ("10.0.0.7", 7000, 3)),
        ("rediss://redis.example/0", ("redis.example", 6379, 0)),
    ],
)
async def test_port_and_database_of_the_url_are_optional(url: str, address: tuple[str, int, int]) -> None:
    settings = Settings(rate_limit_url=url)
    async with open_rate_limit_counters(settings) as counters:
        assert isinstance(counters, RedisCounters)
    pool = redis_pool(settings)
    assert pool is not None
    connection = pool.make_connection()  # type: ignore[no-untyped-call]
    assert (connection.host, connection.port, int(connection.db)) == address
    assert isinstance(connection, SSLConnection) == url.startswith("rediss")


@needs_redis
@pytest.mark.usefixtures("patient_servers")
async def test_two_servers_share_the_limit_of_an_organization(database_url: str, redis: Redis) -> None:
    async with pair(database_url, redis, rate_limit="100/day", rate_limit_organization="3/day") as both:
        second_key, (_, other_key) = (await both.api.make_key()).key, await both.api.make_organization("other")
        responses = [
            await both.get_results(0),
            await both.get_results(1, second_key),
            await both.get_results(0, second_key),
            await both.get_results(1),
        ]
        assert [response.status for response in responses] == [200, 200, 200, 429]
        assert {response.headers["X-RateLimit-Limit"] for response in responses} == {"3"}
        assert (await both.get_results(1, other_key)).status == 200


@needs_redis
@pytest.mark.usefixtures("patient_servers")
async def test_each_process_counts_alone_while_redis_is_down(database_url: str, redis: Redis) -> None:
    async with pair(database_url, redis, rate_limit="1000/day") as both:
        assert await both.remaining(0) == 999
        with capture_logs() as logged:
            redis.kill()
            assert [await both.remaining(server) for server in (0, 0, 1)] == [999, 998, 999]
            redis.restart()
            await both.until_shared()
        events = [entry["event"] for entry in logged if entry["event"].startswith("rate_limit_storage")]
        assert (
            sorted(events) == ["rate_limit_storage_lost"] * 2 + ["rate_limit_storage_restored"] * 2
        )  # once per server


@needs_redis
async def test_unresponsive_redis_delays_few_requests(
    database_url: str, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first requests wait side by side. After the loss, at most one request per interval waits."""
    contacted_at: list[float] = []
    increment = RedisStorage.incr

    async def record_and_increment(self: RedisStorage, *arguments: Any) -> int:
        contacted_at.append(time.monotonic())
        return await increment(self, *arguments)

    async with pair(database_url, redis, rate_limit="1000/day") as both:
        await both.until_shared()
        monkeypatch.setattr(RedisStorage, "incr", record_and_increment)
        redis.process.send(signal.SIGSTOP)
        try:
            started_at = time.monotonic()
            await asyncio.gather(*(both.remaining(0) for _ in range(50)))
            assert time.monotonic() - started_at < 50 * rate_limits._TIMEOUT_S
            lost_at = time.monotonic()
            for _ in range(10):
                await both.remaining(0)
            later = [time_s for time_s in contacted_at if time_s > lost_at]
            assert len(later) <= 1 + (time.monotonic() - lost_at) / rate_limits._RETRY_INTERVAL_S
        finally:
            redis.process.send(signal.SIGCONT)
        await both.until_shared()


async def test_servers_start_and_respond_without_redis(database_url: str, tmp_path: Path) -> None:
    absent = Redis(tmp_path / "redis")
    absent.prepare()
    async with pair(database_url, absent, rate_limit="2/day") as both:
        assert [await both.remaining(server) for server in (0, 1, 0)] == [1, 1, 0]
        assert (await both.get_results(0)).status == 429


def test_missing_redis_client_is_reported_with_its_extra(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    settings = Settings(database_url=database_url, http_port=0, rate_limit_url="redis://127.0.0.1")
    for processes in (1, 2):
        with pytest.raises(MissingSetting, match=r"zof-results\[redis\]"):
            serving.run(settings, make_app, processes)
