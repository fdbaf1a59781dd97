"""Rate limits per key and per organization, and their response headers."""

import time

import pytest
from pydantic import ValidationError

from service.settings import Settings
from tests.served import serve


async def test_exceeded_limit_returns_429_with_the_time_to_wait(database_url: str) -> None:
    async with serve(database_url, rate_limit="3/day") as api:
        for remaining in ("2", "1", "0"):
            response = await api.send("GET", "/v1/results")
            assert response.status == 200
            assert response.headers["X-RateLimit-Limit"] == "3"
            assert response.headers["X-RateLimit-Remaining"] == remaining
        response = await api.send("GET", "/v1/results")
        assert response.status == 429
        error = (await response.json())["error"]
        assert error["code"] == "rate_limit_exceeded"
        assert error["message"].startswith("rate limit of 3 requests in 86400 s exceeded; retry in ")
        assert 0 < int(response.headers["Retry-After"]) <= 86400
        assert response.headers["X-RateLimit-Remaining"] == "0"
        ends_at, wait_s = int(response.headers["X-RateLimit-Reset"]), int(response.headers["Retry-After"])
        assert ends_at % 86400 == 0  # windows follow the clock, so that all processes have the same ones
        assert abs(time.time() + wait_s - ends_at) < 10
        other = (await api.make_key()).key
        await api.get("/v1/results", key=other)
        await api.get("/healthz", key="")


async def test_keys_of_an_organization_share_its_limit(database_url: str) -> None:
    async with serve(database_url, rate_limit="off", rate_limit_organization="2/day") as api:
        other = (await api.make_key()).key
        _, other_key = await api.make_organization("other")
        await api.get("/v1/results")
        await api.get("/v1/results", key=other)
        await api.error("/v1/results", 429)
        await api.get("/v1/results", key=other_key)


async def test_disabled_limits_add_no_headers(database_url: str) -> None:
    async with serve(database_url, rate_limit="off") as api:
        assert "X-RateLimit-Limit" not in (await api.send("GET", "/v1/results")).headers


@pytest.mark.parametrize("text", ["fast", "0/minute", "10/fortnight", ""])
def test_invalid_limit_is_rejected(text: str) -> None:
    with pytest.raises(ValidationError):
        Settings(rate_limit=text)


@pytest.mark.parametrize("url", ["memory://", "localhost:6379", "redis://"])
def test_invalid_redis_url_is_rejected(url: str) -> None:
    with pytest.raises(ValidationError):
        Settings(rate_limit_url=url)
