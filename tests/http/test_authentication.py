"""Authentication and authorization: keys, organizations, and projects."""

import asyncio
import re
from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from service.api.routes import all_routes
from service.database.database import Pool
from service.domain.errors import InvalidRequest, Unauthorized, Unavailable
from service.domain.ids import OrgId
from service.http.key_lookups import MAX_KEYS, TTL_S, KeyLookups, cached_caller, new_key_cache
from service.identity.keys import operations as keys_operations
from service.identity.keys import store as keys_store
from service.identity.keys.model import (
    KEY_ROLES,
    PERMISSIONS,
    Caller,
    KeyRole,
    StoredKey,
    format_key,
    new_key_id,
    new_secret,
)
from tests.run_events import result, run_event
from tests.running import TIMEOUT_S
from tests.served import Api


async def test_request_without_a_key_returns_401(api: Api) -> None:
    response = await api.send("GET", "/v1/results", key="")
    assert response.status == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert (await response.json())["error"]["code"] == "unauthorized"


@pytest.mark.parametrize("key", ["nonsense", format_key(new_key_id(), new_secret())], ids=["nonsense", "unknown"])
async def test_unknown_key_is_rejected(api: Api, key: str) -> None:
    assert (await api.error("/v1/results", 401, key=key))[
        "message"
    ] == "Authorization: the API key is invalid, expired, or revoked"


async def test_several_spaces_before_the_key_are_accepted(api: Api) -> None:
    response = await api.http.get("/v1/results", headers={"Authorization": f"bearer   {api.key}"})
    assert response.status == 200


async def test_wrong_secret_is_rejected(api: Api) -> None:
    created = await api.make_key()
    await api.error("/v1/results", 401, key=format_key(created.key_id, new_secret()))


async def test_database_accepts_every_role(api: Api) -> None:
    for role in KEY_ROLES:
        path = "/v1/receipts?run_id=untrusted:1" if role == "public" else "/v1/results"
        await api.get(path, key=(await api.make_key(role, project_id="shop")).key)
    with pytest.raises(InvalidRequest, match="project_id: is required"):
        await api.make_key("public")


@pytest.mark.parametrize("role", KEY_ROLES)
async def test_every_route_requires_its_permission(shared_api: Api, role: KeyRole) -> None:
    key = (await shared_api.make_key(role, project_id="shop" if role == "public" else None)).key
    checked = 0
    for route in all_routes():
        if route.permission is None or not PERMISSIONS[role].isdisjoint(route.permissions):
            continue
        response = await shared_api.send(route.method, re.sub(r"\{\w+(:[^}]*)?\}", "x", route.path), key=key)
        assert (response.status, route.permission in await response.text()) == (403, True), route.path
        checked += 1
    assert (checked == 0) == (role == "admin")


async def test_expired_key_is_rejected(api: Api) -> None:
    created = await api.make_key(expires_at=datetime.now(UTC) + timedelta(days=1))
    await api.store.pool.execute("UPDATE api_keys SET expires_at = now() WHERE key_id = $1", created.key_id)
    await api.error("/v1/results", 401, key=created.key)


async def test_revoked_key_is_rejected_after_it_leaves_the_cache(api: Api) -> None:
    created = await api.make_key()
    await api.get("/v1/results", key=created.key)
    async with api.store.pool.acquire() as connection:
        await keys_operations.revoke_key(connection, api.org_id, created.key_id)
    api.resources.key_cache.clear()
    await api.error("/v1/results", 401, key=created.key)


