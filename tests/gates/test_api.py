"""Gates: policies with versions that never restart."""

import asyncio
from typing import Any

import pytest

from service.database.database import as_organization
from service.gates import store as gates_store
from service.gates.model import Policy
from tests.served import Api

PATH = "/v1/gates/release"


async def put(api: Api, policy: Any, path: str = PATH, key: str | None = None) -> tuple[int, Any]:
    response = await api.send("PUT", path, json={"policy": policy}, key=key)
    return response.status, await response.json()


async def test_gate_is_created_changed_and_deleted(api: Api) -> None:
    status, created = await put(api, {"max_failures": 0})
    assert (status, created["name"], created["version"]) == (201, "release", 1)
    assert created["policy"] == {"min_results": 1, "max_failures": 0, "max_missing_parts": 0}
    assert await api.get(PATH) == created
    assert await put(api, {"max_failures": 0, "min_results": 1, "max_flaky": None}) == (200, created)
    status, changed = await put(api, {"max_failures": 1, "min_pass_rate": 0.5})
    assert (status, changed["version"], changed["policy"]["min_pass_rate"]) == (200, 2, 0.5)
    assert (await api.send("DELETE", PATH)).status == 204
    await api.error(PATH, 404)
    assert (await api.get("/v1/gates"))["data"] == []
    assert (await api.send("DELETE", PATH)).status == 404
    status, restored = await put(api, {"max_failures": 1, "min_pass_rate": 0.5})
    assert (status, restored["version"]) == (201, 2)
    assert (await put(api, {"max_failures": 2}))[1]["version"] == 3


async def test_concurrent_requests_create_a_gate_once(api: Api) -> None:
    async with as_organization(api.resources.pool, api.org_id) as connection, connection.transaction():
        assert await gates_store.put(connection, api.org_id, "release", Policy(max_failures=0))
        waiting = asyncio.create_task(put(api, {"max_failures": 1}))
        await asyncio.sleep(0.3)
        assert not waiting.done()
    status, changed = await waiting
    assert (status, changed["version"]) == (200, 2)


async def test_gates_are_listed_by_name(api: Api) -> None:
    for name in ("b", "default", "a", "Z"):
        await put(api, {"max_failures": 0}, f"/v1/gates/{name}")
    assert [gate["name"] for gate in await api.list_all("/v1/gates", {"limit": "2"})] == ["Z", "a", "b", "default"]


@pytest.mark.parametrize(
    ("policy", "param"),
    [
        ({}, "policy"),
        ({"max_failures": None}, "policy"),
        ({"max_failures": 0, "max_skipped": 1}, "policy.max_skipped"),
        ({"max_failures": -1}, "policy.max_failures"),
        ({"max_failures": 1.5}, "policy.max_failures"),
        ({"max_new_failures": "1"}, "policy.max_new_failures"),
        ({"max_flaky": True}, "policy.max_flaky"),
        ({"min_results": 0}, "policy.min_results"),
        ({"min_results": None}, "policy.min_results"),
        ({"min_pass_rate": "0.9"}, "policy.min_pass_rate"),
        ({"min_pass_rate": True}, "policy.min_pass_rate"),
        ({"min_pass_rate": 1.01}, "policy.min_pass_rate"),
        ({"min_pass_rate": -0.01}, "policy.min_pass_rate"),
        ({"max_failures": 2**31}, "policy.max_failures"),
        ("strict", "policy"),
    ],
)
async def test_invalid_policy_names_the_field(shared_api: Api, policy: Any, param: str) -> None:
    status, body = await put(shared_api, policy)
    assert (status, body["error"]["param"]) == (400, param)
    decision = await shared_api.send("POST", "/v1/runs/run_1/decisions", json={"policy": policy})
    assert (decision.status, (await decision.json())["error"]["param"]) == (400, param)


@pytest.mark.parametrize("name", ["-a", "a%20b", "%C3%A9", "a" * 101, "a%00"])
async def test_invalid_name_is_rejected(shared_api: Api, name: str) -> None:
    status, body = await put(shared_api, {"max_failures": 0}, f"/v1/gates/{name}")
    assert (status, body["error"]["param"]) == (400, "name")
    await shared_api.error(f"/v1/gates/{name}", 404)
    assert (await shared_api.send("DELETE", f"/v1/gates/{name}")).status == 404


async def test_only_admins_without_a_project_change_gates(api: Api) -> None:
    await put(api, {"max_failures": 0})
    bound = (await api.make_key("admin", project_id="shop")).key
    for key in ((await api.make_key("viewer")).key, (await api.make_key("engineer")).key, bound):
        assert (await put(api, {"max_failures": 9}, key=key))[0] == 403
        assert (await api.send("DELETE", PATH, key=key)).status == 403
        assert (await api.get(PATH, key=key))["version"] == 1
        assert len((await api.get("/v1/gates", key=key))["data"]) == 1


async def test_organizations_have_separate_gates(api: Api) -> None:
    await put(api, {"max_failures": 0})
    _, other = await api.make_organization("other")
    await api.error(PATH, 404, key=other)
    assert (await api.send("DELETE", PATH, key=other)).status == 404
    assert (await api.get("/v1/gates", key=other))["data"] == []
    assert (await put(api, {"max_failures": 5}, key=other))[1]["version"] == 1
    assert (await api.get(PATH))["policy"]["max_failures"] == 0


async def test_audit_trail_contains_changes_of_gates(api: Api) -> None:
    await put(api, {"max_failures": 0})
    await api.send("DELETE", PATH)
    rows = await api.store.pool.fetch("SELECT actor, action FROM audit_trail ORDER BY entry_id")
    assert [row["action"] for row in rows] == [f"PUT {PATH}", f"DELETE {PATH}"]
    assert all(row["actor"].startswith("key_") for row in rows)
