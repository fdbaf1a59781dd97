"""A page is complete, regardless of the months that the last page of its list needed."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import pytest

from service.domain.filters import START, Position, ResultFilter
from service.domain.ids import OrgId, RunKey, first_run_key
from service.store.postgres import database
from service.store.queries import results as read_results
from service.store.queries.page_ranges import PageRanges, list_id
from tests.run_events import result, run_event
from tests.stored import Store

ORG = OrgId(1)
MONTHS = range(1, 6)
RUNS_PER_MONTH = 2


@pytest.fixture(autouse=True)
def page_ranges(monkeypatch: pytest.MonkeyPatch) -> PageRanges:
    """Return the ranges of the test, because other tests read lists with the same filters."""
    ranges = PageRanges()
    monkeypatch.setattr(read_results, "PAGE_RANGES", ranges)
    return ranges


@pytest.fixture
async def of_months(store: Store) -> Store:
    """Return a store with runs of two results, one of which failed, in five months."""
    for month in MONTHS:
        for day in range(1, RUNS_PER_MONTH + 1):
            results = [result("passes"), result("fails", "failed")]
            completed_at = f"2026-{month:02}-{day:02}T12:00:00Z"
            await store.ingest(run_event(f"run_{month}_{day}", results, completed_at=completed_at, branch=f"b{month}"))
    return store


async def list_runs(connection: Any, filter_: ResultFilter, limit: int, after: Position | None = None) -> list[str]:
    """Return the runs of the results on all pages."""
    page = await read_results.list_page(connection, ORG, filter_, after, limit)
    runs = [item["run_id"] for item in orjson.loads(page.data)]
    return runs if page.next is None else runs + await list_runs(connection, filter_, limit, page.next)


async def first_keys(connection: Any, filter_: ResultFilter, limit: int) -> list[RunKey]:
    """Read the first page, and return the start of the range of each statement that reads a page."""
    queries: list[Any] = []
    with connection.query_logger(queries.append):
        await read_results.list_page(connection, ORG, filter_, None, limit)
        await asyncio.sleep(0)  # the driver calls the logger in the next cycle of the event loop
    pages = [query for query in queries if "examined" in query.query]
    return [RunKey(min(value for value in query.args if isinstance(value, UUID))) for query in pages]


def ms(month: int, day: int) -> int:
    return int(datetime(2026, month, day, tzinfo=UTC).timestamp() * 1000)


def month(number: int) -> RunKey:
    return first_run_key(ms(number, 1))


@pytest.mark.parametrize("statuses", [(), ("f",), ("p",)])
async def test_pages_are_complete_in_any_order(
    of_months: Store, api_pool: asyncpg.Pool, statuses: tuple[str, ...]
) -> None:
    """A later page can need more months than the last one, and a page that was read again can need fewer."""
    expected = [
        f"run_{month}_{day}"
        for month in reversed(MONTHS)
        for day in range(RUNS_PER_MONTH, 0, -1)
        for _ in range(1 if statuses else 2)
    ]
    filter_ = ResultFilter(statuses=statuses)
    async with database.as_organization(api_pool, ORG) as connection:
        for limit in (2, 100, 1, 7, 2, 3, 1000):
            assert await list_runs(connection, filter_, limit) == expected
    async with of_months.pool.acquire() as owner:
        await owner.execute("DELETE FROM results WHERE org_id = 1 AND run_key >= $1", month(4))
        await owner.execute("DELETE FROM result_details WHERE org_id = 1 AND run_key >= $1", month(4))
    async with database.as_organization(api_pool, ORG) as connection:
        page = await read_results.list_page(connection, ORG, filter_, None, 2)
    assert [item["run_id"] for item in orjson.loads(page.data)] == [run for run in expected if run[4] < "4"][:2]


@pytest.mark.usefixtures("of_months")
async def test_a_page_reads_the_months_of_the_last_page(api_pool: asyncpg.Pool) -> None:
    filter_ = ResultFilter(to_ms=ms(5, 4))
    async with database.as_organization(api_pool, ORG) as connection:
        assert await first_keys(connection, filter_, 2) == [RunKey(UUID(int=0))]
        for limit, start in ((2, 4), (4, 4), (6, 3), (9, 1)):  # the result after the fourth one is in another month
            await read_results.list_page(connection, ORG, filter_, None, limit)
            assert await first_keys(connection, filter_, limit) == [month(start)], limit


async def test_results_of_a_run_are_read_from_its_month(of_months: Store, api_pool: asyncpg.Pool) -> None:
    async with database.as_organization(api_pool, ORG) as connection:
        key = await of_months.pool.fetchval("SELECT run_key FROM runs WHERE run_id = 'run_2_1'")
        for filter_ in (ResultFilter(run_id="run_2_1"), ResultFilter(run_id="run_2_1", sort="suite")):
            assert await list_runs(connection, filter_, 1) == ["run_2_1", "run_2_1"]
            assert set(await first_keys(connection, filter_, 1)) == {key}
        after_it = ResultFilter(run_id="run_2_1", from_ms=ms(2, 2))
        assert await list_runs(connection, after_it, 1) == []
        assert await list_runs(connection, ResultFilter(run_id="none"), 1) == []


def test_the_range_is_half_a_page_longer_than_the_last_page(page_ranges: PageRanges) -> None:
    results = list_id(ORG, ResultFilter(branch="main"))
    assert page_ranges.first_key(results, month(6)) is None
    page_ranges.record(results, month(6), month(5))
    assert page_ranges.first_key(results, month(6)) == month(4)
    assert page_ranges.first_key(results, month(5)) == month(3)
    assert page_ranges.first_key(list_id(OrgId(2), ResultFilter(branch="main")), month(6)) is None
    page_ranges.record(results, month(6), None)
    assert page_ranges.first_key(results, month(6)) is None


def test_the_first_page_of_a_list_without_new_results_is_read_from_its_month(page_ranges: PageRanges) -> None:
    results = list_id(ORG, ResultFilter())
    page_ranges.record(results, START.run_key, first_run_key(ms(5, 20)))
    assert page_ranges.first_key(results, START.run_key) == month(5)
    page_ranges.record(results, month(5), month(2))
    assert page_ranges.first_key(results, START.run_key) == month(5)
    page_ranges.record(results, START.run_key, None)
    assert page_ranges.first_key(results, START.run_key) is None
