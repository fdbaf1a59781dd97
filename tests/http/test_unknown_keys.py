"""Lookups of unknown API keys are limited per address, and don't stop clients with valid keys."""

import asyncio
from collections.abc import Collection

import pytest

from service.domain.errors import RateLimitExceeded, Unauthorized, Unavailable
from service.http import limits
from service.http.limits import UnknownKeyLimit
from service.identity.keys.model import format_key, new_key_id, new_secret
from tests.served import Api
from tests.statements import record_statements

BURST = 5


@pytest.fixture(autouse=True)
def _small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UnknownKeyLimit, "BURST", BURST)
    monkeypatch.setattr(UnknownKeyLimit, "PER_SECOND", 0.001)


def unknown_key() -> str:
    return format_key(new_key_id(), new_secret())


async def fail(limit: UnknownKeyLimit, address: str, error: Exception) -> None:
    with pytest.raises(type(error)):
        async with limit.lookup(address, unknown_key()):
            raise error


@pytest.fixture
async def exhausted() -> UnknownKeyLimit:
    limit = UnknownKeyLimit()
    for _ in range(BURST):
        await fail(limit, "192.0.2.1", Unauthorized("invalid"))
    return limit


async def test_unknown_keys_over_the_limit_cost_few_queries(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(BURST):
        await api.error("/v1/results", 401, key=unknown_key())
    statements = record_statements(monkeypatch)
    for response in await asyncio.gather(*(api.send("GET", "/v1/results", key=unknown_key()) for _ in range(50))):
        assert response.status == 429
        assert int(response.headers["Retry-After"]) > 0
    assert 0 < len([statement for statement in statements if "find_stored_key" in statement]) <= 3


async def test_unknown_keys_stop_no_valid_key_that_the_process_has_not_seen(api: Api) -> None:
    """After a start, a stranger behind the proxy of the CI jobs sends unknown keys continuously."""
    await asyncio.gather(*(api.send("GET", "/v1/results", key=unknown_key()) for _ in range(50)))
    new = [(await api.make_key()).key for _ in range(3)]
    wrong = format_key(f"key_{new[0].split('_')[1]}", new_secret())
    keys = [unknown_key() for _ in range(50)] + new + [wrong]
    responses = await asyncio.gather(*(api.send("GET", "/v1/results", key=key) for key in keys))
    assert [response.status for response in responses] == [429] * 50 + [200] * 3 + [429]


async def test_keys_beyond_the_limit_that_wait_for_the_same_query_are_limited(
    exhausted: UnknownKeyLimit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_MAX_WAITING", 5)
    queries: list[set[str]] = []

    async def find_valid(keys: Collection[str]) -> Collection[str]:
        queries.append(set(keys))
        return keys

    async def look_up(key: str) -> bool:
        try:
            async with exhausted.lookup("192.0.2.1", key, find_valid):
                return True
        except RateLimitExceeded:
            return False

    assert sum(await asyncio.gather(*(look_up(f"key {number}") for number in range(20)))) == 5
    assert [len(keys) for keys in queries] == [5]
    assert await look_up("later")


async def test_outage_during_the_query_of_keys_beyond_the_limit_is_no_refusal(exhausted: UnknownKeyLimit) -> None:
    async def find_valid(_: Collection[str]) -> Collection[str]:
        raise Unavailable("the database is not available")

    with pytest.raises(Unavailable):
        async with exhausted.lookup("192.0.2.1", unknown_key(), find_valid):
            pass


async def test_many_concurrent_requests_with_valid_keys_are_accepted(api: Api) -> None:
    """After a start, no key is cached, and all clients behind a proxy have its address."""
    keys = [(await api.make_key()).key for _ in range(BURST * 2)]
    responses = await asyncio.gather(*(api.send("GET", "/v1/results", key=key) for key in keys * 10))
    assert {response.status for response in responses} == {200}


async def test_concurrent_unknown_keys_are_limited(api: Api) -> None:
    responses = await asyncio.gather(*(api.send("GET", "/v1/results", key=unknown_key()) for _ in range(50)))
    statuses = [response.status for response in responses]
    assert set(statuses) == {401, 429}
    assert statuses.count(401) <= BURST + 8


async def test_malformed_keys_are_not_counted(api: Api) -> None:
    for _ in range(BURST + 5):
        await api.error("/v1/results", 401, key="zof_nonsense")
    await api.error("/v1/results", 401, key=unknown_key())


async def test_valid_key_continues_while_another_client_sends_unknown_keys(api: Api) -> None:
    await api.get("/v1/results")
    for _ in range(BURST):
        await api.error("/v1/results", 401, key=unknown_key())
    await api.error("/v1/results", 429, key=unknown_key())
    api.resources.key_cache.clear()
    await api.get("/v1/results")


async def test_new_key_works_immediately_after_unknown_keys(api: Api) -> None:
    for _ in range(BURST - 1):
        await api.error("/v1/results", 401, key=unknown_key())
    for _ in range(3):  # a valid key costs no token
        await api.get("/v1/results", key=(await api.make_key()).key)


async def test_limit_applies_to_one_address(exhausted: UnknownKeyLimit) -> None:
    await fail(exhausted, "192.0.2.2", Unauthorized("invalid"))
    with pytest.raises(RateLimitExceeded):
        async with exhausted.lookup("192.0.2.1", unknown_key()):
            pass


async def test_ipv6_addresses_of_a_network_share_a_limit() -> None:
    limit = UnknownKeyLimit()
    for number in range(BURST):
        await fail(limit, f"2001:db8::{number:x}", Unauthorized("invalid"))
    with pytest.raises(RateLimitExceeded):
        async with limit.lookup("2001:db8::ffff", unknown_key()):
            pass
    await fail(limit, "2001:db8:0:1::1", Unauthorized("invalid"))


async def test_tokens_return_over_time(exhausted: UnknownKeyLimit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exhausted.addresses, "per_second", 1e6)
    await fail(exhausted, "192.0.2.1", Unauthorized("invalid"))


async def test_outage_costs_no_token() -> None:
    limit = UnknownKeyLimit()
    for _ in range(BURST + 1):
        await fail(limit, "192.0.2.1", Unavailable("the database is not available"))


async def test_revoked_key_is_no_longer_exempt() -> None:
    limit, key = UnknownKeyLimit(), unknown_key()
    async with limit.lookup("192.0.2.1", key):
        pass
    for _ in range(BURST):
        with pytest.raises(Unauthorized):
            async with limit.lookup("192.0.2.1", key):
                raise Unauthorized("revoked")
    with pytest.raises(RateLimitExceeded):
        async with limit.lookup("192.0.2.1", key):
            pass
