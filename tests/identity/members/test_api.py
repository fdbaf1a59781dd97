"""Members over HTTP: creation, duplicates, changes, removal, and the limits of a project."""

from typing import Any

import orjson

from service.domain.ids import OrgId
from service.mutations import store as mutations_store
from tests.served import Api

UNKNOWN = "mem_" + "0" * 32
PATH = "/v1/members"


async def send(api: Api, method: str, path: str, body: Any = None, key: str | None = None) -> tuple[int, Any]:
    response = await api.send(method, path, json=body, key=key)
    return response.status, orjson.loads(await response.read() or b"null")


async def refused(api: Api, method: str, path: str, body: Any, key: str | None = None) -> tuple[int, str]:
    status, answer = await send(api, method, path, body, key)
    return status, answer["error"]["message"]


async def test_members_are_added_changed_and_removed(api: Api) -> None:
    status, ada = await send(api, "POST", PATH, {"email": " Ada@Example.org ", "role": "admin"})
    assert status == 201
    chosen = {name: ada[name] for name in ("id", "created_by", "created_at")}
    assert ada == chosen | {
        "email": "ada@example.org", "group": None, "role": "admin", "project_id": None, "name": None,
        "last_seen_at": None, "created_by_name": "test",
    }  # fmt: skip
    _, group = await send(api, "POST", PATH, {"group": "QA", "role": "viewer", "project_id": "shop"})
    assert (group["email"], group["group"], group["project_id"]) == (None, "QA", "shop")

    for again in (
        {"email": "ADA@example.org", "role": "viewer"},
        {"group": "QA", "role": "admin", "project_id": "shop"},
    ):
        assert (await send(api, "POST", PATH, again))[0] == 409
    _, docs = await send(api, "POST", PATH, {"email": "ada@example.org", "role": "viewer", "project_id": "docs"})
    status, message = await refused(api, "PATCH", f"{PATH}/{docs['id']}", {"project_id": None})
    assert (status, message) == (
        409, "email 'ada@example.org' is already a member of all projects; change the role of this member"
    )  # fmt: skip
    _, changed = await send(api, "PATCH", f"{PATH}/{docs['id']}", {"role": "engineer", "project_id": "shop"})
    assert changed == docs | {"role": "engineer", "project_id": "shop"}
    assert await send(api, "GET", f"{PATH}/{docs['id']}") == (200, changed)

    assert (await send(api, "DELETE", f"{PATH}/{ada['id']}"))[0] == 204
    for method, body in (("GET", None), ("PATCH", {"role": "viewer"}), ("DELETE", None)):
        for member_id in (ada["id"], UNKNOWN, "mem_1"):
            status, message = await refused(api, method, f"{PATH}/{member_id}", body)
            assert (status, message) == (404, f"member {member_id!r} not found")
    assert [each["id"] for each in await api.list_all(PATH, {"limit": "1"})] == [docs["id"], group["id"]]
    assert (await send(api, "POST", PATH, {"email": "ada@example.org", "role": "viewer"}))[0] == 201
    async with api.store.pool.acquire() as connection:
        entries = await mutations_store.list_newest(connection, OrgId(1), 2)
    assert entries[1]["action"] == f"DELETE {PATH}/{ada['id']}"
    assert entries[1]["actor_name"] == "test"


async def test_a_key_of_a_project_manages_only_members_of_it(api: Api) -> None:
    key = (await api.make_key("admin", project_id="shop")).key
    _, everywhere = await send(api, "POST", PATH, {"email": "ada@example.org", "role": "viewer"})
    _, own = await send(api, "POST", PATH, {"email": "ada@example.org", "role": "viewer"}, key)
    assert own["project_id"] == "shop"
    assert [each["id"] for each in (await api.get(PATH, key=key))["data"]] == [own["id"]]
    forbidden = (403, "project_id: you can manage only members of the project 'shop'")
    assert await refused(api, "POST", PATH, {"group": "QA", "role": "viewer", "project_id": "docs"}, key) == forbidden
    for project_id in ("docs", None):
        assert await refused(api, "PATCH", f"{PATH}/{own['id']}", {"project_id": project_id}, key) == forbidden
    assert (await send(api, "PATCH", f"{PATH}/{own['id']}", {"role": "admin"}, key))[1]["role"] == "admin"
    for method, body in (("GET", None), ("PATCH", {"role": "viewer"}), ("DELETE", None)):
        assert (await send(api, method, f"{PATH}/{everywhere['id']}", body, key))[0] == 404

    for body, message in (
        ({"role": "viewer"}, "email: exactly one of email and group is required"),
        ({"email": "a@b.de", "group": "QA", "role": "viewer"}, "email: exactly one of email and group is required"),
        ({"email": "a b@c.de", "role": "viewer"}, "email: must be an email address of at most 254 characters"),
        ({"group": " ", "role": "viewer"}, "group: must not be empty"),
        ({"group": "x" * 201, "role": "viewer"}, "group: must have at most 200 characters"),
        ({"group": "QA", "role": "owner"}, "role: must be 'viewer', 'uploader', 'engineer' or 'admin'"),
    ):
        status, stated = await refused(api, "POST", PATH, body)
        assert status == 400
        assert stated.startswith(message), stated
