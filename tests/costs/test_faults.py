"""Costs after a kill of a process in a roll-up, with several processes, after a promotion, and next to exports."""

import asyncio
import csv
import io
import random
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from service.costs.roll_up import roll_up_costs
from tests.costs.oracle import stored_costs
from tests.costs.test_roll_up import DAY, OLD, PERIOD, at, check, random_runs, run, until_unlocked
from tests.exporting import exporting
from tests.forks import promote_completely, serving_fork
from tests.run_events import result
from tests.stored import Store

# Rolls up in a process of its own, and reports each step before its transaction is committed.
PROGRAM: Final = """
import asyncio, sys
from datetime import timedelta
from service.costs import roll_up
from service.database.database import open_pool

execute = roll_up.store.execute

async def reporting(*arguments):
    await execute(*arguments)
    print("step", flush=True)
    await asyncio.sleep(float(sys.argv[2]))

async def main():
    roll_up.store.execute = reporting
    await roll_up.roll_up_costs(await open_pool(sys.argv[1], "results_worker", 2), timedelta(days=3653))

asyncio.run(main())
"""


async def start(database_url: str, delay_s: float) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, database_url, str(delay_s), stdout=asyncio.subprocess.PIPE
    )


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 2, 3])
async def test_killed_process_leaves_complete_steps_and_no_lock(store: Store, database_url: str, steps: int) -> None:
    rng = random.Random(steps)
    await store.ingest(*random_runs(rng, DAY), *random_runs(rng, OLD), *random_runs(rng, OLD + timedelta(days=1)))
    process = await start(database_url, 0.2)
    assert process.stdout is not None
    for _ in range(steps):
        assert await process.stdout.readline() == b"step\n"
    process.kill()
    assert await process.wait() != 0
    await until_unlocked(store)
    await roll_up_costs(store.pool, PERIOD)
    await check(store.pool)


@pytest.mark.slow
async def test_processes_roll_up_each_day_once(store: Store, database_url: str) -> None:
    rng = random.Random(7)
    await store.ingest(*(event for days in range(6) for event in random_runs(rng, DAY - timedelta(days=days))))
    processes = [await start(database_url, 0.01) for _ in range(2)]
    outputs = [await process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    days = await store.pool.fetchval("SELECT count(*) FROM cost_days")
    assert sum(output.count(b"step") for output, _ in outputs) >= days
    await roll_up_costs(store.pool, PERIOD)
    await check(store.pool)


async def test_promoted_run_counts_from_its_promotion_on(database_url: str, tmp_path: Path) -> None:
    async with serving_fork(database_url, tmp_path) as fork:
        pool = fork.reports.api.store.pool
        receipt = await fork.upload(completed_at=at(DAY))
        await fork.reports.api.store.ingest(run("trusted", [result("a")]))
        await roll_up_costs(pool, PERIOD)
        untrusted, _ = await stored_costs(pool, "shop")
        assert sum(sums.results for sums in untrusted.values()) == 1
        await promote_completely(fork.reports, [receipt])
        await roll_up_costs(pool, PERIOD)
        promoted, _ = await stored_costs(pool, "shop")
        assert sum(sums.results for sums in promoted.values()) == 3


async def test_sums_equal_those_of_an_export(database_url: str, tmp_path: Path) -> None:
    """An export contains the duration of a result. It is that of all executions if a part reports a case once."""
    async with exporting(database_url, (tmp_path / "files").as_uri()) as exports:
        rng = random.Random(11)
        events: list[Any] = []
        for number in range(12):
            statuses = ["passed", "failed", "error", "skipped", "canceled"]
            results = [
                result(f"c{case}", rng.choice(statuses), duration_ms=rng.choice([None, 0, 7])) for case in range(5)
            ]
            events.append(run(f"r{number}", results, DAY - timedelta(days=number % 3)))
        await exports.api.store.ingest(*events)
        await roll_up_costs(exports.api.store.pool, PERIOD)
        text = (await exports.content(await exports.run("csv", filter={"project_id": "shop"}))).decode()
        durations: Counter[str] = Counter()
        results_of: Counter[str] = Counter()
        attempts: Counter[str] = Counter()
        for row in csv.DictReader(io.StringIO(text)):
            durations[row["case"]] += int(row["duration_ms"] or 0)
            results_of[row["case"]] += 1
            attempts[row["case"]] += int(row["attempts"]) if row["status"] != "skipped" else 0
        costs = await exports.api.get("/v1/costs", {"project_id": "shop"})
        assert len(costs["data"]) == len(results_of) == 5
        for item in costs["data"]:
            found = item["duration_ms"], item["results"], item["attempts"]
            assert found == tuple(counter[item["group"]] for counter in (durations, results_of, attempts))
