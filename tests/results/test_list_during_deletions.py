"""Pages of the list of results are complete and full while retention deletes rows."""

import random
from collections.abc import Sequence

import asyncpg
import pytest

from service.database import database
from service.domain.filters import Position, ResultFilter
from service.results import queries as results_queries
from service.results.queries import BUDGETS
from tests.database.filled import ORG, StoredResult, list_all_ids, read_rows
from tests.results.test_list import matching_ids
from tests.run_events import result, run_event
from tests.stored import Store

OF_FAILURES = [
    ResultFilter(statuses=("f",)),
    ResultFilter(statuses=("e", "f")),
    ResultFilter(flaky=True),
    ResultFilter(project_id="shop", statuses=("f",)),
    ResultFilter(branch="main", statuses=("e", "f")),
    ResultFilter(project_id="shop", flaky=True),
]


async def delete_results(store: Store, deleted: Sequence[StoredResult]) -> None:
    """Delete the rows of `results` first: retention deletes the rows of each table in an independent order."""
    for row in deleted:
        await store.pool.execute("DELETE FROM results WHERE run_key = $1 AND case_key = $2", *row.key)


@pytest.mark.parametrize("filter_", OF_FAILURES)
async def test_list_continues_after_failures_without_a_result(
    filled: Store, api_pool: asyncpg.Pool, filter_: ResultFilter
) -> None:
    matching = [row for row in await read_rows(filled.pool) if row.matches(filter_)]
    await delete_results(filled, random.Random(1).sample(matching, len(matching) // 2))
    expected = matching_ids(await read_rows(filled.pool), filter_)
    assert len(expected) > 3
    for limit in (1, 2, 5, 1000):
        assert await list_all_ids(api_pool, filter_, limit, BUDGETS) == expected, limit


@pytest.mark.parametrize(
    "filter_",
    [
        *OF_FAILURES,
        ResultFilter(),
        ResultFilter(project_id="shop"),
        ResultFilter(run_id="run_1"),
        ResultFilter(run_id="run_1", words=("case",)),
        ResultFilter(run_id="run_1", sort="-duration_ms"),
        ResultFilter(run_id="run_1", sort="suite"),
    ],
)
async def test_list_continues_after_results_without_a_case(
    filled: Store, api_pool: asyncpg.Pool, filter_: ResultFilter
) -> None:
    matching = [row for row in await read_rows(filled.pool) if row.matches(filter_)]
    case_keys = sorted({case_key for _, case_key in (row.key for row in matching)})
    await filled.pool.execute("DELETE FROM cases WHERE org_id = $1 AND case_key = ANY ($2)", ORG, case_keys[::2])
    expected = matching_ids(await read_rows(filled.pool), filter_)
    assert 0 < len(expected) < len(matching)
    for limit in (1, 2, 5, 1000):
        assert await list_all_ids(api_pool, filter_, limit, BUDGETS) == expected, limit


async def page_sizes(pool: asyncpg.Pool, filter_: ResultFilter, limit: int) -> list[int]:
    sizes: list[int] = []
    position: Position | None = None
    async with database.as_organization(pool, ORG) as connection:
        while position is not None or not sizes:
            page = await results_queries.list_page(connection, ORG, filter_, position, limit)
            sizes.append(len(page.rows))
            position = page.next
    return sizes


async def ingest_runs(store: Store, count: int, results: int) -> None:
    await store.ingest(*(
        run_event(
            f"run_{number}",
            [result(f"case {case}", "passed") for case in range(results)],
            completed_at=f"2026-05-01T00:{number:02}:00Z",
        )
        for number in range(count)
    ))  # fmt: skip


async def test_pages_of_several_runs_are_full(store: Store, api_pool: asyncpg.Pool) -> None:
    await ingest_runs(store, 4, 3)
    for limit, expected in ((2, [2] * 6), (4, [4] * 3), (5, [5, 5, 2]), (12, [12]), (13, [12])):
        for filter_ in (ResultFilter(project_id="shop"), ResultFilter()):
            assert await page_sizes(api_pool, filter_, limit) == expected, (limit, filter_)


async def test_one_page_passes_many_runs_whose_results_have_expired(store: Store, api_pool: asyncpg.Pool) -> None:
    await ingest_runs(store, 6, 3)
    await store.pool.execute("DELETE FROM results WHERE run_key <> (SELECT run_key FROM runs WHERE run_id = 'run_0')")
    await store.pool.execute("UPDATE runs SET results_expired = true WHERE run_id <> 'run_0'")
    for filter_ in (ResultFilter(project_id="shop"), ResultFilter()):
        assert await page_sizes(api_pool, filter_, 2) == [2, 1], filter_
