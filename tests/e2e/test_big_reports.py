"""Large reports in the complete stack: memory of the API, latency of other requests, and a killed worker."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from service.dev.ports import choose_port
from tests.dev.running_stack import RunningStack

pytestmark = pytest.mark.nightly

MIB = 2**20
TIMEOUT_S = 300
CASES = 400_000
OUTPUT = "\n".join(f"2026-05-20 12:00:{second:02} [INFO] shop.cart: adding item" for second in range(9))


@pytest.fixture
def stack(tmp_path: Path, database_url: str, amqp_url: str, queue_prefix: str) -> Iterator[RunningStack]:
    started = RunningStack(
        tmp_path / "stack",
        RESULTS_DATABASE_URL=database_url,
        RESULTS_AMQP_URL=amqp_url,
        RESULTS_QUEUE_PREFIX=queue_prefix,
        RESULTS_HTTP_PORT=str(choose_port()),
    )
    try:
        yield started.await_ready()
    finally:
        started.stop()


@asynccontextmanager
async def client(stack: RunningStack) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"Bearer {stack.ready['api_key']}"}
    async with aiohttp.ClientSession(f"{stack.ready['api_url']}/v1/", headers=headers) as session:
        yield session


def write_report(path: Path, cases: int, output: str = "") -> None:
    """Write suites of 100 cases, one of which fails."""
    with path.open("w") as file:
        file.write("<testsuites>")
        for suite in range(cases // 100):
            file.write(f'<testsuite name="suite {suite}">')
            file.writelines(case_of(suite, case, output) for case in range(100))
            file.write("</testsuite>")
        file.write("</testsuites>")


def case_of(suite: int, case: int, output: str) -> str:
    system_out = f"<system-out>{output}</system-out>" if output else ""
    failure = '<failure message="expected 200 got 503">at line 3</failure>' if case == 0 else ""
    return f'<testcase classname="shop.cart{suite}" name="adds {case}" time="0.125">{failure}{system_out}</testcase>\n'


async def send(session: aiohttp.ClientSession, path: Path, run_id: str) -> Any:
    with path.open("rb") as file:
        response = await session.post(f"runs/{run_id}/report", params={"project_id": "shop"}, data=file)
    assert response.status == 202, await response.text()
    return await response.json()


async def get(session: aiohttp.ClientSession, path: str) -> Any:
    async with session.get(path) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def wait_until_finished(session: aiohttp.ClientSession, receipt: Any) -> Any:
    async with asyncio.timeout(TIMEOUT_S):
        while receipt["status"] in ("queued", "processing"):
            receipt = await get(session, f"receipts/{receipt['id']}?wait=20")
    return receipt


async def test_200_mb_report_uses_little_api_memory_and_does_not_slow_down_other_requests(
    stack: RunningStack, tmp_path: Path
) -> None:
    report = tmp_path / "junit.xml"
    write_report(report, CASES, OUTPUT)
    assert report.stat().st_size > 200e6
    async with client(stack) as session:
        result_id = (await get(session, "results?limit=1"))["data"][0]["id"]
        before = await p99_ms(session, result_id, until_s(5))
        upload = asyncio.create_task(send_and_wait(session, report))
        during = await p99_ms(session, result_id, upload.done)
        receipt = await upload
        run = await get(session, "runs/run_big")
    peak_mib = peak_rss(stack.ready["processes"]["api"][0]) / MIB
    print(
        f"\nget by id, p99: {before:.1f} ms before, {during:.1f} ms during; peak memory of the API: {peak_mib:.0f} MiB"
    )
    assert (receipt["status"], receipt["results"]) == ("stored", CASES)
    assert (run["counts"]["passed"], run["counts"]["failed"], run["complete"]) == (
        CASES - CASES // 100,
        CASES // 100,
        True,
    )
    assert peak_mib < 200


async def send_and_wait(session: aiohttp.ClientSession, report: Path) -> Any:
    return await wait_until_finished(session, await send(session, report, "run_big"))


def until_s(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


async def p99_ms(session: aiohttp.ClientSession, result_id: str, is_over: Callable[[], bool]) -> float:
    """Return the 99th percentile of the duration of sequential requests."""
    durations = []
    while not is_over():
        started = time.perf_counter()
        await get(session, f"results/{result_id}")
        durations.append((time.perf_counter() - started) * 1000)
    return sorted(durations)[int(len(durations) * 0.99)]


def peak_rss(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


async def test_report_is_stored_after_its_worker_is_killed(
    stack: RunningStack, tmp_path: Path, database_url: str
) -> None:
    report = tmp_path / "junit.xml"
    write_report(report, 200_000)
    async with client(stack) as session:
        receipt = await send(session, report, "run_killed")
        await wait_until_storing(database_url)
        os.kill(stack.ready["processes"]["consumers"][0], signal.SIGKILL)
        async with session.get("runs/run_killed") as response:
            assert response.status == 404, "the worker was killed after it had stored the report"
        receipt = await wait_until_finished(session, receipt)
        run = await get(session, "runs/run_killed")
    assert (receipt["status"], receipt["results"]) == ("stored", 200_000)
    assert (run["counts"]["passed"], run["counts"]["failed"], run["revision"]) == (198_000, 2_000, 1)


async def wait_until_storing(database_url: str) -> None:
    """Wait until 40,000 cases are committed, which happens before the results are committed."""
    connection = await asyncpg.connect(database_url)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            while await connection.fetchval("SELECT count(*) < 40000 FROM cases"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    finally:
        await connection.close()
