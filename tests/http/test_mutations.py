"""API keys over HTTP, and the rules of every mutation: Idempotency-Key, audit trail, and permissions."""

import asyncio
import gzip
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import orjson
import pytest
from aiohttp import ClientResponse

from service.mutations import store as mutations_store
from tests.served import Api

KEY_REQUEST = {"name": "CI", "role": "viewer"}


async def create(api: Api, idempotency_key: str | None = None, json: Any = KEY_REQUEST, key: str | None = None) -> Any:
    headers: dict[str, Any] = {"Idempotency_Key": idempotency_key} if idempotency_key else {}
    response = await api.send("POST", "/v1/api-keys", json=json, key=key, **headers)
    return response.status, response.headers, await response.json()


async def count_keys(api: Api) -> int:
    return len(await api.list_all("/v1/api-keys", {"limit": "3"})) - 1  # without the key of the test


async def test_created_key_is_shown_once_and_works(api: Api) -> None:
    status, headers, created = await create(api)
    assert (status, headers["Location"]) == (201, f"/v1/api-keys/{created['id']}")
    await api.get("/v1/results", key=created["key"])
    await api.error("/v1/api-keys", 403, key=created["key"])
    listed = (await api.get("/v1/api-keys"))["data"][0]
    assert listed["id"] == created["id"]
    assert "key" not in listed
    assert listed["last_used_at"] is not None


