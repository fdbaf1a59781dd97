"""Trusted publishers over HTTP: their CRUD, which changes revoke keys, and the newest exchanges."""

import asyncio
from collections.abc import Awaitable
from typing import Any, Final

from service.database.database import as_organization
from service.identity.keys.model import new_key_id
from service.identity.publishers import store as publishers_store
from service.identity.publishers.model import Publisher
from service.identity.publishers.store import NewExchange
from service.retention import cleanup
from service.retention.deletion import delete_requested_projects
from tests.identity.publishers.test_token_exchange import CLAIMS as TOKEN_CLAIMS
from tests.identity.publishers.test_token_exchange import get_key, publish, serving
from tests.oidc.issuers import SigningIssuer
from tests.served import Api

PATH: Final = "/v1/publishers"
GITHUB: Final = "https://token.actions.githubusercontent.com"
CLAIMS: Final = {"repository_id": 7, "repository_owner_id": "3", "environment": "ci"}
IDS: Final = {"repository_id": "7", "repository_owner_id": "3"}
BODY: Final = {"provider": "github", "project_id": "shop", "claims": CLAIMS}


async def create(api: Api, key: str | None = None, status: int = 201, **fields: Any) -> Any:
    response = await api.send("POST", PATH, json=BODY | fields, key=key)
    text = await response.text()
    assert response.status == status, text
    return await response.json()


async def change(api: Api, publisher: Any, key: str | None = None, **fields: Any) -> tuple[int, Any]:
    response = await api.send("PATCH", f"{PATH}/{publisher['id']}", json=fields, key=key)
    return response.status, await response.json()


async def use(api: Api, publisher: Publisher, meanwhile: Awaitable[None] | None = None) -> bool:
    """Insert a key as an exchange does, if the publisher is unchanged. Return whether it is."""
    async with as_organization(api.resources.pool, api.org_id) as connection, connection.transaction():
        if not await publishers_store.use(connection, publisher, "", ""):
            return False
        if meanwhile is not None:
            await meanwhile
        await connection.execute(
            "INSERT INTO api_keys (org_id, key_id, name, role, project_id, secret_sha256, publisher_id)"
            " VALUES ($1, $2, 'job', 'uploader', 'shop', '', $3)",
            api.org_id, new_key_id(), publisher.publisher_id,
        )  # fmt: skip
        return True


async def active_keys(api: Api) -> int:
    return int(await api.store.pool.fetchval(
        "SELECT count(*) FROM api_keys WHERE publisher_id IS NOT NULL AND revoked_at IS NULL"
    ))  # fmt: skip


async def test_a_publisher_is_created_found_changed_and_deleted(api: Api) -> None:
    created = await create(api)
    path = f"{PATH}/{created['id']}"
    assert created == await api.get(path)
    assert created["claims"] == {"repository_id": "7", "repository_owner_id": "3", "environment": "ci"}
    assert (created["issuer"], created["role"], created["enabled"]) == (GITHUB, "uploader", True)
    assert (created["name"], created["created_by_name"], created["last_used_at"]) == ("GitHub Actions 7", "test", None)
    other = await create(api, provider="oidc", issuer="https://ci.example.com", claims={"p": "1"}, role="engineer")
    assert other["name"] == "ci.example.com"
    assert [item["id"] for item in await api.list_all(PATH, {"limit": "1"})] == [other["id"], created["id"]]
    assert await change(api, created, name="CI") == (200, {**created, "name": "CI"})
    status, error = await change(api, created, claims={"repository_id": 7})
    assert (status, error["error"]["param"]) == (400, "claims.repository_owner_id")
    assert (await api.send("DELETE", path)).status == 204
    await api.error(path, 404)
    assert (await api.send("DELETE", path)).status == 404
    assert [item["id"] for item in (await api.get(PATH))["data"]] == [other["id"]]


async def test_a_rejected_publisher_names_the_field(api: Api) -> None:
    for fields, param in (
        ({"claims": {**CLAIMS, "sub": "repo:acme/shop"}}, "claims.sub"),
        ({"claims": {**CLAIMS, "ref_protected": True}}, "claims.ref_protected"),
        ({"claims": {**CLAIMS, "repository_id": "acme/shop"}}, "claims.repository_id"),
        ({"provider": "circleci", "claims": {}}, "issuer"),
        ({"issuer": "http://127.0.0.1:1"}, "issuer"),
        ({"project_id": None}, "project_id"),
        ({"provider": "jenkins"}, "provider"),
        ({"role": "viewer"}, "role"),
    ):
        error = (await create(api, status=400, **fields))["error"]
        assert error["param"] == param, error
        assert error["message"].startswith(f"{param}: "), error


