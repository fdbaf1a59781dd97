"""Bulk exports against `psql \\copy` of the same query to a file, measured before each export in the same run.

    python -m benchmarks.export [--results 5000000]

Budget: csv 1, csv in zstd 1.3, ndjson 0.55, parquet 1 of psql; peak RSS 150 MiB, parquet 250, whatever the size.
"""

import argparse
import asyncio
import time
from pathlib import Path
from typing import Any, Final

import asyncpg

from benchmarks.servers import Servers, consumer_process, cpu_s, peak_rss_mib, servers
from service.contracts.exports import ExportRequest
from service.contracts.stored_exports import StoredExport
from service.domain.ids import OrgId
from service.domain.key_ranges import KeyRange
from service.store.export_readers import plans as export_plans
from service.store.postgres import database
from service.usecases.exports.request_export import request_export
from service.usecases.exports.write_export import TEXT

ORGANIZATION: Final = OrgId(1)
BUDGETS: Final = {  # format and compression: of psql, MiB
    ("csv", "none"): (1.0, 150),
    ("csv", "zstd"): (1.3, 150),
    ("csv", "gzip"): (None, 150),
    ("ndjson", "none"): (0.55, 150),
    ("json", "zstd"): (None, 150),
    ("parquet", "zstd"): (1.0, 250),
}


async def csv_query(url: str) -> str:
    """The query of an export of everything as CSV, on one line as psql wants it."""
    pool = await database.open_pool(url, "results_api", 1)
    spec = StoredExport.of_document(ExportRequest(format="csv").to_document()).to_spec()
    async with database.as_organization(pool, ORGANIZATION) as connection:
        plan = await export_plans.plan_export(connection, ORGANIZATION, spec, TEXT.range_results)
    await database.close_pool(pool)
    return " ".join(plan.query(KeyRange(plan.ranges[-1].first_run, plan.ranges[0].last_run)).split())


def measure_psql(given: Servers, query: str) -> float:
    """Seconds that psql takes, in the role of an export."""
    role = f"SET ROLE results_api; SET app.org_id = {ORGANIZATION}; SET jit = off"
    begun = time.perf_counter()
    given.psql(role, f"\\copy ({query}) TO '{given.folder}/psql.csv' WITH (FORMAT csv, HEADER)")
    return time.perf_counter() - begun


async def ask(url: str, form: str, compression: str) -> str:
    """Queues an export of everything."""
    pool = await database.open_pool(url, "results_worker", 1)
    request = ExportRequest.model_validate({"format": form, "compression": compression})
    async with pool.acquire() as connection:
        job = await request_export(connection, ORGANIZATION, request)
    await database.close_pool(pool)
    return job.export_id


async def until_over(url: str, export_id: str) -> asyncpg.Record:
    """The job, once it is over."""
    connection = await asyncpg.connect(url)
    query = """SELECT *, extract(epoch FROM finished_at - started_at)::float AS seconds
               FROM exports WHERE org_id = $1 AND export_id = $2"""
    row = None
    while row is None or row["finished_at"] is None:
        await asyncio.sleep(0.05)
        row = await connection.fetchrow(query, ORGANIZATION, export_id)
    await connection.close()
    return row


def measure_export(given: Servers, form: str, compression: str) -> tuple[asyncpg.Record, float, float]:
    """The finished job, and its worker's processor seconds and peak memory. Each has a fresh worker."""
    export_id = asyncio.run(ask(given.database_url, form, compression))
    files = Path(given.folder / "files").as_uri()
    with consumer_process(given, "exports", RESULTS_AMQP_URL="", RESULTS_ARTIFACTS_URL=files) as worker:
        job = asyncio.run(until_over(given.database_url, export_id))
        return job, cpu_s(worker), peak_rss_mib(worker)


def report(form: str, compression: str, psql_s: float, job: Any, cpu: float, rss: float) -> None:
    """One line: speed, ratio, size, memory, each with its budget."""
    if job["status"] != "succeeded":
        raise SystemExit(f"{form} {compression}: {job['status']}: {job['error']}")
    ratio, most_mib = BUDGETS[form, compression]
    budget = "" if ratio is None else f" (budget {ratio})"
    print(
        f"{form:8}{compression:6}{job['rows'] / job['seconds']:>12,.0f} rows/s   psql {job['rows'] / psql_s:>10,.0f}"
        f"   ratio {psql_s / job['seconds']:.2f}{budget:15}{job['size'] / 2**20:>8,.0f} MiB"
        f"   CPU {cpu / job['rows'] * 1e6:.2f} us/row   peak RSS {rss:.0f} MiB (budget {most_mib})",
        flush=True,
    )


def main() -> None:
    """Measures and prints every format."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, default=5_000_000)
    chosen = parser.parse_args()
    with servers(with_broker=False) as given:
        given.psql(f"\\set results {chosen.results}", f"\\i {Path(__file__).with_suffix('.sql')}")
        query = asyncio.run(csv_query(given.database_url))
        measure_psql(given, query)
        for form, compression in BUDGETS:
            psql_s = measure_psql(given, query)
            report(form, compression, psql_s, *measure_export(given, form, compression))


if __name__ == "__main__":
    main()
