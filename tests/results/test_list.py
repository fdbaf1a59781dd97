"""The list of results equals a model that filters row by row, for every filter and combination and any page size."""

import itertools
import random
from collections import Counter
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.domain.filters import ResultFilter
from service.domain.ids import CaseKey, Fingerprint, case_key, result_id
from service.failures.fingerprints import fingerprint
from service.results.queries import BUDGETS, Budgets
from tests.database.filled import (
    BRANCHES,
    CASE_IDS,
    ENVIRONMENTS,
    PROJECTS,
    SUITES,
    StoredResult,
    distrust_runs,
    fill,
    list_all_ids,
    random_event,
    read_rows,
)
from tests.stored import Store


@pytest.fixture
async def filled(store: Store) -> Store:
    await fill(store)
    await distrust_runs(store)
    return store


def ms(day: int, hour: int = 0) -> int:
    return int(datetime(2026, 5, day, hour, tzinfo=UTC).timestamp() * 1000)


def matching_ids(rows: list[StoredResult], filter_: ResultFilter) -> list[str]:
    matching = [row for row in rows if row.matches(filter_)]
    if filter_.sort:
        matching.sort(key=lambda row: (SORT_KEYS[filter_.sort or ""](row), row.key[1]))
    return [result_id(*row.key) for row in matching]


CASE_KEYS: list[CaseKey] = [
    case_key("shop", "tc_1", "", "", 0),
    case_key("blog", None, "auth", "Case 1%", 0),
    CaseKey(5),
]
FINGERPRINTS = [fingerprint(project, suite, None, None, None) for project in PROJECTS[:2] for suite in ("auth", "")]
VALUES: dict[str, list[Any]] = {
    "statuses": [("f",), ("p",), ("e", "f"), ("f", "p"), ("c", "e", "f", "s"), ("s",)],
    "from_ms": [ms(2), ms(3, 1)],
    "to_ms": [ms(3), ms(2, 2)],
    "project_id": [*PROJECTS, "none"],
    "environment": [name for name in ENVIRONMENTS if name] + ["none"],
    "branch": [name for name in BRANCHES if name],
    "run_id": ["run_1", "run_7", "run_33", "none"],
    "flaky": [True, False],
    "commit_sha": ["c0ffee1", "c0ffee17", "beef" * 10, "c0ffee2"],
    "pull_request": ["7"],
    "pipeline": ["github-1", "none"],
    "author": ["ada"],
    "labels": [('{"team":"web"}',), ('{"team":"web"}', '{"tier":"q\\"\\\\"}'), ('{"team":"none"}',)],
    "min_duration_ms": [0, 6],
    "fingerprint": [*FINGERPRINTS, Fingerprint(5)],
    "case_key": CASE_KEYS,
    "case_id": [*CASE_IDS, "none"],
    "trusted": ["false", "any"],
    "owner": ["web", "core", "none"],
}
SORT_KEYS: dict[str, Any] = {
    "-duration_ms": lambda row: -row.duration_ms,
    "suite": lambda row: [text.encode() for text in (row.file or "", row.suite, row.name)],
}
WITH_RUN: dict[str, list[Any]] = {
    "suite": SUITES,
    "variants": [('{"os":"linux"}',), ('{"os":"linux"}', '{"os":"macos"}')],
    "sort": [*SORT_KEYS],
    "words": [("GRÖSSE",), ("gröẞe_",), ("größe_", "CASE"), ("case", "1"), ("%",), ("_",), ("a", "e", "case"), ("e%",)],
}
DECLARED = {field.name for field in fields(ResultFilter)} - {"states"}  # only of cases
SMALL = st.builds(Budgets, runs=st.integers(1, 6), rows=st.integers(1, 8))


@st.composite
def filters(draw: st.DrawFn) -> ResultFilter:
    chosen = {name: draw(st.sampled_from(values)) for name, values in VALUES.items() if draw(st.integers(0, 2)) == 0}
    if "run_id" in chosen and draw(st.booleans()):
        chosen |= {name: draw(st.sampled_from(values)) for name, values in WITH_RUN.items() if draw(st.booleans())}
    return ResultFilter(**chosen)


