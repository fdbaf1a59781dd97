"""Quarantines over HTTP: creation, limits, changes, end, expiry, events, and permissions."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from service.database.database import as_organization
from service.identity.keys.model import KEY_ROLES, parse_key
from service.quarantines import store as quarantines_store
from service.quarantines.model import CaseTexts
from service.quarantines.operations import publish_expired
from tests.run_events import result, run_event
from tests.served import Api

BODY = {"project_id": "shop", "name": "pays*", "reason": "issue 7"}
UNKNOWN = "qua_" + "0" * 32
NOW = datetime.now(UTC)


async def send(api: Api, method: str, path: str, body: Any = None, key: str | None = None, **headers: Any) -> Any:
    """Return the status and the body of the response."""
    response = await api.send(method, path, json=body, key=key, **headers)
    return response.status, orjson.loads(await response.read() or b"null")


async def create(api: Api, **fields: Any) -> Any:
    """Return a new quarantine. A field that is None is left out."""
    body = {name: value for name, value in (BODY | fields).items() if value is not None}
    status, created = await send(api, "POST", "/v1/quarantines", body)
    assert status == 201, created
    return created


async def listed(api: Api, **params: str) -> list[str]:
    return [item["id"] for item in (await api.get("/v1/quarantines", params))["data"]]


async def expire(api: Api, quarantine: Any) -> None:
    await api.store.pool.execute(
        "UPDATE quarantines SET expires_at = now() - interval '1 ms' WHERE quarantine_id = $1", quarantine["id"]
    )


async def event_types(api: Api) -> list[Any]:
    rows = await api.store.pool.fetch("SELECT type, project_id, data FROM events ORDER BY event_id")
    return [
        (row["type"], row["project_id"], orjson.loads(row["data"]))
        for row in rows
        if row["type"].startswith("quarantine")
    ]


def in_days(days: float) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat()


async def test_created_quarantine_is_active_for_14_days(api: Api) -> None:
    created = await create(api, suite="shop.*", variant={"os": "linux"}, owner="payments", ticket_url="https://t/7")
    assert await api.get(f"/v1/quarantines/{created['id']}") == created
    assert (await api.get("/v1/quarantines"))["data"] == [created]
    assert [name for name, value in created.items() if value is None] == ["case", "named_case", "ended_at"]
    expected = {"suite": "shop.*", "variant": {"os": "linux"}, "owner": "payments", "ticket_url": "https://t/7"} | BODY
    assert {name: created[name] for name in expected} == expected
    assert created["active"] is True
    assert created["created_by"].startswith("key_")
    assert created["created_by_name"] == "test"
    duration = datetime.fromisoformat(created["expires_at"]) - datetime.fromisoformat(created["created_at"])
    assert abs(duration - timedelta(days=14)) < timedelta(seconds=1)


async def test_name_of_a_key_is_that_of_the_same_organization(api: Api) -> None:
    created = await create(api)
    of_project = (await api.make_key(project_id="shop")).key
    assert (await api.get("/v1/quarantines", key=of_project))["data"] == [created]
    _, other = await api.make_organization("other")
    parsed = parse_key(other)
    assert parsed is not None
    for key_id in ("key_1", parsed.key_id):
        await api.store.pool.execute("UPDATE quarantines SET created_by = $1", key_id)
        unnamed = created | {"created_by": key_id, "created_by_name": None}
        assert (await api.get("/v1/quarantines"))["data"] == [unnamed]
    await expire(api, created)
    await publish_expired(api.store.pool)  # which reads the keys of all organizations
    assert (await event_types(api))[-1][2]["created_by_name"] is None


async def test_quarantine_of_a_case_needs_no_project(api: Api) -> None:
    await api.store.ingest(run_event("a", [result("pays")]))
    case = (await api.get("/v1/results"))["data"][0]["case"]
    created = await create(api, project_id=None, name=None, case=case)
    assert (created["case"], created["project_id"], created["name"]) == (case, "shop", None)
    other = await create(api)
    assert await listed(api, case=case) == [created["id"]]
    for body in ({"case": "case_" + "0" * 16}, {"case": case, "project_id": "blog"}):
        status, error = await send(api, "POST", "/v1/quarantines", {"reason": "x", **body})
        assert (status, error["error"]["code"]) == (404, "not_found")
        assert error["error"]["message"].startswith("case: ")
    async with api.store.pool.acquire() as connection:
        active = await quarantines_store.active_quarantines(connection, api.org_id, "shop")
        elsewhere = await quarantines_store.active_quarantines(connection, api.org_id, "blog")
    key = await api.store.pool.fetchval("SELECT case_key FROM cases")
    cases = [CaseTexts(key, "", "other", {}), CaseTexts(key + 1, "", "pays", {})]
    assert list(active.match(cases)) == [(key, created["id"]), (key + 1, other["id"])]
    assert list(elsewhere.match(cases)) == [None, None]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"project_id": None}, "project_id"),
        ({"project_id": ""}, "project_id"),
        ({"name": None}, "case"),
        ({"name": None, "variant": {"os": "linux"}}, "case"),
        ({"case": "case_" + "0" * 16}, "case"),
        ({"case": "case_" + "0" * 16, "name": None, "variant": {"os": "linux"}}, "case"),
        ({"case": "case_1", "name": None}, "case"),
        ({"name": "x" * 501}, "name"),
        ({"suite": "*a" * 6}, "suite"),
        ({"name": "a\0"}, "name"),
        ({"variant": {"": "x"}}, "variant"),
        ({"variant": {str(number): "x" for number in range(9)}}, "variant"),
        ({"reason": None}, "reason"),
        ({"reason": "  "}, "reason"),
        ({"reason": "x" * 1_001}, "reason"),
        ({"owner": "x" * 201}, "owner"),
        ({"ticket_url": "javascript:alert(1)"}, "ticket_url"),
        ({"ticket_url": "ftp://t/1"}, "ticket_url"),
        ({"ticket_url": "https://"}, "ticket_url"),
        ({"ticket_url": "https://t/ 1"}, "ticket_url"),
        ({"expires_at": "2020-01-01"}, "expires_at"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"expires_at": in_days(91)}, "expires_at"),
        ({"until": "2030-01-01"}, "until"),
    ],
)
async def test_invalid_quarantine_names_the_field(shared_api: Api, fields: Any, param: str) -> None:
    body = {name: value for name, value in (BODY | fields).items() if value is not None}
    status, error = await send(shared_api, "POST", "/v1/quarantines", body)
    assert status == 400, error
    assert error["error"]["param"].split(".")[0] == param
    assert error["error"]["message"].startswith((f"{param}", "field 'until'"))
    assert await listed(shared_api) == []


@pytest.mark.parametrize("days", [0.001, 89.999])
async def test_expiry_of_at_most_90_days_is_accepted(api: Api, days: float) -> None:
    assert (await create(api, expires_at=in_days(days)))["active"] is True


async def test_project_has_at_most_500_active_quarantines(api: Api) -> None:
    first = await create(api)
    async with as_organization(api.resources.pool, api.org_id) as connection, connection.transaction():
        await connection.execute(
            "INSERT INTO quarantines (org_id, quarantine_id, project_id, name, reason, expires_at, created_by)"
            " SELECT org_id, 'qua_' || lpad(to_hex(n), 32, '0'), project_id, name, reason, expires_at, created_by"
            " FROM quarantines, generate_series(1, 499) n"
        )
    status, error = await send(api, "POST", "/v1/quarantines", BODY)
    assert (status, error["error"]["code"]) == (409, "conflict")
    await create(api, project_id="blog")
    await expire(api, first)
    await create(api)
    assert (await send(api, "POST", "/v1/quarantines", BODY))[0] == 409


async def test_concurrent_request_waits_before_it_counts_the_active_quarantines(api: Api) -> None:
    async with as_organization(api.resources.pool, api.org_id) as connection, connection.transaction():
        await quarantines_store.count_for_insert(connection, api.org_id, "shop")
        creating = asyncio.create_task(create(api))
        done, _ = await asyncio.wait([creating], timeout=0.3)
        assert not done
    assert (await creating)["active"] is True


async def test_list_is_filtered_and_paged(api: Api) -> None:
    ids = [(await create(api, project_id=project))["id"] for project in ("shop", "blog", "shop")][::-1]
    await send(api, "DELETE", f"/v1/quarantines/{ids[0]}")
    await expire(api, {"id": ids[1]})
    assert await listed(api) == [item["id"] for item in await api.list_all("/v1/quarantines", {"limit": "1"})] == ids
    assert await listed(api, project_id="shop") == [ids[0], ids[2]]
    assert await listed(api, active="true") == [ids[2]]
    assert await listed(api, active="false") == ids[:2]
    assert await listed(api, project_id="blog", active="true") == []
    for name, value in {"active": "maybe", "case": "case_1", "suite": "x"}.items():
        assert (await api.error("/v1/quarantines", 400, {name: value}))["param"] == name


async def test_list_has_an_etag_that_changes_with_the_expiry(api: Api) -> None:
    created = await create(api)
    etag = (await api.send("GET", "/v1/quarantines?active=true")).headers["ETag"]
    again = await api.send("GET", "/v1/quarantines?active=true", If_None_Match=etag)
    assert again.status == 304
    await expire(api, created)
    changed = await api.send("GET", "/v1/quarantines?active=true", If_None_Match=etag)
    assert (changed.status, (await changed.json())["data"]) == (200, [])
    assert (await api.get("/v1/quarantines"))["data"][0]["active"] is False


async def test_change_replaces_the_given_fields(api: Api) -> None:
    created = await create(api, owner="payments", ticket_url="https://t/7")
    path = f"/v1/quarantines/{created['id']}"
    status, changed = await send(api, "PATCH", path, {"reason": "issue 8", "owner": None, "expires_at": in_days(80)})
    assert status == 200
    assert changed["expires_at"] > created["expires_at"]
    assert changed == created | {"reason": "issue 8", "owner": None, "expires_at": changed["expires_at"]}
    assert await api.get(path) == changed


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, None),
        ({"reason": None}, "reason"),
        ({"reason": ""}, "reason"),
        ({"expires_at": None}, "expires_at"),
        ({"expires_at": "2020-01-01"}, "expires_at"),
        ({"expires_at": in_days(91)}, "expires_at"),
        ({"ticket_url": "x"}, "ticket_url"),
        ({"name": "*"}, "name"),
        ({"case": "case_" + "0" * 16}, "case"),
    ],
)
async def test_invalid_change_names_the_field(api: Api, body: Any, param: str | None) -> None:
    created = await create(api)
    status, error = await send(api, "PATCH", f"/v1/quarantines/{created['id']}", body)
    assert (status, error["error"].get("param")) == (400, param)
    assert await api.get(f"/v1/quarantines/{created['id']}") == created


async def test_ended_quarantine_stays_readable_and_unchanged(api: Api) -> None:
    path = f"/v1/quarantines/{(await create(api))['id']}"
    assert (await send(api, "DELETE", path))[0] == 204
    ended = await api.get(path)
    assert (ended["active"], ended["ended_at"] is None) == (False, False)
    assert (await send(api, "DELETE", path))[0] == 204
    assert (await send(api, "PATCH", path, {"reason": "x"}))[0] == 409
    assert await api.get(path) == ended


async def test_expired_quarantine_is_not_ended_and_can_not_change(api: Api) -> None:
    created = await create(api)
    await expire(api, created)
    path = f"/v1/quarantines/{created['id']}"
    assert (await send(api, "PATCH", path, {"expires_at": in_days(1)}))[0] == 409
    assert (await send(api, "DELETE", path))[0] == 204
    found = await api.get(path)
    assert (found["active"], found["ended_at"]) == (False, None)


async def test_creation_and_expiry_are_published_once(api: Api) -> None:
    expiring, ended, active = await create(api), await create(api, project_id="blog"), await create(api)
    await send(api, "DELETE", f"/v1/quarantines/{ended['id']}")
    for quarantine in (expiring, ended):
        await expire(api, quarantine)
    assert [await publish_expired(api.store.pool) for _ in range(2)] == [1, 0]
    created = [("quarantine.created", item["project_id"], item) for item in (expiring, ended, active)]
    *first, (event_type, project_id, data) = await event_types(api)
    assert first == created
    assert (event_type, project_id, data["id"], data["active"]) == ("quarantine.expired", "shop", expiring["id"], False)
    assert data == await api.get(f"/v1/quarantines/{expiring['id']}")


async def test_repeated_creation_with_an_idempotency_key_creates_one(api: Api) -> None:
    first, again = [await send(api, "POST", "/v1/quarantines", BODY, Idempotency_Key="k") for _ in range(2)]
    assert first == again
    assert len(await listed(api)) == len(await event_types(api)) == 1


async def test_every_change_is_in_the_audit_trail(api: Api) -> None:
    path = f"/v1/quarantines/{(await create(api))['id']}"
    await send(api, "PATCH", path, {"reason": "x"})
    await send(api, "DELETE", path)
    entries = await api.store.pool.fetch("SELECT action, subject FROM audit_trail ORDER BY entry_id")
    assert [tuple(entry) for entry in entries] == [
        ("POST /v1/quarantines", path), (f"PATCH {path}", None), (f"DELETE {path}", None)
    ]  # fmt: skip


@pytest.mark.parametrize("role", [role for role in KEY_ROLES if role != "public"])
async def test_viewer_reads_and_engineer_manages(api: Api, role: Any) -> None:
    created, key = await create(api), (await api.make_key(role)).key
    path = f"/v1/quarantines/{created['id']}"
    assert await api.get(path, key=key) == created
    assert (await api.get("/v1/quarantines", key=key))["data"] == [created]
    statuses = [
        (await send(api, method, target, body, key))[0]
        for method, target, body in (
            ("POST", "/v1/quarantines", BODY),
            ("PATCH", path, BODY | {}),
            ("DELETE", path, None),
        )
    ]
    assert statuses == ([403] * 3 if role in ("viewer", "uploader") else [201, 400, 204])


async def test_key_of_a_project_reaches_only_that_project(api: Api) -> None:
    await api.store.ingest(run_event("a", [result("pays")], project_id="blog"))
    case = (await api.get("/v1/results"))["data"][0]["case"]
    other = await create(api, project_id="blog")
    key = (await api.make_key("engineer", project_id="shop")).key
    assert (await send(api, "POST", "/v1/quarantines", BODY | {"project_id": "blog"}, key))[0] == 403
    assert (await send(api, "POST", "/v1/quarantines", {"case": case, "reason": "x"}, key))[0] == 404
    status, own = await send(api, "POST", "/v1/quarantines", {"name": "*", "reason": "x"}, key)
    assert (status, own["project_id"]) == (201, "shop")
    assert (await api.get("/v1/quarantines", key=key))["data"] == [own]
    assert (await api.get("/v1/quarantines", {"project_id": "blog"}, key))["data"] == []
    for quarantine_id in (other["id"], UNKNOWN, "qua_1"):
        for method, body in (("GET", None), ("PATCH", {"reason": "x"}), ("DELETE", None)):
            assert (await send(api, method, f"/v1/quarantines/{quarantine_id}", body, key))[0] == 404
    assert await api.get(f"/v1/quarantines/{other['id']}") == other
