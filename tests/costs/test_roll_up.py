"""Rolled-up costs equal sums over the stored results, after changes, interruptions, merges, and concurrent roll-ups."""

import asyncio
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import asyncpg
import pytest

from service.costs import store as costs_store
from service.costs.model import CostSums
from service.costs.roll_up import roll_up_costs
from service.database.transactions import notifying_transaction
from service.domain.ids import OrgId
from service.retention.deletion import delete_requested_projects, delete_run
from tests.costs.oracle import Totals, add, expected_costs, stored_costs
from tests.run_events import result, run_event
from tests.stored import Store

PERIOD: Final = timedelta(days=3653)
TODAY: Final = datetime.now(UTC).date()
DAY: Final = TODAY - timedelta(days=3)
OLD: Final = (TODAY.replace(day=1) - timedelta(days=70)).replace(day=10)


def at(day: date, hour: int = 12) -> str:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC).isoformat()


def run(run_id: str, results: list[Any], day: date = DAY, **fields: Any) -> Any:
    return run_event(run_id, results, **{"time": at(day), "completed_at": at(day)} | fields)


def attempt(status: str, duration_ms: int | None = None) -> dict[str, Any]:
    return {"status": status, **({} if duration_ms is None else {"duration_ms": duration_ms})}


def random_result(name: str, rng: random.Random) -> dict[str, Any]:
    status = rng.choice(["passed", "passed", "failed", "error", "skipped", "canceled"])
    listed = [
        attempt(rng.choice(["failed", "passed"]), rng.choice([None, 5, 7])) for _ in range(rng.choice([0, 0, 1, 2]))
    ]
    found = result(name, status, duration_ms=rng.choice([None, 0, 4, 30]))
    if listed:
        found["attempts"] = [*listed, attempt(status, rng.choice([None, 6]))]
    elif rng.random() < 0.2:
        found["retries"] = 2
    return found


def random_runs(rng: random.Random, day: date) -> Iterator[Any]:
    for number in range(8):
        names = rng.sample([f"c{case}" for case in range(6)], 4)
        events = rng.choice([1, 1, 3])
        for event in range(events):
            part = {"part": rng.choice(["unit", "e2e"]), "attempt": event + 1} if events > 1 else {}
            results = [random_result(name, rng) for name in names]
            yield run(
                f"{day} {number}",
                results,
                day,
                project_id=rng.choice(["shop", "blog"]) if events == 1 else "shop",
                **part,
            )
    yield run(f"{day} empty", [], day)


def merge(totals: Totals, months: set[date]) -> Totals:
    """Add up the days of each month that is merged."""
    merged: Totals = {}
    for (day, key), sums in totals.items():
        month = day.replace(day=1)
        add(merged, (month if month in months else day, key), **sums._asdict())
    return merged


async def check(pool: asyncpg.Pool, *projects: str) -> None:
    for project_id in projects or ("shop", "blog"):
        merged = await pool.fetch("SELECT start FROM cost_days WHERE is_month AND project_id = $1", project_id)
        months = {row["start"] for row in merged}
        for stored, expected in zip(
            await stored_costs(pool, project_id), await expected_costs(pool, project_id), strict=True
        ):
            assert stored == merge(expected, months), project_id
    sums = ", ".join(f"sum({name})::bigint" for name in CostSums._fields)
    for table in ("cost_days", "case_costs", "job_costs"):
        query = f"SELECT start, {sums} FROM {table} WHERE project_id = 'shop' GROUP BY start"
        rows = {tuple(row) for row in await pool.fetch(query)}
        assert {row for row in rows if any(row[1:])} == {
            tuple(row)
            for row in await pool.fetch(f"SELECT start, {sums} FROM cost_days WHERE project_id = 'shop' GROUP BY start")
            if any(row[1:])
        }


@pytest.mark.parametrize("seed", range(3))
async def test_sums_equal_those_of_the_stored_results(store: Store, seed: int) -> None:
    rng = random.Random(seed)
    days = [DAY, DAY + timedelta(days=1), DAY - timedelta(days=200)]
    events = [event for day in days for event in random_runs(rng, day)]
    rng.shuffle(events)
    await store.ingest_each(*events[::2])
    await roll_up_costs(store.pool, PERIOD)
    await check(store.pool)
    await store.ingest(*events[1::2])  # late runs and parts, of which some are of days that are rolled up
    await roll_up_costs(store.pool, PERIOD)
    await check(store.pool)
    cases, jobs = await stored_costs(store.pool, "shop")
    assert {job for _, job in jobs} >= {"", "unit", "e2e"}
    for name in CostSums._fields:
        assert any(getattr(sums, name) for sums in cases.values()), name


