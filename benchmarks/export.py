"""Measure bulk exports relative to `psql \\copy` of the same query, measured before each export in the same run.

    python -m benchmarks.export [--results 5000000]

Budgets: csv 1, csv with zstd 1.3, ndjson 0.55, and parquet 1 times psql; peak RSS 150 MiB (parquet 250 MiB).
"""

import argparse
import asyncio
import time
from pathlib import Path
from typing import Any, Final

import asyncpg

from benchmarks.servers import BenchmarkServers, consumer_process, cpu_s, peak_rss_mib, servers
from service.database import database
from service.domain.ids import OrgId
from service.exports import readers
from service.exports.contract import ExportRequest, StoredExport
from service.exports.model import KeyRange
from service.exports.operations import request_export
from service.exports.write_export import STRATEGY
from service.identity.keys.model import Caller

ORGANIZATION: Final = OrgId(1)
BUDGETS: Final = {  # (format, compression): (ratio to psql, MiB)
    ("csv", "none"): (1.0, 150),
    ("csv", "zstd"): (1.3, 150),
    ("csv", "gzip"): (None, 150),
    ("ndjson", "none"): (0.55, 150),
    ("json", "zstd"): (None, 150),
    ("parquet", "zstd"): (1.0, 250),
}


async def csv_query(url: str) -> str:
    """Return the query of a CSV export of all results on one line, as psql requires."""
    pool = await database.open_pool(url, "results_api", 1)
    spec = StoredExport.of_document(ExportRequest(format="csv").to_document()).to_spec()
    async with database.as_organization(pool, ORGANIZATION) as connection:
        plan = await readers.plan_export(connection, ORGANIZATION, spec, STRATEGY.range_results)
    await database.close_pool(pool)
    return " ".join(plan.query(KeyRange(plan.ranges[-1].first_run, plan.ranges[0].last_run)).split())


def measure_psql(stack: BenchmarkServers, query: str) -> float:
    """Return the duration of psql in seconds, with the role of an export."""
    role = f"SET ROLE results_api; SET app.org_id = {ORGANIZATION}; SET jit = off"
    started = time.perf_counter()
    stack.psql(role, f"\\copy ({query}) TO '{stack.folder}/psql.csv' WITH (FORMAT csv, HEADER)")
    return time.perf_counter() - started


async def queue_export(url: str, form: str, compression: str) -> str:
    """Queue an export of all results and return its ID."""
    pool = await database.open_pool(url, "results_worker", 1)
    request = ExportRequest.model_validate({"format": form, "compression": compression})
    async with pool.acquire() as connection:
        job = await request_export(connection, Caller(ORGANIZATION, "key_1", "admin", None), request)
    await database.close_pool(pool)
    return job.export_id


async def wait_until_finished(url: str, export_id: str) -> asyncpg.Record:
    """Wait until the job is finished and return its row."""
    connection = await asyncpg.connect(url)
    query = """SELECT *, extract(epoch FROM finished_at - started_at)::float AS seconds
               FROM exports WHERE org_id = $1 AND export_id = $2"""
    row = None
    while row is None or row["finished_at"] is None:
        await asyncio.sleep(0.05)
        row = await connection.fetchrow(query, ORGANIZATION, export_id)
    await connection.close()
    return row


def measure_export(stack: BenchmarkServers, form: str, compression: str) -> tuple[asyncpg.Record, float, float]:
    """Run an export in a new worker. Return the job, and the worker's CPU seconds and peak memory in MiB."""
    export_id = asyncio.run(queue_export(stack.database_url, form, compression))
    files = Path(stack.folder / "files").as_uri()
    with consumer_process(stack, "exports", RESULTS_AMQP_URL="", RESULTS_ARTIFACTS_URL=files) as worker:
        job = asyncio.run(wait_until_finished(stack.database_url, export_id))
        return job, cpu_s(worker), peak_rss_mib(worker)


def report(form: str, compression: str, psql_s: float, job: Any, cpu: float, rss: float) -> None:
    """Print one line with speed, ratio, size, and memory, with their budgets."""
    if job["status"] != "succeeded":
        raise SystemExit(f"{form} {compression}: {job['status']}: {job['error']}")
    ratio, max_mib = BUDGETS[form, compression]
    budget = "" if ratio is None else f" (budget {ratio})"
    print(
        f"{form:8}{compression:6}{job['rows'] / job['seconds']:>12,.0f} rows/s   psql {job['rows'] / psql_s:>10,.0f}"
        f"   ratio {psql_s / job['seconds']:.2f}{budget:15}{job['size'] / 2**20:>8,.0f} MiB"
        f"   CPU {cpu / job['rows'] * 1e6:.2f} us/row   peak RSS {rss:.0f} MiB (budget {max_mib})",
        flush=True,
    )


def main() -> None:
    """Measure each format and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, default=5_000_000)
    arguments = parser.parse_args()
    with servers(with_broker=False) as stack:
        stack.psql(f"\\set results {arguments.results}", f"\\i {Path(__file__).with_suffix('.sql')}")
        query = asyncio.run(csv_query(stack.database_url))
        measure_psql(stack, query)
        for form, compression in BUDGETS:
            psql_s = measure_psql(stack, query)
            report(form, compression, psql_s, *measure_export(stack, form, compression))


if __name__ == "__main__":
    main()