@pytest.mark.parametrize(
    ("body", "param"),
    [({}, "name"), ({"name": "x", "role": "king"}, "role"), ({**KEY_REQUEST, "x": 1}, "x"),
     ({**KEY_REQUEST, "name": "\0"}, "name"), ({**KEY_REQUEST, "expires_at": 5}, "expires_at"),
     ({**KEY_REQUEST, "expires_at": "soon"}, "expires_at"),
     ({**KEY_REQUEST, "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
     ({**KEY_REQUEST, "expires_at": "0001-01-01T00:00:00+14:00"}, "expires_at"),
     ({**KEY_REQUEST, "expires_at": "9999-12-31T23:59:59-14:00"}, "expires_at")],
)  # fmt: skip
async def test_invalid_field_is_named(shared_api: Api, body: Any, param: str) -> None:
    status, _, body_ = await create(shared_api, json=body)
    assert (status, body_["error"]["param"]) == (400, param)


async def test_key_can_expire_at_the_end_of_the_calendar(api: Api) -> None:
    status, _, created = await create(api, json={**KEY_REQUEST, "expires_at": "9999-12-31T23:59:59.999999Z"})
    assert (status, created["expires_at"]) == (201, "9999-12-31T23:59:59.998Z")
    await api.get("/v1/results", key=created["key"])


async def post(api: Api, body: bytes | BytesIO, headers: Mapping[str, str] | None = None) -> ClientResponse:
    """Send this body as that of a request for a key."""
    sent = {"Authorization": f"Bearer {api.key}", "Content-Type": "application/json", **(headers or {})}
    return await api.http.post("/v1/api-keys", data=body, headers=sent)


async def test_body_that_is_not_a_json_object_returns_400(api: Api) -> None:
    for body in (b"{", b"[]", b"\xff"):
        assert (await post(api, body)).status == 400


async def test_body_that_is_not_utf_8_is_reported(api: Api) -> None:
    response = await post(api, b'"\xff"')
    assert (await response.json())["error"]["message"] == "the request body must be UTF-8"


async def test_compressed_body_returns_415(api: Api) -> None:
    body = gzip.compress(orjson.dumps(KEY_REQUEST))
    for coding, status in (("gzip", 415), ("br", 415), ("identity", 400)):
        response = await post(api, body, {"Content-Encoding": coding})
        assert response.status == status
        assert (f"Content-Encoding '{coding}'" in (await response.json())["error"]["message"]) == (status == 415)


async def test_body_over_the_limit_returns_413(api: Api) -> None:
    response = await post(api, BytesIO(b" " * 11 * 2**20))
    assert response.status == 413
    error = (await response.json())["error"]
    assert (error["code"], "10485760 bytes" in error["message"]) == ("too_large", True)


async def test_repeated_request_returns_the_first_response_without_the_secret(api: Api) -> None:
    _, first_headers, first = await create(api, "k1")
    status, headers, again = await create(api, '"k1"')  # the IETF draft requires quotes
    assert (status, headers["Idempotent-Replayed"], headers["Location"]) == (201, "true", first_headers["Location"])
    assert "Idempotent-Replayed" not in first_headers
    assert again == {**first, "key": None}
    assert await count_keys(api) == 1
    stored_bodies = await api.store.pool.fetchval(
        "SELECT string_agg(convert_from(body, 'UTF8'), '') FROM idempotency_keys"
    )
    assert first["key"] not in stored_bodies


async def test_same_idempotency_key_with_another_body_returns_422(api: Api) -> None:
    await create(api, "k1")
    status, _, body_ = await create(api, "k1", {**KEY_REQUEST, "name": "other"})
    assert (status, body_["error"]["code"]) == (422, "idempotency_mismatch")
    assert await count_keys(api) == 1


async def test_idempotency_key_is_scoped_to_its_organization_and_path(api: Api) -> None:
    _, _, first = await create(api, "k1")
    _, other_key = await api.make_organization("other")
    assert (await create(api, "k1", key=other_key))[0] == 201
    response = await api.send("POST", f"/v1/api-keys/{first['id']}/rotate", Idempotency_Key="k1")
    assert "Idempotent-Replayed" not in response.headers


async def test_idempotency_key_is_scoped_to_its_api_key(api: Api) -> None:
    """A key that is bound to another project must never receive the response of this key."""
    shop, blog = [(await api.make_key("admin", project_id=project)).key for project in ("shop", "blog")]
    _, _, first = await create(api, "k1", key=shop)
    status, headers, second = await create(api, "k1", {**KEY_REQUEST, "name": "other"}, key=blog)
    assert (status, "Idempotent-Replayed" in headers) == (201, False)
    assert (first["project_id"], second["project_id"]) == ("shop", "blog")
    path = f"/v1/api-keys/{first['id']}"
    assert (await api.send("DELETE", path, key=blog, Idempotency_Key="k2")).status == 404
    assert (await api.send("DELETE", path, key=shop, Idempotency_Key="k2")).status == 204
    await api.error("/v1/results", 401, key=first["key"])


async def test_idempotency_key_survives_a_rotation_of_the_secret(api: Api) -> None:
    used = await api.make_key("admin")
    await create(api, "k1", key=used.key)
    rotated = await (await api.send("POST", f"/v1/api-keys/{used.key_id}/rotate")).json()
    _, headers, _ = await create(api, "k1", key=rotated["key"])
    assert headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("length", [6_000, 60_000])
async def test_path_of_any_length_can_have_an_idempotency_key(api: Api, length: int) -> None:
    path = f"/v1/runs/{''.join(f'{number:x}' for number in range(length))[:length]}"
    first = await api.send("DELETE", path, Idempotency_Key="k1")
    again = await api.send("DELETE", path, Idempotency_Key="k1")
    other = await api.send("DELETE", f"{path[:-1]}_", Idempotency_Key="k1")
    assert (first.status, again.status, other.status) == (404, 404, 404)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in other.headers


async def test_error_response_is_replayed(api: Api) -> None:
    absent = "/v1/api-keys/key_00000000000000000000"
    first = await api.send("DELETE", absent, Idempotency_Key="k1")
    again = await api.send("DELETE", absent, Idempotency_Key="k1")
    assert (first.status, again.status) == (404, 404)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert await first.json() == await again.json()


async def test_stored_response_expires_after_a_day(api: Api) -> None:
    await create(api, "k1")
    await api.store.pool.execute("SET ROLE NONE; UPDATE idempotency_keys SET created_at = now() - interval '25 hours'")
    _, headers, _ = await create(api, "k1", {**KEY_REQUEST, "name": "other"})
    assert "Idempotent-Replayed" not in headers
    assert await count_keys(api) == 2


async def test_fifty_concurrent_requests_with_one_key_create_one_object(api: Api) -> None:
    responses = await asyncio.gather(*(create(api, "k1") for _ in range(50)))
    statuses = [status for status, _, _ in responses]
    assert set(statuses) <= {201, 409}
    originals = [headers for status, headers, _ in responses if status == 201 and "Idempotent-Replayed" not in headers]
    assert len(originals) == 1
    assert await count_keys(api) == 1


@pytest.mark.parametrize("key", ["", "é", "x" * 256, '"unfinished', "two words"])
async def test_malformed_idempotency_key_returns_400(shared_api: Api, key: str) -> None:
    response = await shared_api.send("POST", "/v1/api-keys", json=KEY_REQUEST, Idempotency_Key=key)
    assert response.status == 400
    error = (await response.json())["error"]
    assert error["param"] == "Idempotency-Key"
    assert "no space" in error["message"]


@pytest.mark.slow
async def test_previous_secret_works_until_it_expires(api: Api) -> None:
    _, _, created = await create(api)
    response = await api.send("POST", f"/v1/api-keys/{created['id']}/rotate")
    rotated = await response.json()
    assert rotated["id"] == created["id"]
    for key in (created["key"], rotated["key"]):
        await api.get("/v1/results", key=key)
    await api.store.pool.execute("UPDATE api_keys SET previous_expires_at = now() WHERE key_id = $1", created["id"])
    await asyncio.sleep(4.1)  # the time for which a valid key is cached
    await api.error("/v1/results", 401, key=created["key"])
    await api.get("/v1/results", key=rotated["key"])


async def test_deleted_key_cannot_be_used_or_changed(api: Api) -> None:
    _, _, created = await create(api)
    assert (await api.send("DELETE", f"/v1/api-keys/{created['id']}")).status == 204
    assert (await api.send("DELETE", f"/v1/api-keys/{created['id']}")).status == 404
    assert (await api.send("POST", f"/v1/api-keys/{created['id']}/rotate")).status == 404
    await api.error("/v1/results", 401, key=created["key"])


async def test_key_of_another_organization_cannot_be_changed(api: Api) -> None:
    _, _, created = await create(api)
    _, other_key = await api.make_organization("other")
    assert (await api.send("DELETE", f"/v1/api-keys/{created['id']}", key=other_key)).status == 404
    assert (await api.send("POST", f"/v1/api-keys/{created['id']}/rotate", key=other_key)).status == 404
    await api.get("/v1/results", key=created["key"])


async def test_admin_key_of_a_project_manages_only_keys_of_it(api: Api) -> None:
    bound = (await api.make_key("admin", project_id="shop")).key
    _, _, unbound = await create(api)
    assert (await create(api, json={**KEY_REQUEST, "project_id": "blog"}, key=bound))[0] == 403
    _, _, created = await create(api, key=bound)
    assert created["project_id"] == "shop"
    assert {key["project_id"] for key in (await api.get("/v1/api-keys", key=bound))["data"]} == {"shop"}
    assert (await api.send("DELETE", f"/v1/api-keys/{unbound['id']}", key=bound)).status == 404


async def test_audit_trail_contains_only_successful_changes(api: Api) -> None:
    _, headers, created = await create(api)
    await api.send("DELETE", f"/v1/api-keys/{created['id']}")
    await api.send("DELETE", f"/v1/api-keys/{created['id']}")
    async with api.store.pool.acquire() as connection:
        entries = await mutations_store.list_newest(connection, api.org_id, 10)
    assert [entry["action"] for entry in entries] == [f"DELETE /v1/api-keys/{created['id']}", "POST /v1/api-keys"]
    assert entries[1]["subject"] == headers["Location"]
    assert entries[1]["request_id"] == headers["X-Request-Id"]
    assert entries[1]["actor"].startswith("key_")
