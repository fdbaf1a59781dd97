"""The list of runs equals a model that filters run by run, also in small pages with small budgets."""

import itertools
import json

import asyncpg

from service.database import database
from service.domain.filters import RunFilter
from service.domain.ids import RunKey
from service.runs import store as runs_store
from tests.database.filled import ORG, distrust_runs
from tests.results.test_list import VALUES, ms
from tests.stored import Store


async def list_all_ids(pool: asyncpg.Pool, filter_: RunFilter, limit: int, budget: int) -> list[str]:
    ids: list[str] = []
    position: RunKey | None = None
    while True:
        async with database.as_organization(pool, ORG) as connection:
            page = await runs_store.list_page(connection, ORG, filter_, position, limit, budget)
        ids += [run.run_id for run in page.rows]
        if page.next is None:
            return ids
        position = page.next


async def test_every_combination_of_filters_returns_the_runs_that_match(filled: Store, api_pool: asyncpg.Pool) -> None:
    await distrust_runs(filled)
    runs = await filled.pool.fetch(
        "SELECT run_id, status::text, (extract(epoch FROM completed_at) * 1000)::bigint AS ms, project_id, environment,"
        " branch, commit_sha, pull_request, pipeline, author, labels::text, flaky > 0 AS flaky,"
        " trusted IS NOT FALSE AS trusted"
        " FROM runs WHERE org_id = $1 ORDER BY run_key DESC",
        ORG,
    )
    names_of_one_value = (
        "statuses",
        "project_id",
        "environment",
        "branch",
        "commit_sha",
        "pull_request",
        "pipeline",
        "author",
        "labels",
    )
    values = {name: VALUES[name][0] for name in names_of_one_value}
    values |= {"from_ms": ms(2), "to_ms": ms(4), "flaky": True, "trusted": "false"}
    for size in (0, 1, 2, len(values)):
        for names in itertools.combinations(values, size):
            filter_ = RunFilter(**{name: values[name] for name in names})
            expected = [run["run_id"] for run in runs if _matches(run, filter_)]
            for limit, budget in ((1000, 2000), (3, 5), (1, 1)):
                assert await list_all_ids(api_pool, filter_, limit, budget) == expected, filter_


def _matches(run: asyncpg.Record, filter_: RunFilter) -> bool:
    pairs = [
        (getattr(filter_, name), run[name])
        for name in ("project_id", "environment", "branch", "pull_request", "pipeline", "author", "flaky")
    ]
    return (
        filter_.is_trusted in (None, run["trusted"])
        and all(expected is None or expected == actual for expected, actual in pairs)
        and (filter_.commit_sha is None or (run["commit_sha"] or "").startswith(filter_.commit_sha))
        and all(json.loads(label).items() <= json.loads(run["labels"]).items() for label in filter_.labels)
        and (not filter_.statuses or run["status"] in filter_.statuses)
        and (filter_.from_ms is None or run["ms"] >= filter_.from_ms)
        and (filter_.to_ms is None or run["ms"] < filter_.to_ms)
    )
