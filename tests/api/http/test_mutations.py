"""Keys over HTTP, and through them what holds for every mutation: Idempotency-Key, the audit trail, who may."""

import asyncio
import gzip
from io import BytesIO
from typing import Any

import orjson
import pytest

from service.store import audit
from tests.api.served import Api

WANTED = {"name": "CI", "role": "viewer"}


async def create(api: Api, idempotency: str | None = None, json: Any = WANTED, key: str | None = None) -> Any:
    headers: dict[str, Any] = {"Idempotency_Key": idempotency} if idempotency else {}
    response = await api.send("POST", "/v1/api-keys", json=json, key=key, **headers)
    return response.status, response.headers, await response.json()


async def count_keys(api: Api) -> int:
    return len(await api.walk("/v1/api-keys", {"limit": "3"})) - 1  # without the one that asks


async def test_a_made_key_is_shown_once_and_works(api: Api) -> None:
    status, headers, made = await create(api)
    assert (status, headers["Location"]) == (201, f"/v1/api-keys/{made['id']}")
    await api.get("/v1/results", key=made["key"])
    await api.error("/v1/api-keys", 403, key=made["key"])
    listed = (await api.get("/v1/api-keys"))["data"][0]
    assert listed["id"] == made["id"]
    assert "key" not in listed
    assert listed["last_used_at"] is not None