def test_every_declared_filter_is_tested() -> None:
    assert VALUES.keys() | WITH_RUN.keys() == DECLARED


async def test_filters_of_cases_return_the_rows_that_match(filled: Store, api_pool: asyncpg.Pool) -> None:
    rows = await read_rows(filled.pool)
    largest, _ = Counter(row.run_id for row in rows if row.trusted).most_common(1)[0]
    found = 0
    for values in itertools.product(*([None, *values] for values in WITH_RUN.values())):
        chosen = {name: value for name, value in zip(WITH_RUN, values, strict=True) if value is not None}
        for statuses in ((), ("f", "e")):
            filter_ = ResultFilter(run_id=largest, statuses=statuses, **chosen)
            expected = matching_ids(rows, filter_)
            assert await list_all_ids(api_pool, filter_, 1000, BUDGETS) == expected, filter_
            found += bool(expected)
    assert found > 20


async def test_combinations_of_filters_return_the_rows_that_match(filled: Store, api_pool: asyncpg.Pool) -> None:
    rows = await read_rows(filled.pool)
    assert len({row.status for row in rows}) == 5
    rng = random.Random(1)
    found = 0
    combinations = [names for size in range(3) for names in itertools.combinations(VALUES, size)]
    larger = [rng.sample([*VALUES], rng.randint(3, len(VALUES))) for _ in range(400)]
    for names in (*combinations, *larger):
        filter_ = ResultFilter(**{name: rng.choice(VALUES[name]) for name in names})
        expected = matching_ids(rows, filter_)
        assert await list_all_ids(api_pool, filter_, 1000, BUDGETS) == expected, filter_
        found += bool(expected)
    assert found > 50


async def test_many_commits_with_the_same_digits_are_found(
    filled: Store, api_pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.runs.candidates._MAX_COMMITS", 1)
    rows = await read_rows(filled.pool)
    for filter_ in (ResultFilter(commit_sha="c0ffee1"), ResultFilter(commit_sha="c0ffee1", project_id="shop")):
        expected = matching_ids(rows, filter_)
        assert expected
        assert await list_all_ids(api_pool, filter_, 3, Budgets(5, 8)) == expected


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(filter_=filters(), limit=st.integers(1, 7), budgets=SMALL)
async def test_pages_contain_every_row_once_with_any_limit_and_budget(
    filled: Store, api_pool: asyncpg.Pool, filter_: ResultFilter, limit: int, budgets: Budgets
) -> None:
    assert await list_all_ids(api_pool, filter_, limit, budgets) == matching_ids(await read_rows(filled.pool), filter_)


@pytest.mark.parametrize("sort", SORT_KEYS)
async def test_pages_of_a_sorted_run_contain_every_row_once(filled: Store, api_pool: asyncpg.Pool, sort: str) -> None:
    rows = await read_rows(filled.pool)
    largest, _ = Counter(row.run_id for row in rows if row.trusted).most_common(1)[0]
    for owner in (None, "core"):
        filter_ = ResultFilter(run_id=largest, sort=sort, owner=owner)
        assert await list_all_ids(api_pool, filter_, 2, BUDGETS) == matching_ids(rows, filter_), owner


async def test_page_continues_after_the_first_runs(
    filled: Store, api_pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.results.queries._FIRST_RUNS", 2)
    filter_ = ResultFilter(project_id="shop")
    assert await list_all_ids(api_pool, filter_, 1000, BUDGETS) == matching_ids(await read_rows(filled.pool), filter_)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(filter_=filters(), limit=st.integers(1, 5), budgets=SMALL, seed=st.integers(0, 2**32))
async def test_pages_contain_existing_rows_once_during_inserts(
    filled: Store, api_pool: asyncpg.Pool, filter_: ResultFilter, limit: int, budgets: Budgets, seed: int
) -> None:
    before = matching_ids(await read_rows(filled.pool), filter_)
    rng = random.Random(seed)

    async def insert() -> None:
        await filled.ingest(random_event(rng, f"late_{rng.random()}"))

    visited = await list_all_ids(api_pool, filter_, limit, budgets, [insert] * 3)
    assert len(visited) == len(set(visited))
    assert set(before) <= set(visited)
    assert sorted(visited, reverse=True) == sorted(set(visited), reverse=True)