async def remove(store: Store, run_id: str) -> None:
    async with store.pool.acquire() as connection, notifying_transaction(connection):
        await delete_run(connection, OrgId(1), run_id, None)


async def changes(pool: asyncpg.Pool) -> int:
    return int(await pool.fetchval("SELECT count(*) FROM cost_changes"))


async def test_changed_days_are_rolled_up_again(store: Store) -> None:
    rng = random.Random(9)
    await store.ingest(*random_runs(rng, DAY), *random_runs(rng, OLD))
    await roll_up_costs(store.pool, PERIOD)
    before = await stored_costs(store.pool, "shop")
    corrected = run(f"{DAY} 0", [result("c0", "failed", duration_ms=999)], time=at(TODAY), project_id="shop")
    corrected["data"]["run"]["project_id"] = (await store.run(f"{DAY} 0") or {})["project_id"]
    await store.ingest(corrected, run("late", [result("late", duration_ms=7)]), run("late month", [result("x")], OLD))
    await remove(store, f"{OLD} 1")
    assert await changes(store.pool)
    await roll_up_costs(store.pool, PERIOD)
    await check(store.pool)
    assert await changes(store.pool) == 0
    assert await stored_costs(store.pool, "shop") != before
    assert await store.pool.fetchval("SELECT bool_and(is_month) FROM cost_days WHERE start < $1", OLD)


async def test_job_reruns_count_each_execution_once(store: Store) -> None:
    """A case fails in the first attempt of its job, passes in the second one, and another job also executes it."""
    failed = result("a", "failed", duration_ms=100)
    await store.ingest(
        run("r", [failed, result("b", "skipped", duration_ms=None)], part="unit", attempt=1),
        run("r", [result("a", duration_ms=30), result("b", duration_ms=None)], part="unit", attempt=2),
    )
    await store.ingest(run("r", [result("a", duration_ms=5)], part="e2e"))
    await roll_up_costs(store.pool, PERIOD)
    rows = await store.pool.fetch(
        "SELECT c.name, passed, failed, s.flaky, attempts, unknown_durations, duration_ms, retry_ms FROM case_costs s"
        " JOIN cases c USING (org_id, case_key) ORDER BY 1"
    )
    assert [tuple(row) for row in rows] == [("a", 1, 0, 1, 3, 0, 135, 100), ("b", 1, 0, 0, 1, 1, 0, 0)]
    rows = await store.pool.fetch("SELECT job, passed, attempts, duration_ms, retry_ms FROM job_costs ORDER BY 1")
    assert [tuple(row) for row in rows] == [("e2e", 0, 1, 5, 0), ("unit", 2, 3, 130, 100)]


async def test_retries_of_one_result_are_counted(store: Store) -> None:
    """Some producers state the sum of the attempts as the duration of a result, and others that of the last one."""
    attempts = [attempt("failed", 20), attempt("failed", 10), attempt("passed", 30)]
    unlisted = result("counted", "failed", duration_ms=50, retries=2)
    results = [
        result("last", duration_ms=30, attempts=attempts),
        result("sum", duration_ms=60, attempts=attempts),
        unlisted,
    ]
    await store.ingest(run("r", results))
    await roll_up_costs(store.pool, PERIOD)
    rows = await store.pool.fetch(
        "SELECT c.name, attempts, unknown_durations, duration_ms, retry_ms FROM case_costs"
        " JOIN cases c USING (org_id, case_key) ORDER BY 1"
    )
    assert [tuple(row) for row in rows] == [("counted", 3, 2, 50, 0), ("last", 3, 0, 60, 30), ("sum", 3, 0, 60, 30)]


async def test_runs_of_an_earlier_version_are_rolled_up_without_marks(store: Store) -> None:
    """A month is merged only after all of its days: the days after a merged month are the next ones."""
    rng = random.Random(6)
    await store.ingest(*(event for days in range(4) for event in random_runs(rng, OLD + timedelta(days=days))))
    await store.pool.execute("DELETE FROM cost_changes")
    await roll_up_costs(store.pool, PERIOD)
    await check(store.pool)


async def test_live_ingest_marks_nothing(store: Store) -> None:
    await store.ingest(run("now", [result()], TODAY, time=datetime.now(UTC).isoformat(), completed_at=None))
    assert await changes(store.pool) == 0
    await store.ingest(run("late", [result()]))
    assert await changes(store.pool) == 1
    await roll_up_costs(store.pool, PERIOD)
    assert [row[0] for row in await store.pool.fetch("SELECT start FROM cost_days")] == [DAY]  # today isn't closed


async def test_untrusted_runs_count_only_after_their_promotion(store: Store) -> None:
    await store.ingest(run("r", [result("a")]), run("other", [result("a")]))
    await store.pool.execute("UPDATE runs SET trusted = false WHERE run_id = 'other'")
    await roll_up_costs(store.pool, PERIOD)
    await check(store.pool)
    assert await store.pool.fetchval("SELECT sum(passed)::int FROM case_costs") == 1


