"""Statistics about runs equal those of a model that adds up run by run."""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any, get_args

import asyncpg
import pytest

from service.database import database
from service.domain.filters import RunFilter
from service.domain.timestamps import from_ms, to_ms
from service.stats import store as stats_store
from service.stats.contract import write_bucket
from service.stats.model import Interval, RunGrouping, bucket_start
from service.stats.store import StatsPage
from tests.database.filled import ORG, distrust_runs
from tests.results.test_list import ms
from tests.stored import Store

FILTERS = (
    RunFilter(),
    RunFilter(project_id="shop"),
    RunFilter(from_ms=ms(2), to_ms=ms(4)),
    RunFilter(project_id="blog", from_ms=ms(3) + 1),
    RunFilter(project_id="none"),
)
COUNTS = ("passed", "failed", "error", "skipped", "canceled", "flaky")
READ = f"""SELECT project_id, branch, environment, status::text, duration_ms, completed_at,
       trusted IS NOT FALSE AS trusted, {", ".join(COUNTS)}
FROM runs WHERE org_id = $1 ORDER BY run_key DESC"""


@pytest.fixture
async def runs(filled: Store) -> Sequence[asyncpg.Record]:
    """Give the runs durations and one of 26 branches, some of them more often."""
    rng = random.Random(11)
    for row in await filled.pool.fetch("SELECT run_id FROM runs WHERE org_id = $1", ORG):
        duration_ms = rng.choice([None, *range(7)])
        branch = rng.choice([None, "main", *(f"branch {number}" for number in range(24))])
        await filled.pool.execute(
            "UPDATE runs SET duration_ms = $3, branch = $4 WHERE org_id = $1 AND run_id = $2",
            *(ORG, row["run_id"], duration_ms, branch),
        )
    return await filled.pool.fetch(READ, ORG)


async def find(
    pool: asyncpg.Pool, filter_: RunFilter, interval: Interval, group_by: RunGrouping | None, max_runs: int = 20_000
) -> StatsPage:
    async with database.as_organization(pool, ORG) as connection:
        return await stats_store.find(connection, ORG, filter_, interval, group_by, max_runs)


def expected(runs: Sequence[Any], interval: Interval, group_by: RunGrouping | None) -> list[Any]:
    """Return the buckets of these runs."""
    sizes = Counter((run[group_by] or "") if group_by else None for run in runs)
    largest = sorted(sizes, key=lambda name: (-sizes[name], name))
    named = largest if len(largest) <= 20 else largest[:19]
    buckets: dict[tuple[int, str | None], list[Any]] = {}
    for run in runs:
        name = (run[group_by] or "") if group_by else None
        key = (bucket_start(to_ms(run["completed_at"]), interval), name if name in named else None)
        buckets.setdefault(key, []).append(run)
    ordered = sorted(buckets, key=lambda key: (key[0], key[1] is None, key[1] or ""))
    return [bucket(key, buckets[key]) for key in ordered]


def bucket(key: tuple[int, str | None], runs: Sequence[Any]) -> dict[str, Any]:
    counts = {name: sum(run[name] for run in runs) for name in COUNTS}
    executed = counts["passed"] + counts["failed"] + counts["error"]
    durations = sorted(run["duration_ms"] for run in runs if run["duration_ms"] is not None)
    return {
        "start": from_ms(key[0]).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "group": key[1],
        "runs": len(runs),
        "failed_runs": sum(run["status"] in ("f", "e") for run in runs),
        **counts,
        "pass_rate": counts["passed"] / executed if executed else None,
        "duration_p50_ms": percentile(durations, 50),
        "duration_p95_ms": percentile(durations, 95),
    }


def percentile(ordered: Sequence[int], percent: int) -> int | None:
    """Return the first value that at least this share of the values doesn't exceed."""
    return ordered[-(-len(ordered) * percent // 100) - 1] if ordered else None


def matches(run: Any, filter_: RunFilter) -> bool:
    completed = to_ms(run["completed_at"])
    return (
        filter_.project_id in (None, run["project_id"])
        and (filter_.from_ms or 0) <= completed
        and (filter_.to_ms is None or completed < filter_.to_ms)
    )


async def test_buckets_equal_the_model(runs: Sequence[Any], api_pool: asyncpg.Pool) -> None:
    for filter_ in FILTERS:
        matching = [run for run in runs if matches(run, filter_)]
        for interval in get_args(Interval):
            for group_by in (None, *get_args(RunGrouping)):
                page = await find(api_pool, filter_, interval, group_by)
                found = list(map(write_bucket, page.buckets))
                assert found == expected(matching, interval, group_by), (filter_, interval, group_by)
                assert page.read_from_ms is None
    assert len({run["branch"] for run in runs}) > 20
    weeks = expected(runs, "week", "branch")
    assert {week["start"][:10] for week in weeks} == {"2026-04-27", "2026-05-04"}
    assert any(week["group"] is None for week in weeks)


@pytest.mark.parametrize("names", [20, 21])
async def test_names_with_the_fewest_runs_are_one_group(names: int, filled: Store, api_pool: asyncpg.Pool) -> None:
    rows = await filled.pool.fetch("SELECT run_key FROM runs WHERE org_id = $1 ORDER BY run_key", ORG)
    assert len(rows) > 2 * names
    for number, row in enumerate(rows):
        branch = f"branch {number % names if number < 2 * names else 0}"
        await filled.pool.execute("UPDATE runs SET branch = $2 WHERE run_key = $1", row["run_key"], branch)
    page = await find(api_pool, RunFilter(), "week", "branch")
    assert list(map(write_bucket, page.buckets)) == expected(await filled.pool.fetch(READ, ORG), "week", "branch")
    assert len({bucket.group for bucket in page.buckets}) == 20


async def test_reading_ends_after_the_newest_trusted_runs(filled: Store, api_pool: asyncpg.Pool) -> None:
    await distrust_runs(filled)
    runs = [run for run in await filled.pool.fetch(READ, ORG) if run["trusted"]]
    assert len(runs) > 20
    for max_runs in (1, 7, len(runs) - 1, len(runs)):
        page = await find(api_pool, RunFilter(), "day", "branch", max_runs)
        assert list(map(write_bucket, page.buckets)) == expected(runs[:max_runs], "day", "branch")
        assert page.read_from_ms == (to_ms(runs[max_runs - 1]["completed_at"]) if max_runs < len(runs) else None)


async def test_bucket_without_executed_results_or_durations_has_no_rates(filled: Store, api_pool: asyncpg.Pool) -> None:
    await filled.pool.execute("UPDATE runs SET passed = 0, failed = 0, error = 0, duration_ms = null")
    for bucket in (await find(api_pool, RunFilter(), "day", None)).buckets:
        assert (bucket.pass_rate, bucket.duration_p50_ms, bucket.duration_p95_ms) == (None, None, None)
