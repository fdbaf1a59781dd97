"""The list of cases has the same statistics as one case, which looks up the case in each run."""

import asyncpg

from service.cases import store as cases_store
from service.database import database
from service.domain.filters import ResultFilter
from tests.database.filled import ORG
from tests.stored import Store

SHOP = ResultFilter(project_id="shop")


async def test_list_has_the_statistics_of_each_case(filled: Store, api_pool: asyncpg.Pool) -> None:
    found = set()
    async with database.as_organization(api_pool, ORG) as connection:
        for runs in (1, 3, 200):
            page = await cases_store.list_page(connection, ORG, SHOP, runs, None, 100)
            for case in page.rows:
                assert case == await cases_store.find_one(connection, ORG, case.case_key, "shop", runs)
                found.add((runs, case.runs))
    assert {(1, 1), (3, 2), (3, 3)} <= found


async def test_case_without_results_has_empty_statistics(filled: Store, api_pool: asyncpg.Pool) -> None:
    await filled.pool.execute("DELETE FROM results")
    async with database.as_organization(api_pool, ORG) as connection:
        page = await cases_store.list_page(connection, ORG, SHOP, 50, None, 2)
    assert page.next is not None
    for case in page.rows:
        assert (case.runs, case.executed, case.last_status, case.failure_rate) == (0, 0, None, None)
