"""The filter `owner` of failure groups, and their owners, compared with a model that reads every failing result."""

from collections import defaultdict
from typing import Any

import asyncpg
import pytest

from service.database import database
from service.domain.filters import ResultFilter
from service.failures import store as failures_store
from service.failures.model import FailureGroupRow
from service.results.queries import Budgets
from tests.database.filled import ORG, StoredResult, read_rows
from tests.owners import set_owners
from tests.run_events import result, run_event
from tests.served import Api
from tests.stored import Store

FILTERS: list[dict[str, Any]] = [
    {"project_id": "shop"}, {"project_id": "shop", "branch": "main"}, {"run_id": "run_7"}, {"project_id": "blog"},
]  # fmt: skip


async def groups(pool: asyncpg.Pool, filter_: ResultFilter, budgets: Budgets | None = None) -> list[FailureGroupRow]:
    async with database.as_organization(pool, ORG) as connection:
        ranked = await failures_store.list_groups(connection, ORG, filter_, 100, budgets)
    assert ranked.truncated == (budgets is not None)
    return list(ranked.groups)


def failing(rows: list[StoredResult], filter_: ResultFilter) -> dict[int, list[StoredResult]]:
    """Return the failing results of each group that match, with cases of any owner."""
    found: dict[int, list[StoredResult]] = defaultdict(list)
    for row in rows:
        if row.fingerprint is not None and row.status in ("f", "e") and row.matches(filter_):
            found[row.fingerprint].append(row)
    return found


async def test_groups_of_an_owner_have_a_failing_case_of_the_owner(filled: Store, api_pool: asyncpg.Pool) -> None:
    rows = await read_rows(filled.pool)
    sizes = set()
    for params in FILTERS:
        all_groups = await groups(api_pool, ResultFilter(**params))
        expected = failing(rows, ResultFilter(**params))
        assert {group.fingerprint for group in all_groups} == expected.keys()
        for group in all_groups:
            owners = {owner for row in expected[group.fingerprint] for owner in row.owners}
            assert (list(group.owners), group.results) == (sorted(owners), len(expected[group.fingerprint]))
        for owner in ("web", "core", "none"):
            found = await groups(api_pool, ResultFilter(owner=owner, **params))
            assert found == [group for group in all_groups if owner in group.owners], (params, owner)
            sizes.add((len(found) > 0, len(found) < len(all_groups)))
    assert sizes >= {(True, True), (False, True)}


async def test_only_failures_within_the_budget_have_owners(filled: Store, api_pool: asyncpg.Pool) -> None:
    [group] = await groups(api_pool, ResultFilter(project_id="shop"), Budgets(2_000, 1))
    case = group.example_case
    await set_owners(filled.pool, {"true": ["other"], f"c.case_key = {case}": ["own"]})
    filter_ = ResultFilter(project_id="shop", owner="own")
    assert [each.owners for each in await groups(api_pool, filter_, Budgets(2_000, 1))] == [["own"]]
    assert await groups(api_pool, ResultFilter(project_id="shop", owner="other"), Budgets(2_000, 1)) == []


async def test_group_has_the_first_ten_owners(api: Api) -> None:
    failure = {"message": "the payment was not accepted by the bank"}
    await api.store.ingest(run_event("a", [result(f"case {n}", "failed", failure=failure) for n in range(3)]))
    names = [f"team {n:02}" for n in range(12)]
    await set_owners(api.store.pool, {"c.name = 'case 1'": names[4:], "c.name = 'case 2'": names[:8]})
    [listed] = (await api.get("/v1/failures", {"project_id": "shop", "owner": names[11]}))["data"]
    assert (listed["results"], listed["owners"]) == (3, names[:10])
    assert (await api.get(f"/v1/failures/{listed['id']}"))["owners"] == names[:10]


async def test_organizations_and_projects_have_their_own_owners(api: Api) -> None:
    _, other = await api.make_organization("other")
    failed = result("pays", "failed", failure={"message": "the payment was not accepted by the bank"})
    await api.store.ingest(run_event("a", [failed]), run_event("a", [failed], organization="other"))
    await api.store.ingest(run_event("b", [failed], project_id="blog"))
    await set_owners(api.store.pool, {"c.org_id = 1 AND c.project_id = 'shop'": ["web"]})
    bound = (await api.make_key("viewer", project_id="blog")).key
    for key, params, count in (
        (api.key, {"project_id": "shop"}, 1), (api.key, {"project_id": "blog"}, 0), (other, {"project_id": "shop"}, 0),
        (bound, {"project_id": "shop"}, 0), (bound, {"run_id": "a"}, 0), (api.key, {"run_id": "a"}, 1),
    ):  # fmt: skip
        assert len((await api.get("/v1/failures", {**params, "owner": "web"}, key))["data"]) == count, params
    [hidden] = (await api.get("/v1/failures", {"project_id": "shop"}, other))["data"]
    assert hidden["owners"] == []


@pytest.mark.parametrize("owner", ["", "x" * 101])
async def test_invalid_owner_names_the_parameter(shared_api: Api, owner: str) -> None:
    assert (await shared_api.error("/v1/failures", 400, {"project_id": "shop", "owner": owner}))["param"] == "owner"
