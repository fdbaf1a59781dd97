"""The list of runs against a model, and in small pages with small budgets."""

import itertools

import asyncpg
import orjson

from service.domain.filters import RunFilter
from service.domain.ids import RunKey
from service.store.postgres import database
from service.store.queries import runs as read_runs
from tests.store.filled import ORG
from tests.store.test_list_of_results import VALUES, ms
from tests.stored import Store


async def walk(pool: asyncpg.Pool, wanted: RunFilter, limit: int, budget: int) -> list[str]:
    ids: list[str] = []
    position: RunKey | None = None
    while True:
        async with database.as_organization(pool, ORG) as connection:
            page = await read_runs.list_page(connection, ORG, wanted, position, limit, budget)
        ids += [item["run_id"] for item in orjson.loads(page.data)]
        if page.next is None:
            return ids
        position = page.next


async def test_every_combination_of_filters_finds_what_a_look_at_each_run_finds(
    filled: Store, api_pool: asyncpg.Pool
) -> None:
    runs = await filled.pool.fetch(
        "SELECT run_id, status::text, (extract(epoch FROM completed_at) * 1000)::bigint AS ms, project_id, environment,"
        " branch FROM runs WHERE org_id = $1 ORDER BY run_key DESC",
        ORG,
    )
    values = {name: VALUES[name][0] for name in ("statuses", "project_id", "environment", "branch")}
    values |= {"from_ms": ms(2), "to_ms": ms(4)}
    for size in range(len(values) + 1):
        for names in itertools.combinations(values, size):
            wanted = RunFilter(**{name: values[name] for name in names})
            expected = [run["run_id"] for run in runs if _matches(run, wanted)]
            for limit, budget in ((1000, 2000), (3, 5), (1, 1)):
                assert await walk(api_pool, wanted, limit, budget) == expected, wanted


def _matches(run: asyncpg.Record, wanted: RunFilter) -> bool:
    asked = [(getattr(wanted, name), run[name]) for name in ("project_id", "environment", "branch")]
    return (
        all(want is None or want == have for want, have in asked)
        and (not wanted.statuses or run["status"] in wanted.statuses)
        and (wanted.from_ms is None or run["ms"] >= wanted.from_ms)
        and (wanted.to_ms is None or run["ms"] < wanted.to_ms)
    )