async def test_expired_results_keep_their_costs(store: Store) -> None:
    await store.ingest(run("kept", [result("a")]), run("pinned", [result("a")]))
    await roll_up_costs(store.pool, PERIOD)
    before = await stored_costs(store.pool, "shop")
    await store.pool.execute("UPDATE runs SET results_expired = run_id = 'kept'")
    await store.pool.execute("DELETE FROM results WHERE run_key = (SELECT run_key FROM runs WHERE run_id = 'kept')")
    await remove(store, "pinned")
    assert await changes(store.pool) == 1
    await remove(store, "kept")
    assert await changes(store.pool) == 1  # its results had expired
    await store.ingest(run("expired", []))
    await store.pool.execute("UPDATE runs SET results_expired = true")
    await roll_up_costs(store.pool, PERIOD)
    assert (await stored_costs(store.pool, "shop"), await changes(store.pool)) == (before, 0)
    async with store.pool.acquire() as connection:
        await costs_store.mark_changed(
            connection, [(OrgId(1), "shop", int(datetime.fromisoformat(at(DAY)).timestamp() * 1000))]
        )
    await store.pool.execute("DELETE FROM runs")
    await roll_up_costs(store.pool, timedelta(0))  # the period is over, and the runs are gone as well
    assert await stored_costs(store.pool, "shop") == before or DAY.month == TODAY.month


async def test_concurrent_roll_ups_count_each_day_once(store: Store) -> None:
    rng = random.Random(2)
    await store.ingest(*(event for days in range(3, 9) for event in random_runs(rng, TODAY - timedelta(days=days))))
    await asyncio.gather(*(roll_up_costs(store.pool, PERIOD) for _ in range(3)))
    await roll_up_costs(store.pool, PERIOD)
    await check(store.pool)


async def until_unlocked(store: Store) -> None:
    """Wait until the server has noticed the end of a connection and released its advisory locks."""
    locks = (
        "SELECT count(*) FROM pg_locks JOIN pg_database ON oid = database"
        " WHERE locktype = 'advisory' AND datname = current_database()"
    )
    async with asyncio.timeout(20):
        while await store.pool.fetchval(locks):  # noqa: ASYNC110 - the server sets no event
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("steps", range(4))
async def test_interrupted_roll_up_continues(store: Store, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """The connection is terminated in a step, as by a crash of the process, after `steps` complete ones."""
    rng = random.Random(steps)
    await store.ingest(*random_runs(rng, DAY), *random_runs(rng, OLD), *random_runs(rng, OLD + timedelta(days=1)))
    executed = 0
    execute = costs_store.execute

    async def crash(connection: Any, *arguments: Any) -> None:
        nonlocal executed
        await execute(connection, *arguments)
        executed += 1
        if executed > steps:
            connection.terminate()

    with monkeypatch.context() as patched:
        patched.setattr(costs_store, "execute", crash)
        with pytest.raises((asyncpg.InterfaceError, asyncpg.PostgresConnectionError)):
            await roll_up_costs(store.pool, PERIOD)
    await until_unlocked(store)
    await roll_up_costs(store.pool, PERIOD)
    await check(store.pool)


async def test_change_during_a_roll_up_is_rolled_up_later(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.ingest(run("r", [result("a", duration_ms=5)]))
    execute = costs_store.execute

    async def change(*arguments: Any) -> None:
        await execute(*arguments)
        if not await store.run("late"):
            await store.ingest(run("late", [result("a", duration_ms=7)]))  # waits for no lock of the roll-up

    monkeypatch.setattr(costs_store, "execute", change)
    await asyncio.wait_for(roll_up_costs(store.pool, PERIOD), 20)
    await roll_up_costs(store.pool, PERIOD)
    await check(store.pool)
    assert await store.pool.fetchval("SELECT duration_ms FROM case_costs") == 12


async def test_deletion_of_a_project_deletes_its_costs(store: Store) -> None:
    rng = random.Random(4)
    await store.ingest(*random_runs(rng, DAY), *random_runs(rng, OLD))
    await roll_up_costs(store.pool, PERIOD)
    await store.pool.execute("UPDATE projects SET deletion_requested_at = now() WHERE project_id = 'shop'")
    await delete_requested_projects(store.pool)
    await roll_up_costs(store.pool, PERIOD)
    for table in ("cost_days", "case_costs", "job_costs"):
        projects = {row[0] for row in await store.pool.fetch(f"SELECT project_id FROM {table}")}
        assert projects == {"blog"}
    assert await changes(store.pool) == 0
