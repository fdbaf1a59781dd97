"""The filters of the list of cases, compared with a model, with scan budgets that end a page at any position."""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from service.cases import store as cases_store
from service.cases.model import CaseRow
from service.cases.store import CasePosition, SearchBudgets
from service.database import database
from service.domain.filters import ResultFilter
from service.domain.ids import CaseKey
from service.domain.statuses import STATE_VALUES
from tests.case_states import insert_states, worst_states
from tests.database.filled import ORG, StoredResult, read_rows
from tests.stored import Store

DAY_MS = 86_400_000
MAY_2 = 1_777_680_000_000  # 2026-05-02
WORDS = ((), ("SE 1%",), ("case", "2"), ("größe_2",), ("_",), ("none",))
VARIANTS = ((), ('{"os": "linux"}',))
RUNS: tuple[dict[str, Any], ...] = (
    {}, {"branch": "main"}, {"from_ms": MAY_2}, {"to_ms": MAY_2},
    {"branch": "next", "from_ms": MAY_2, "to_ms": MAY_2 + DAY_MS},
)  # fmt: skip
STATES: tuple[tuple[str, ...], ...] = ((), ("flaky",), ("broken",), ("healthy",), ("broken", "healthy"))
FILTERS = [
    ResultFilter(project_id="shop", words=words, variants=variants, suite=suite, **runs)
    for words, variants, suite, runs in itertools.product(WORDS, VARIANTS, (None, "auth"), RUNS)
]


async def list_all(pool: asyncpg.Pool, filter_: ResultFilter, limit: int, budgets: SearchBudgets) -> list[CaseRow]:
    """Return the cases on all pages of the list."""
    cases: list[CaseRow] = []
    position: CasePosition | None = None
    while True:
        async with database.as_organization(pool, ORG) as connection:
            page = await cases_store.list_page(connection, ORG, filter_, 50, position, limit, budgets)
        assert len(page.rows) <= limit
        cases += page.rows
        if page.next is None:
            return cases
        assert position is None or page.next > position
        position = page.next


def matching(rows: Sequence[StoredResult], filter_: ResultFilter) -> dict[CaseKey, int]:
    """Return the number of matching results of each case. Each case of the store has a result."""
    counts: dict[CaseKey, int] = {}
    for row in rows:
        if row.matches(filter_):
            counts[row.key[1]] = counts.get(row.key[1], 0) + 1
    return counts


@pytest.mark.parametrize("budgets", [SearchBudgets(), SearchBudgets(3, 2), SearchBudgets(1, 1), SearchBudgets(7, 4)])
async def test_pages_contain_each_matching_case_once(
    filled: Store, api_pool: asyncpg.Pool, budgets: SearchBudgets
) -> None:
    rows = await read_rows(filled.pool)
    found = 0
    for filter_ in FILTERS:
        listed = await list_all(api_pool, filter_, 3, budgets)
        assert {case.case_key: case.runs for case in listed} == matching(rows, filter_), filter_
        assert len({case.case_key for case in listed}) == len(listed)
        found += len(listed)
    assert found > 100


@pytest.mark.parametrize(
    "budgets",
    [
        SearchBudgets(3, 2),
        *(pytest.param(each, marks=pytest.mark.slow) for each in (SearchBudgets(), SearchBudgets(1, 1))),
    ],
)
async def test_pages_contain_each_case_in_the_states_once(
    filled: Store, api_pool: asyncpg.Pool, budgets: SearchBudgets
) -> None:
    """A third of the cases are flaky, and a third are broken, of which some are flaky in another environment."""
    await insert_states(filled.pool, "flaky", "linux", "c.case_key % 3 = 0")
    await insert_states(filled.pool, "flaky", "", "c.case_key % 6 = 1")
    await insert_states(filled.pool, "broken", "mac", "abs(c.case_key % 3) = 1")
    state_of = await worst_states(filled.pool)
    rows = await read_rows(filled.pool)
    listed_states = Counter[str]()
    for filter_ in FILTERS:
        expected = matching(rows, filter_).keys()
        for states in STATES:
            listed = await list_all(api_pool, replace(filter_, states=states), 3, budgets)
            in_states = {key for key in expected if not states or state_of.get(key, "healthy") in states}
            assert sorted(case.case_key for case in listed) == sorted(in_states), (filter_, states)
            listed_states.update(state_of.get(case.case_key, "healthy") for case in listed if states)
    assert min(listed_states[value] for value in STATE_VALUES) > 20


@pytest.mark.parametrize("looked_up", [1, cases_store.MAX_LOOKED_UP])
async def test_pages_contain_each_case_of_the_owner_once(
    filled: Store, api_pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch, looked_up: int
) -> None:
    """The cases of an owner are looked up. If there are too many, each case within the budget is compared."""
    monkeypatch.setattr(cases_store, "MAX_LOOKED_UP", looked_up)
    await insert_states(filled.pool, "flaky", "linux", "c.case_key % 3 = 0")
    state_of = await worst_states(filled.pool)
    rows = await read_rows(filled.pool)
    found = Counter[str]()
    for filter_, owner in itertools.product(FILTERS[::3], ("web", "core", "none")):
        expected = matching(rows, replace(filter_, owner=owner)).keys()
        for states in ((), ("flaky",), ("healthy",)):
            listed = await list_all(api_pool, replace(filter_, owner=owner, states=states), 3, SearchBudgets(3, 2))
            in_states = {key for key in expected if not states or state_of.get(key, "healthy") in states}
            assert sorted(case.case_key for case in listed) == sorted(in_states), (filter_, owner, states)
            assert all(owner in case.owners for case in listed)
            found[owner] += len(listed)
    assert (found["web"] > 20, found["core"] > 20, found["none"]) == (True, True, 0)


async def test_cases_without_a_result_are_listed_unless_runs_are_filtered(
    filled: Store, api_pool: asyncpg.Pool
) -> None:
    await filled.pool.execute("DELETE FROM results")
    found = {
        filter_: len(await list_all(api_pool, filter_, 100, SearchBudgets()))
        for filter_ in (
            ResultFilter(project_id="shop", words=("case",)),
            ResultFilter(project_id="shop", branch="main"),
        )
    }
    assert [count > 0 for count in found.values()] == [True, False]
