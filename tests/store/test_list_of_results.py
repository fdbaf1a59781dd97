"""The list of results against a model that filters row by row: every filter, alone and together, in any pages."""

import itertools
import random
from datetime import UTC, datetime
from typing import Any

import asyncpg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.domain.filters import ResultFilter
from service.domain.ids import CaseKey, case_key, result_id
from service.store.queries.results import BUDGETS, Budgets
from tests.store.filled import BRANCHES, CASE_IDS, ENVIRONMENTS, PROJECTS, SUITES, Row, random_event, read_rows, walk
from tests.stored import Store


def ms(day: int, hour: int = 0) -> int:
    return int(datetime(2026, 5, day, hour, tzinfo=UTC).timestamp() * 1000)


def ids(rows: list[Row], wanted: ResultFilter) -> list[str]:
    return [result_id(*row.key) for row in rows if row.matches(wanted)]


CASE_KEYS: list[CaseKey] = [
    case_key("shop", "tc_1", "", "", 0),
    case_key("blog", None, "auth", "case 1", 0),
    CaseKey(5),
]
VALUES: dict[str, list[Any]] = {
    "statuses": [("f",), ("p",), ("e", "f"), ("f", "p"), ("c", "e", "f", "s"), ("s",)],
    "from_ms": [ms(2), ms(3, 1)],
    "to_ms": [ms(3), ms(2, 2)],
    "project_id": [*PROJECTS, "none"],
    "environment": [name for name in ENVIRONMENTS if name] + ["none"],
    "branch": [name for name in BRANCHES if name],
    "run_id": ["run_1", "run_7", "run_33", "none"],
    "case_key": CASE_KEYS,
    "case_id": [*CASE_IDS, "none"],
}
SMALL = st.builds(Budgets, runs=st.integers(1, 6), rows=st.integers(1, 8))


@st.composite
def filters(draw: st.DrawFn) -> ResultFilter:
    chosen = {name: draw(st.sampled_from(values)) for name, values in VALUES.items() if draw(st.integers(0, 2)) == 0}
    if "run_id" in chosen and draw(st.booleans()):
        chosen["suite"] = draw(st.sampled_from(SUITES))
    return ResultFilter(**chosen)


async def test_every_combination_of_filters_finds_what_a_look_at_each_row_finds(
    filled: Store, api_pool: asyncpg.Pool
) -> None:
    rows = await read_rows(filled.pool)
    assert len({row.status for row in rows}) == 5
    chance = random.Random(1)
    found = 0
    for size in range(len(VALUES) + 1):
        for names in itertools.combinations(VALUES, size):
            wanted = ResultFilter(**{name: chance.choice(VALUES[name]) for name in names})
            expected = ids(rows, wanted)
            assert await walk(api_pool, wanted, 1000, BUDGETS) == expected, wanted
            found += bool(expected)
    assert found > 50


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=filters(), limit=st.integers(1, 7), budgets=SMALL)
async def test_a_walk_visits_every_row_once_with_any_page_and_any_budget(
    filled: Store, api_pool: asyncpg.Pool, wanted: ResultFilter, limit: int, budgets: Budgets
) -> None:
    assert await walk(api_pool, wanted, limit, budgets) == ids(await read_rows(filled.pool), wanted)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=filters(), limit=st.integers(1, 5), budgets=SMALL, seed=st.integers(0, 2**32))
async def test_a_walk_during_inserts_visits_what_was_there_once(
    filled: Store, api_pool: asyncpg.Pool, wanted: ResultFilter, limit: int, budgets: Budgets, seed: int
) -> None:
    before = ids(await read_rows(filled.pool), wanted)
    chance = random.Random(seed)

    async def insert() -> None:
        await filled.take(random_event(chance, f"late_{chance.random()}"))

    met = await walk(api_pool, wanted, limit, budgets, [insert] * 3)
    assert len(met) == len(set(met))
    assert set(before) <= set(met)
    assert sorted(met, reverse=True) == sorted(set(met), reverse=True)