async def test_concurrent_requests_with_one_key_share_its_lookup(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the key of many streams leaves the cache, other organizations don't wait for hundreds of queries."""
    find, found = keys_store.find, []

    async def find_and_count(pool: Pool, key_ids: Collection[str]) -> dict[str, StoredKey]:
        found.append(key_ids)
        return await find(pool, key_ids)

    await api.get("/v1/results")
    api.resources.key_cache.clear()
    monkeypatch.setattr(keys_store, "find", find_and_count)
    await asyncio.gather(*(api.get("/v1/results") for _ in range(50)))
    assert len(found) == 1


def make_due(api: Api, key: str) -> None:
    """Let the next request with the key start another lookup."""
    api.resources.key_cache[key] = api.resources.key_cache[key]._replace(refresh_at=0.0)


async def finish_lookup(api: Api, key: str) -> None:
    """Wait until no lookup of the key is in progress."""

    async def not_in_progress() -> Caller:
        return Caller(api.org_id, "key_1", "viewer", None)

    with suppress(Unauthorized):
        await api.resources.key_lookups.find(key, not_in_progress)


async def test_key_in_use_is_checked_again_while_its_requests_continue(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    created, found = await api.make_key(), asyncio.Event()
    find = keys_store.find

    async def find_when_allowed(pool: Pool, key_ids: Collection[str]) -> dict[str, StoredKey]:
        await found.wait()
        return await find(pool, key_ids)

    await api.get("/v1/results", key=created.key)
    make_due(api, created.key)
    monkeypatch.setattr(keys_store, "find", find_when_allowed)
    await asyncio.gather(*(api.get("/v1/results", key=created.key) for _ in range(5)))
    assert not api.resources.key_cache[created.key].is_current
    found.set()
    await finish_lookup(api, created.key)
    assert api.resources.key_cache[created.key].is_current


async def test_revoked_key_leaves_the_cache_when_it_is_checked_again(api: Api) -> None:
    created = await api.make_key()
    await api.get("/v1/results", key=created.key)
    async with api.store.pool.acquire() as connection:
        await keys_operations.revoke_key(connection, api.org_id, created.key_id)
    make_due(api, created.key)
    await api.get("/v1/results", key=created.key)
    await finish_lookup(api, created.key)
    assert created.key not in api.resources.key_cache
    await api.error("/v1/results", 401, key=created.key)


async def test_key_stays_in_the_cache_if_its_next_lookup_fails(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    created, failed = await api.make_key(), asyncio.Event()

    async def fail(_: Pool, __: str) -> StoredKey | None:
        failed.set()
        raise Unavailable("the database is not available; try again later")

    await api.get("/v1/results", key=created.key)
    make_due(api, created.key)
    monkeypatch.setattr(keys_store, "find", fail)
    await api.get("/v1/results", key=created.key)
    async with asyncio.timeout(TIMEOUT_S):
        await failed.wait()
    await api.get("/v1/results", key=created.key)
    api.resources.key_cache.clear()
    await api.error("/v1/results", 503, key=created.key)


async def test_key_is_cached_before_the_record_of_its_use(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record can wait for a connection, and a revoked key must be rejected within five seconds after its lookup."""
    created, recording, release = await api.make_key(), asyncio.Event(), asyncio.Event()

    async def wait(*_: object) -> None:
        recording.set()
        await release.wait()

    monkeypatch.setattr(keys_store, "touch", wait)
    request = asyncio.create_task(api.get("/v1/results", key=created.key))
    async with asyncio.timeout(TIMEOUT_S):
        await recording.wait()
    assert created.key in api.resources.key_cache
    release.set()
    await request


async def test_canceled_request_does_not_cancel_the_lookup_of_others() -> None:
    lookups, release = KeyLookups[Caller](), asyncio.Event()
    caller = Caller(OrgId(1), "key_1", "viewer", None)

    async def query() -> Caller:
        await release.wait()
        return caller

    first, second = (asyncio.create_task(lookups.find("zof_1", query)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    release.set()
    assert await second == caller


@pytest.mark.parametrize("key_id", ["key_1", "a%00b", "key_" + "0" * 20])
async def test_unknown_key_cannot_be_rotated_or_revoked(shared_api: Api, key_id: str) -> None:
    for method, path in (("POST", f"/v1/api-keys/{key_id}/rotate"), ("DELETE", f"/v1/api-keys/{key_id}")):
        assert (await shared_api.send(method, path)).status == 404


def test_valid_key_is_cached_for_less_than_five_seconds() -> None:
    assert 0 < TTL_S < 5


def test_full_key_cache_evicts_only_the_oldest_key() -> None:
    """A cache that is cleared when it is full would query the database for all keys at the same time."""
    cache = new_key_cache()
    caller = cached_caller(Caller(OrgId(1), "key_1", "viewer", None))
    for number in range(MAX_KEYS + 1):
        cache[f"zof_{number}"] = caller
    assert "zof_0" not in cache
    assert all(cache.get(f"zof_{number}") == caller for number in range(1, MAX_KEYS + 1))


async def test_result_of_another_organization_returns_404(api: Api) -> None:
    await api.store.ingest(run_event("run_1"))
    _, other_key = await api.make_organization("other")
    known = (await api.get("/v1/results"))["data"][0]["id"]
    absent = known[:-1] + ("0" if known[-1] != "0" else "1")
    for path in ("/v1/results/{}", "/v1/results/{}/artifacts"):
        as_other = await api.error(path.format(known), 404, key=other_key)
        as_absent = await api.error(path.format(absent), 404)
        assert as_other["message"].replace(known, "") == as_absent["message"].replace(absent, "")
    await api.error("/v1/runs/run_1", 404, key=other_key)
    assert (await api.get("/v1/results", key=other_key))["data"] == []
    assert (await api.get("/v1/runs", key=other_key))["data"] == []


async def test_organizations_are_isolated_on_a_shared_connection(api: Api) -> None:
    _, other_key = await api.make_organization("other")
    await api.store.ingest(run_event("ours"), run_event("theirs", organization="other"))
    for _ in range(8):
        assert [run["run_id"] for run in (await api.get("/v1/runs"))["data"]] == ["ours"]
        assert [run["run_id"] for run in (await api.get("/v1/runs", key=other_key))["data"]] == ["theirs"]


async def test_key_of_a_project_reads_only_that_project(api: Api) -> None:
    await api.store.ingest(
        run_event("a", [result(case_id="tc")], project_id="shop"),
        run_event("b", [result(case_id="tc")], project_id="blog"),
    )
    bound = (await api.make_key(project_id="shop")).key
    results = (await api.get("/v1/results"))["data"]
    ids = {item["project_id"]: item["id"] for item in results}
    assert [run["run_id"] for run in (await api.get("/v1/runs", key=bound))["data"]] == ["a"]
    assert [item["run_id"] for item in (await api.get("/v1/results", {"case_id": "tc"}, bound))["data"]] == ["a"]
    assert (await api.get("/v1/results", {"project_id": "blog"}, bound))["data"] == []
    assert (await api.get("/v1/results", {"run_id": "b"}, bound))["data"] == []
    await api.get(f"/v1/results/{ids['shop']}", key=bound)
    await api.error(f"/v1/results/{ids['blog']}", 404, key=bound)
    await api.error(f"/v1/results/{ids['blog']}/artifacts", 404, key=bound)
    await api.error("/v1/runs/b", 404, key=bound)
