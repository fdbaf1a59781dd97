"""The time of the first and of a repeated request for the plan of a split, and the delay of other requests.

    python -m benchmarks.splits [--items 50000] [--runs 20] [--rounds 30]

Each run of the history has one result of each item. The first request of a pipeline reads the durations, plans, and
stores the plan. The limit of both requests is measured in the same run: the JSON of the request is decoded, and the
JSON of the response encoded; the first request also needs its statement for the durations.

Budget: 100 ms at p99 for a plan of 50,000 items. Other requests of the process wait at most 100 ms longer.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
import asyncpg
import orjson

from benchmarks.attachments import create_organization
from benchmarks.query_load import server_process
from benchmarks.servers import BenchmarkServers, servers
from service.database.database import as_organization, close_pool, open_pool
from service.domain.ids import OrgId
from service.splits import store
from service.splits.contract import SplitIn
from service.splits.store import SplitRef

PORT: Final = 18091
_SQL: Final = Path(__file__).parent / "splits.sql"
_PARTS: Final = 20
_EVERY_S: Final = 0.01  # between the requests whose delay is measured


async def fill(url: str, items: int, runs: int) -> None:
    """Insert the history, one statement after the other."""
    connection = await asyncpg.connect(url, command_timeout=3600)
    for statement in _SQL.read_text().replace("{items}", str(items)).replace("{runs}", str(runs)).split(";\n"):
        await connection.execute(statement)
    await connection.execute("VACUUM (ANALYZE)")
    await connection.close()


def quantiles(times_s: Sequence[float]) -> str:
    """Return the median and the 99th percentile."""
    ordered = sorted(times_s)
    return f"p50 {ordered[len(ordered) // 2] * 1000:.0f} ms, p99 {ordered[int(len(ordered) * 0.99)] * 1000:.0f} ms"


def request_of(items: int) -> dict[str, Any]:
    """Return the body of a request without its pipeline."""
    files = [f"tests/area_{number // 1000}/test_{number}.py" for number in range(1, items + 1)]
    return {"project_id": "shop", "total": _PARTS, "items": files}


async def measure_limits(url: str, body: bytes, response: bytes, rounds: int) -> tuple[list[float], list[float]]:
    """Return the times of the JSON of both, and of the statement, in seconds."""
    pool, split = await open_pool(url, "results_api", 1), SplitIn.model_validate_json(body)
    json_s, statement_s, answer = [], [], orjson.loads(response)
    for _ in range(rounds):
        started = time.perf_counter()
        orjson.loads(body)
        orjson.dumps(answer)
        json_s.append(time.perf_counter() - started)
        started = time.perf_counter()
        async with as_organization(pool, OrgId(1)) as connection:
            ref = SplitRef(OrgId(1), "shop", "unit", "", "")
            durations_ms = await store.find_durations(connection, ref, split, split.items)
        statement_s.append(time.perf_counter() - started)
        if len(durations_ms) != len(split.items):
            raise RuntimeError("items have no duration")
    await close_pool(pool)
    return json_s, statement_s


async def measure_requests(key: str, body: dict[str, Any], rounds: int) -> tuple[list[list[float]], list[float], bytes]:
    """Return the times of first and repeated requests, the times of other requests meanwhile, and a response."""
    times_s: list[list[float]] = [[], []]
    others_s: list[float] = []
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{PORT}", headers=headers) as http:

        async def poll() -> None:
            while True:
                started = time.perf_counter()
                async with http.get("/healthz") as response:
                    await response.read()
                others_s.append(time.perf_counter() - started)
                await asyncio.sleep(_EVERY_S)

        for _ in range(200):
            try:
                await http.get("/healthz")
                break
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)
        polling = asyncio.create_task(poll())
        for number in range(rounds + 1):
            encoded = orjson.dumps(body | {"pipeline": f"github-{number}"})
            for times, expected in zip(times_s, (201, 200), strict=True):
                started = time.perf_counter()
                async with http.put("/v1/splits/unit", data=encoded) as response:
                    answer = await response.read()
                if number:  # the first ones open connections and prepare statements
                    times.append(time.perf_counter() - started)
                if response.status != expected:
                    raise RuntimeError(answer[:500].decode())
        polling.cancel()
    return times_s, others_s, answer


def measure(stack: BenchmarkServers, items: int, runs: int, rounds: int) -> None:
    """Print the times of all requests, and their ratios to the limits."""
    key = asyncio.run(create_organization(stack.database_url))
    asyncio.run(fill(stack.database_url, items, runs))
    body = request_of(items)
    with server_process(stack.database_url, PORT, RESULTS_AMQP_URL=""):
        (first_s, repeated_s), others_s, response = asyncio.run(measure_requests(key, body, rounds))
    json_s, statement_s = asyncio.run(measure_limits(stack.database_url, orjson.dumps(body), response, rounds))
    json_median, statement_median = statistics.median(json_s), statistics.median(statement_s)
    print(f"{items:,} items, {runs} runs with {items:,} results, {rounds} rounds")
    print(f"limit: JSON {quantiles(json_s)}; statement {quantiles(statement_s)}")
    for name, times, limit in (
        ("first", first_s, json_median + statement_median), ("repeated", repeated_s, json_median),
    ):  # fmt: skip
        print(f"{name} request: {quantiles(times)}, {statistics.median(times) / limit:.1f} x its limit")
    print(f"other requests meanwhile: {quantiles(others_s)}, at most {max(others_s) * 1000:.0f} ms")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    with servers(with_broker=False) as stack:
        measure(stack, arguments.items, arguments.runs, arguments.rounds)


if __name__ == "__main__":
    main()