@pytest.mark.parametrize(
    ("body", "param"),
    [({}, "name"), ({"name": "x", "role": "king"}, "role"), ({**WANTED, "x": 1}, "x"),
     ({**WANTED, "name": "\0"}, "name"), ({**WANTED, "expires_at": 5}, "expires_at"),
     ({**WANTED, "expires_at": "soon"}, "expires_at"), ({**WANTED, "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
     ({**WANTED, "expires_at": "0001-01-01T00:00:00+14:00"}, "expires_at"),
     ({**WANTED, "expires_at": "9999-12-31T23:59:59-14:00"}, "expires_at")],
)  # fmt: skip
async def test_a_wrong_field_is_named(api: Api, body: Any, param: str) -> None:
    status, _, answer = await create(api, json=body)
    assert (status, answer["error"]["param"]) == (400, param)


async def test_a_key_until_the_end_of_the_calendar_works(api: Api) -> None:
    status, _, made = await create(api, json={**WANTED, "expires_at": "9999-12-31T23:59:59.999999Z"})
    assert (status, made["expires_at"]) == (201, "9999-12-31T23:59:59.998Z")
    await api.get("/v1/results", key=made["key"])


async def test_a_body_that_is_not_json_is_refused(api: Api) -> None:
    for body in (b"{", b"[]", b"\xff"):
        response = await api.http.post("/v1/api-keys", data=body, headers={"Authorization": f"Bearer {api.key}"})
        assert response.status == 400


async def test_a_body_in_another_coding_of_characters_is_told_so(api: Api) -> None:
    response = await api.http.post("/v1/api-keys", data=b'"\xff"', headers={"Authorization": f"Bearer {api.key}"})
    assert (await response.json())["error"]["message"] == "the request body must be UTF-8"


async def test_a_compressed_body_is_refused_as_such(api: Api) -> None:
    body = gzip.compress(orjson.dumps(WANTED))
    for coding, status in (("gzip", 415), ("br", 415), ("identity", 400)):
        headers = {"Authorization": f"Bearer {api.key}", "Content-Encoding": coding}
        response = await api.http.post("/v1/api-keys", data=body, headers=headers)
        assert response.status == status
        assert (f"Content-Encoding '{coding}'" in (await response.json())["error"]["message"]) == (status == 415)


async def test_a_body_past_the_limit_is_too_large(api: Api) -> None:
    response = await api.http.post(
        "/v1/api-keys", data=BytesIO(b" " * 11 * 2**20), headers={"Authorization": f"Bearer {api.key}"}
    )
    assert response.status == 413
    error = (await response.json())["error"]
    assert (error["code"], "10485760 bytes" in error["message"]) == ("too_large", True)


async def test_a_repetition_gets_the_first_answer_without_the_secret(api: Api) -> None:
    _, first_headers, first = await create(api, "k1")
    status, headers, again = await create(api, '"k1"')  # the standard's draft puts it in quotes
    assert (status, headers["Idempotent-Replayed"], headers["Location"]) == (201, "true", first_headers["Location"])
    assert "Idempotent-Replayed" not in first_headers
    assert again == {**first, "key": None}
    assert await count_keys(api) == 1
    kept = await api.store.pool.fetchval("SELECT string_agg(convert_from(body, 'UTF8'), '') FROM idempotency_keys")
    assert first["key"] not in kept


async def test_the_same_key_with_another_body_is_a_mismatch(api: Api) -> None:
    await create(api, "k1")
    status, _, answer = await create(api, "k1", {**WANTED, "name": "other"})
    assert (status, answer["error"]["code"]) == (422, "idempotency_mismatch")
    assert await count_keys(api) == 1


async def test_a_key_is_scoped_to_its_organization_and_address(api: Api) -> None:
    _, _, first = await create(api, "k1")
    _, foreign = await api.make_organization("other")
    assert (await create(api, "k1", key=foreign))[0] == 201
    response = await api.send("POST", f"/v1/api-keys/{first['id']}/rotate", Idempotency_Key="k1")
    assert "Idempotent-Replayed" not in response.headers


async def test_a_refusal_is_repeated_too(api: Api) -> None:
    absent = "/v1/api-keys/key_00000000000000000000"
    first = await api.send("DELETE", absent, Idempotency_Key="k1")
    again = await api.send("DELETE", absent, Idempotency_Key="k1")
    assert (first.status, again.status) == (404, 404)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert await first.json() == await again.json()


async def test_an_answer_is_forgotten_after_a_day(api: Api) -> None:
    await create(api, "k1")
    await api.store.pool.execute("SET ROLE NONE; UPDATE idempotency_keys SET created_at = now() - interval '25 hours'")
    _, headers, _ = await create(api, "k1", {**WANTED, "name": "other"})
    assert "Idempotent-Replayed" not in headers
    assert await count_keys(api) == 2


async def test_fifty_racing_clients_with_one_key_have_one_effect(api: Api) -> None:
    answers = await asyncio.gather(*(create(api, "k1") for _ in range(50)))
    statuses = [status for status, _, _ in answers]
    assert set(statuses) <= {201, 409}
    firsts = [headers for status, headers, _ in answers if status == 201 and "Idempotent-Replayed" not in headers]
    assert len(firsts) == 1
    assert await count_keys(api) == 1


@pytest.mark.parametrize("key", ["", "é", "x" * 256, '"unfinished', "two words"])
async def test_a_malformed_idempotency_key_is_refused(api: Api, key: str) -> None:
    response = await api.send("POST", "/v1/api-keys", json=WANTED, Idempotency_Key=key)
    assert response.status == 400
    error = (await response.json())["error"]
    assert error["param"] == "Idempotency-Key"
    assert "no space" in error["message"]


async def test_after_a_rotation_both_secrets_work(api: Api) -> None:
    _, _, made = await create(api)
    response = await api.send("POST", f"/v1/api-keys/{made['id']}/rotate")
    rotated = await response.json()
    assert rotated["id"] == made["id"]
    for key in (made["key"], rotated["key"]):
        await api.get("/v1/results", key=key)
    await api.store.pool.execute("UPDATE api_keys SET previous_expires_at = now() WHERE key_id = $1", made["id"])
    await asyncio.sleep(4.1)  # as long as a verified key is remembered
    await api.error("/v1/results", 401, key=made["key"])
    await api.get("/v1/results", key=rotated["key"])


async def test_a_deleted_key_is_gone_for_good(api: Api) -> None:
    _, _, made = await create(api)
    assert (await api.send("DELETE", f"/v1/api-keys/{made['id']}")).status == 204
    assert (await api.send("DELETE", f"/v1/api-keys/{made['id']}")).status == 404
    assert (await api.send("POST", f"/v1/api-keys/{made['id']}/rotate")).status == 404
    await api.error("/v1/results", 401, key=made["key"])


async def test_another_organizations_key_can_not_be_touched(api: Api) -> None:
    _, _, made = await create(api)
    _, foreign = await api.make_organization("other")
    assert (await api.send("DELETE", f"/v1/api-keys/{made['id']}", key=foreign)).status == 404
    assert (await api.send("POST", f"/v1/api-keys/{made['id']}/rotate", key=foreign)).status == 404
    await api.get("/v1/results", key=made["key"])


async def test_a_bound_admin_makes_and_sees_keys_of_its_project_alone(api: Api) -> None:
    bound = (await api.make_key("admin", project_id="shop")).key
    _, _, unbound = await create(api)
    assert (await create(api, json={**WANTED, "project_id": "blog"}, key=bound))[0] == 403
    _, _, made = await create(api, key=bound)
    assert made["project_id"] == "shop"
    assert {key["project_id"] for key in (await api.get("/v1/api-keys", key=bound))["data"]} == {"shop"}
    assert (await api.send("DELETE", f"/v1/api-keys/{unbound['id']}", key=bound)).status == 404


async def test_what_was_done_is_in_the_trail_and_what_was_refused_is_not(api: Api) -> None:
    _, headers, made = await create(api)
    await api.send("DELETE", f"/v1/api-keys/{made['id']}")
    await api.send("DELETE", f"/v1/api-keys/{made['id']}")
    async with api.store.pool.acquire() as connection:
        entries = await audit.list_newest(connection, api.org_id, 10)
    assert [entry["action"] for entry in entries] == [f"DELETE /v1/api-keys/{made['id']}", "POST /v1/api-keys"]
    assert entries[1]["subject"] == headers["Location"]
    assert entries[1]["request_id"] == headers["X-Request-Id"]
    assert entries[1]["actor"].startswith("key_")
