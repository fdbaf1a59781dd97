"""Owners of cases over HTTP: their list, and the filter `owner` with its cursors, in each project and organization."""

from collections import Counter
from typing import Any, Final

import pytest
import pytest_asyncio
from pydantic import TypeAdapter

from service.cases import store as cases_store
from service.cases.contract import OwnerSummary
from service.database import database
from tests.case_states import day_of_runs, update_states
from tests.owners import set_owners
from tests.run_events import result, run_event
from tests.served import Api

OWNERS: Final = {
    "c.name IN ('pays', 'ships')": ["web", "@acme/shop"], "c.name = 'logs in'": ["web"],
    "c.name = 'posts'": ["blog", "web"], "c.org_id = 2": ["hidden", "web"],
}  # fmt: skip
SHOP: Final = [
    {"owner": "@acme/shop", "cases": 2, "broken": 1, "flaky": 1},
    {"owner": "web", "cases": 3, "broken": 1, "flaky": 1},
]
BLOG: Final = [{"owner": name, "cases": 1, "broken": 1, "flaky": 0} for name in ("blog", "web")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stored(shared_api: Api) -> Api:
    """Store a broken and a flaky case with two owners, a healthy one with one, and cases of others."""
    await shared_api.make_organization("other")
    histories = {"pays": 25 * "p" + "fff", "ships": "F" + 13 * "pF" + "p", "logs in": 28 * "p", "logs out": 28 * "p"}
    await shared_api.store.ingest(
        *day_of_runs(0, histories),
        *day_of_runs(1, {"posts": 25 * "p" + "fff"}, project_id="blog"),
        *day_of_runs(2, {"logs in": 25 * "p" + "fff"}, organization="other"),
    )
    await update_states(shared_api.store.pool)
    await set_owners(shared_api.store.pool, OWNERS)
    return shared_api


async def names(api: Api, path: str, params: dict[str, str], key: str | None = None) -> list[str]:
    return sorted(item["name"] for item in (await api.get(path, {**params, "limit": "100"}, key))["data"])


async def test_list_has_the_owners_of_the_project_with_their_cases(stored: Api) -> None:
    assert (await stored.get("/v1/owners", {"project_id": "shop"}))["data"] == SHOP
    assert (await stored.get("/v1/owners", {"project_id": "blog"}))["data"] == BLOG
    TypeAdapter(list[OwnerSummary]).validate_python(SHOP)


async def test_pages_of_owners_contain_each_owner_once(stored: Api) -> None:
    assert await stored.list_all("/v1/owners", {"project_id": "shop", "limit": "1"}) == SHOP
    page = await stored.get("/v1/owners", {"project_id": "shop", "limit": "1"})
    of_other = {"project_id": "blog", "starting_after": page["next_cursor"]}
    assert (await stored.error("/v1/owners", 400, of_other))["param"] == "starting_after"


async def test_owners_equal_those_of_a_model(filled: Any, api_pool: Any) -> None:
    async with database.as_organization(api_pool, 1) as connection:  # type: ignore[arg-type]
        for project_id in ("shop", "blog", "mail", "none"):
            rows = await connection.fetch("SELECT owners FROM cases WHERE project_id = $1", project_id)
            expected = Counter(owner for row in rows for owner in row["owners"])
            page = await cases_store.list_owners(connection, 1, project_id, "", 100)  # type: ignore[arg-type]
            assert ([(row.owner, row.cases) for row in page.rows], page.next) == (sorted(expected.items()), None)


async def test_owners_of_other_projects_and_organizations_are_hidden(stored: Api) -> None:
    bound = (await stored.make_key(project_id="blog")).key
    org_id = await stored.store.pool.fetchval("SELECT org_id FROM organizations WHERE slug = 'other'")
    other = (await stored.make_key(org_id=org_id)).key
    assert (await stored.get("/v1/owners", key=bound))["data"] == BLOG
    assert (await stored.get("/v1/owners", {"project_id": "shop"}, bound))["data"] == []
    assert (await stored.get("/v1/owners", {"project_id": "none"}))["data"] == []
    listed = (await stored.get("/v1/owners", {"project_id": "shop"}, other))["data"]
    assert [item["owner"] for item in listed] == ["hidden", "web"]
    for path in ("/v1/cases", "/v1/results"):
        assert set(await names(stored, path, {"owner": "web"}, bound)) == {"posts"}, path
        assert await names(stored, path, {"owner": "web", "project_id": "shop"}, bound) == [], path
        assert set(await names(stored, path, {"owner": "web", "project_id": "shop"}, other)) == {"logs in"}, path
        assert await names(stored, path, {"owner": "blog", "project_id": "shop"}, other) == [], path
    assert set(await names(stored, "/v1/results", {"owner": "hidden"})) == set()


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"owner": "web"}, ["logs in", "pays", "ships"]),
        ({"owner": "@acme/shop"}, ["pays", "ships"]),
        ({"owner": "acme"}, []),
        ({"owner": "web", "state": "broken"}, ["pays"]),
        ({"owner": "web", "state": "healthy"}, ["logs in"]),
        ({"owner": "web", "q": "S", "suite": "auth.login"}, ["logs in", "pays", "ships"]),
        ({"owner": "web", "q": "ships"}, ["ships"]),
        ({"owner": "web", "branch": "topic"}, []),
        ({"owner": "web", "branch": "main"}, ["logs in", "pays", "ships"]),
        ({"owner": "web", "sort": "failures"}, ["pays"]),
        ({"owner": "blog", "sort": "failures"}, []),
        ({"owner": "web", "sort": "flaky", "state": "flaky"}, ["ships"]),
        ({"owner": "web", "sort": "duration"}, ["logs in", "pays", "ships"]),
    ],
)
async def test_cases_are_filtered_by_owner(stored: Api, params: dict[str, str], expected: list[str]) -> None:
    assert await names(stored, "/v1/cases", {"project_id": "shop", **params}) == expected


async def test_cursor_belongs_to_the_owner(stored: Api) -> None:
    for path in ("/v1/cases", "/v1/results"):
        params = {"project_id": "shop", "owner": "web", "limit": "1"}
        cursor = (await stored.get(path, params))["next_cursor"]
        assert len((await stored.get(path, {**params, "starting_after": cursor}))["data"]) == 1
        error = await stored.error(path, 400, {**params, "owner": "@acme/shop", "starting_after": cursor})
        assert error["param"] == "starting_after"


async def test_list_of_owners_requires_a_project(shared_api: Api) -> None:
    assert (await shared_api.error("/v1/owners", 400))["param"] == "project_id"


async def test_owner_without_a_case_in_the_newest_runs_has_no_duration(api: Api) -> None:
    await api.store.ingest(run_event("a", [result("pays", duration_ms=5)], completed_at="2026-05-01T00:00:00Z"))
    await set_owners(api.store.pool, {"true": ["web"]})
    await api.store.ingest(run_event("b", [result("ships", duration_ms=9)]))
    ranked = await api.get("/v1/cases", {"project_id": "shop", "sort": "duration", "owner": "web"})
    assert (ranked["data"], ranked["truncated"]) == ([], False)
