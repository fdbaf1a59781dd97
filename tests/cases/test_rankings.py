"""Ranked lists of cases equal those of a model that counts result by result, also with small budgets."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final, get_args

import asyncpg
import pytest

from service.cases import store as cases_store
from service.cases.model import RankedCases, RunRanking
from service.cases.store import RankingBudgets
from service.database import database
from service.domain.filters import ResultFilter
from service.domain.ids import case_public_id
from tests.case_states import insert_states, worst_states
from tests.database.filled import ORG, StoredResult, read_rows
from tests.stored import Store

FILTERS: Final[dict[str, Any]] = {
    "branch": "main",
    "suite": "auth",
    "words": ("1", "case"),
    "variants": ('{"os":"linux"}',),
    "owner": "core",
}
EXECUTED: Final = frozenset("pfe")
LARGE: Final = 10**6

Run = tuple[Any, bool]  # the key, and whether the run is complete


async def read_runs(pool: asyncpg.Pool, filter_: ResultFilter) -> list[Run]:
    rows = await pool.fetch(
        "SELECT run_key, complete FROM runs WHERE org_id = $1 AND project_id = $2 AND ($3::text IS NULL OR branch = $3)"
        " ORDER BY run_key DESC",
        *(ORG, filter_.project_id, filter_.branch),
    )
    return [(row["run_key"], row["complete"]) for row in rows]


async def rank(
    pool: asyncpg.Pool, filter_: ResultFilter, ranking: RunRanking, runs: int = 50, limit: int = 100, **budgets: int
) -> RankedCases:
    async with database.as_organization(pool, ORG) as connection:
        return await cases_store.list_ranked(connection, ORG, filter_, ranking, runs, limit, RankingBudgets(**budgets))


def value(row: StoredResult, ranking: RunRanking) -> int:
    """Return the number that a result adds to the rank of its case."""
    if ranking == "duration":
        return max(row.duration_ms, 0) if row.status in EXECUTED else 0
    return int(row.status in ("f", "e")) if ranking == "failures" else int(row.flaky)


def ranked_ids(
    rows: Iterable[StoredResult], runs: Sequence[Any], filter_: ResultFilter, ranking: RunRanking
) -> list[str]:
    """Return the cases with the largest sums in these runs, which are sorted from the newest one."""
    sums: dict[int, int] = defaultdict(int)
    newest: dict[int, int] = {}
    for row in rows:
        if row.key[0] in runs and value(row, ranking) and row.matches(filter_):
            sums[row.key[1]] += value(row, ranking)
            newest[row.key[1]] = min(newest.get(row.key[1], len(runs)), runs.index(row.key[0]))
    return [case_public_id(key) for key in sorted(sums, key=lambda key: (-sums[key], newest[key], key))]  # type: ignore[arg-type]


def ids(page: RankedCases) -> list[str]:
    return [case.id for case in page.cases]


@pytest.mark.parametrize("ranking", get_args(RunRanking))
async def test_ranking_equals_the_model(filled: Store, api_pool: asyncpg.Pool, ranking: RunRanking) -> None:
    await filled.pool.execute("UPDATE runs SET complete = passed > 3")
    rows = await read_rows(filled.pool)
    sizes = set()
    for names in itertools.chain.from_iterable(itertools.combinations(FILTERS, size) for size in (0, 1, 2, 4)):
        filter_ = ResultFilter(project_id="shop", **{name: FILTERS[name] for name in names})
        runs = await read_runs(filled.pool, filter_)
        for count, limit in ((200, 100), (3, 100), (8, 2)):
            chosen = [key for key, complete in runs if complete][:1] if ranking == "duration" else [
                key for key, _ in runs[:count]
            ]  # fmt: skip
            page = await rank(api_pool, filter_, ranking, count, limit)
            expected = ranked_ids(rows, chosen, filter_, ranking)[:limit]
            assert (ids(page), page.truncated) == (expected, False), (filter_, count)
            sizes.add(len(expected))
    assert {0, 2} < sizes


@pytest.mark.parametrize("ranking", get_args(RunRanking))
async def test_states_are_compared_before_cases_are_limited(
    filled: Store, api_pool: asyncpg.Pool, ranking: RunRanking
) -> None:
    """A limit of one ranked case suffices for each case, because only cases in the states are ranked."""
    await insert_states(filled.pool, "flaky", "linux", "c.case_key % 2 = 0")
    await insert_states(filled.pool, "broken", "mac", "c.case_key % 4 = 0")
    state_of = await worst_states(filled.pool)
    unfiltered = (await rank(api_pool, ResultFilter(project_id="shop"), ranking)).cases
    found = set()
    for states in (("flaky",), ("broken",), ("healthy",), ("flaky", "healthy"), ("broken", "flaky")):
        expected = [case for case in unfiltered if state_of.get(case.case_key, "healthy") in states]
        page = await rank(api_pool, ResultFilter(project_id="shop", states=states), ranking, limit=1, cases=1)
        assert (list(page.cases), page.truncated) == (expected[:1], False), states
        found |= {state_of.get(case.case_key, "healthy") for case in expected}
    assert len(found) > 1


@pytest.mark.parametrize("hashed", [1, cases_store.MAX_HASHED])
@pytest.mark.parametrize("ranking", get_args(RunRanking))
async def test_owners_are_compared_before_cases_are_limited(
    filled: Store, api_pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch, ranking: RunRanking, hashed: int
) -> None:
    monkeypatch.setattr(cases_store, "MAX_HASHED", hashed)
    unfiltered = (await rank(api_pool, ResultFilter(project_id="shop"), ranking)).cases
    for owner in ("web", "core"):
        expected = [case for case in unfiltered if owner in case.owners]
        assert unfiltered[0] not in expected or len(expected) > 1
        page = await rank(api_pool, ResultFilter(project_id="shop", owner=owner), ranking, limit=2, cases=2)
        assert (list(page.cases), page.truncated) == (expected[:2], False), owner


async def test_statistics_cover_the_ranked_runs(filled: Store, api_pool: asyncpg.Pool) -> None:
    filter_ = ResultFilter(project_id="shop", branch="main")
    rows = await read_rows(filled.pool)
    chosen = [key for key, _ in await read_runs(filled.pool, filter_)][:9]
    cases = (await rank(api_pool, filter_, "failures", 9)).cases
    assert len(cases) > 1
    for case in cases:
        results = [row for row in rows if row.key[0] in chosen and row.key[1] == case.case_key]
        failed = sum(row.status in ("f", "e") for row in results)
        executed = sum(row.status in EXECUTED for row in results)
        counts = (case.runs, case.executed, case.failed, case.flaky)
        assert counts == (len(results), executed, failed, sum(row.flaky for row in results))
        assert case.failure_rate == round(failed / executed, 4)


async def test_ranking_by_duration_shows_the_duration_in_the_newest_complete_run(
    filled: Store, api_pool: asyncpg.Pool
) -> None:
    await filled.pool.execute("UPDATE runs SET complete = passed > 3")
    cases = (await rank(api_pool, ResultFilter(project_id="shop"), "duration")).cases
    durations = [case.mean_duration_ms or 0 for case in cases]
    assert durations == sorted(durations, reverse=True)
    assert {(case.runs, case.last_run_id) for case in cases} == {(1, cases[0].last_run_id)}


@pytest.mark.parametrize("without_results", ["passed = 0, failed = 0, error = 0", "results_expired = true"])
async def test_ranking_by_duration_ignores_a_run_without_executed_results(
    filled: Store, api_pool: asyncpg.Pool, without_results: str
) -> None:
    newest, second = (key for key, _ in (await read_runs(filled.pool, ResultFilter(project_id="shop")))[:2])
    await filled.pool.execute("UPDATE runs SET complete = run_key = ANY ($1)", [newest, second])
    await filled.pool.execute(f"UPDATE runs SET {without_results} WHERE run_key = $1", newest)
    page = await rank(api_pool, ResultFilter(project_id="shop"), "duration")
    rows = await read_rows(filled.pool)
    assert ids(page) == ranked_ids(rows, [second], ResultFilter(project_id="shop"), "duration") != []


async def test_runs_are_ranked_until_the_row_budget_ends(filled: Store, api_pool: asyncpg.Pool) -> None:
    """A run that isn't read completely doesn't count, except for the first one with results."""
    filter_ = ResultFilter(project_id="shop")
    rows = [row for row in await read_rows(filled.pool) if row.status in ("f", "e")]
    runs = [key for key, _ in await read_runs(filled.pool, filter_)]
    found = [sum(row.key[0] == key for row in rows) for key in runs]
    ends_inside = False
    for budget in range(max(found), sum(found) + 1):
        complete = [sum(found[: count + 1]) <= budget for count in range(len(runs))]
        page = await rank(api_pool, filter_, "failures", rows=budget)
        assert ids(page) == ranked_ids(rows, runs[: sum(complete)], filter_, "failures"), budget
        assert page.truncated == (budget < sum(found))
        assert sum(case.failed for case in page.cases) == sum(found[: sum(complete)])
        ends_inside |= 1 < sum(complete) < len(runs)
    assert ends_inside


async def test_large_newest_run_is_ranked_as_far_as_it_was_read(filled: Store, api_pool: asyncpg.Pool) -> None:
    await filled.pool.execute("UPDATE runs SET complete = passed > 3")
    page = await rank(api_pool, ResultFilter(project_id="shop"), "duration", rows=1)
    assert (len(ids(page)) <= 1, page.truncated) == (True, True)
    await filled.pool.execute("DELETE FROM runs WHERE failed < 2")
    page = await rank(api_pool, ResultFilter(project_id="shop"), "failures", rows=1)
    assert (len(ids(page)) > 0, page.truncated) == (True, True)


async def test_filters_compare_a_limited_number_of_cases(filled: Store, api_pool: asyncpg.Pool) -> None:
    every_case = ids(await rank(api_pool, ResultFilter(project_id="shop"), "failures", 200))
    filter_ = ResultFilter(project_id="shop", words=("none",))
    assert (await rank(api_pool, filter_, "failures", 200, cases=len(every_case)))[:2] == ([], False)
    assert (await rank(api_pool, filter_, "failures", 200, cases=len(every_case) - 1))[:2] == ([], True)
    full = await rank(api_pool, ResultFilter(project_id="shop"), "failures", 200, 2, cases=2)
    assert (ids(full), full.truncated) == (every_case[:2], False)


async def test_project_without_a_complete_run_has_no_durations(filled: Store, api_pool: asyncpg.Pool) -> None:
    await filled.pool.execute("UPDATE runs SET complete = false")
    assert (await rank(api_pool, ResultFilter(project_id="shop"), "duration"))[:2] == ([], False)
    assert (await rank(api_pool, ResultFilter(project_id="none"), "failures"))[:2] == ([], False)