async def test_only_changes_of_what_is_accepted_revoke_the_keys(api: Api) -> None:
    created = await create(api)
    for fields in ({"claims": {**CLAIMS, "environment": "prod"}}, {"role": "engineer"}, {"enabled": False}, None):
        if not created["enabled"]:
            _, created = await change(api, created, enabled=True)
        [found] = await publishers_store.find_by_ids(api.resources.pool, GITHUB, [IDS])
        assert (found.slug, found.publisher_id, dict(found.claims)) == ("acme", created["id"], created["claims"])
        assert await use(api, found)
        await change(api, created, name="other")
        assert await active_keys(api) == 1
        if fields:
            _, created = await change(api, created, **fields)
        else:
            await api.send("DELETE", f"{PATH}/{created['id']}")
        assert await active_keys(api) == 0
        assert not await use(api, found)  # an exchange that had found the publisher before
    assert created["last_used_at"] is not None
    assert await publishers_store.find_by_ids(api.resources.pool, GITHUB, [IDS]) == []


async def test_a_change_waits_for_an_exchange_and_revokes_its_key(api: Api) -> None:
    created = await create(api)
    [found] = await publishers_store.find_by_ids(api.resources.pool, GITHUB, [IDS])
    changes: list[asyncio.Task[Any]] = []

    async def disable() -> None:
        changes.append(asyncio.create_task(change(api, created, enabled=False)))
        await asyncio.sleep(0.2)

    assert await use(api, found)  # later exchanges of the same minute don't write the row
    assert await use(api, found, disable())
    assert (await changes[0])[1]["enabled"] is False
    assert await active_keys(api) == 0


async def test_a_project_manages_its_publishers_only(api: Api) -> None:
    shop = await create(api)
    key = (await api.make_key("admin", project_id="docs")).key
    await create(api, key=key, status=403)
    docs = await create(api, key=key, project_id=None)
    assert docs["project_id"] == "docs"
    assert (await api.get(PATH, key=key))["data"] == [docs]
    assert (await change(api, shop, key=key, enabled=False))[0] == 404
    assert (await api.send("DELETE", f"{PATH}/{shop['id']}", key=key)).status == 404


async def test_the_newest_exchanges_state_why_a_token_was_refused(api: Api) -> None:
    publisher = await create(api)
    refused = NewExchange(
        publisher["id"], GITHUB, b"", "https://ci/1", "shop", None, "environment differs", {"sha": "a"}
    )
    async with as_organization(api.resources.pool, api.org_id) as connection:
        for number in range(102):
            await publishers_store.insert_exchange(connection, api.org_id, refused._replace(job=str(number)))
        await publishers_store.insert_exchange(
            connection, api.org_id, refused._replace(publisher_id=None, project_id="docs")
        )
    path = "/v1/token-exchanges"
    listed = (await api.get(path))["data"]
    assert len(listed) == 100
    assert [item["publisher_id"] for item in listed[:2]] == [None, publisher["id"]]
    assert {name: listed[1][name] for name in ("publisher_name", "job", "refusal", "claims")} == {
        "publisher_name": publisher["name"], "job": "101", "refusal": "environment differs", "claims": {"sha": "a"},
    }  # fmt: skip
    assert len((await api.get(path, {"publisher_id": publisher["id"]}))["data"]) == 99
    assert (await api.get(path, {"publisher_id": "pub_1"}))["data"] == []
    key = (await api.make_key("admin", project_id="docs")).key
    assert [item["project_id"] for item in (await api.get(path, key=key))["data"]] == ["docs"]
    assert await cleanup.delete_outdated_exchanges(api.store.pool) == 3
    assert (await api.get(path))["data"] == listed


async def test_a_deleted_project_has_no_publishers(api: Api) -> None:
    created, other = await create(api), await create(api, project_id="docs")
    await api.store.pool.execute(
        "INSERT INTO projects (org_id, project_id, deletion_requested_at) VALUES ($1, 'shop', now())", api.org_id
    )
    await delete_requested_projects(api.store.pool)
    await api.error(f"{PATH}/{created['id']}", 404)
    assert [item["id"] for item in (await api.get(PATH))["data"]] == [other["id"]]


async def test_publisher_without_a_name_gets_that_of_its_repository(database_url: str) -> None:
    with SigningIssuer() as issuer:
        async with serving(database_url) as api:
            unnamed = await publish(api, issuer)
            await publish(api, issuer, claims={**IDS, "repository_id": "8"}, name="nightly jobs")
            assert unnamed["name"] == "GitHub Actions 7"
            for claims in (TOKEN_CLAIMS, {**TOKEN_CLAIMS, "repository_id": "8", "repository": "acme/other"}):
                await get_key(api, issuer, claims)
            names = [item["name"] for item in (await api.get("/v1/publishers"))["data"]]
            assert names == ["nightly jobs", "GitHub Actions acme/shop"]
            path = f"/v1/token-exchanges?publisher_id={unnamed['id']}"
            assert [item["publisher_name"] for item in (await api.get(path))["data"]] == ["GitHub Actions acme/shop"]
