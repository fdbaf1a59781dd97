"""Chaos: whichever server, disk, or signal fails, the code is that of the command, and no finished result is lost."""

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from service.client.report import report_spool
from service.client.runner.spool import find_entries
from tests.gates.excusing import Jobs, junit
from tests.report_api import serving_reports_with_ingester
from tests.runner.executions import STATED, Checkout
from tests.runner.unreliable_servers import BEHAVIORS, serving

pytestmark = pytest.mark.slow

SILENCE_S: Final = 10
BOUND_S: Final = SILENCE_S + 15
CONCURRENT: Final = 8
FAILING: Final = junit({"a": "failed", "b": "passed"})
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL)
# A name that is never resolved.
UNRESOLVED = "import socket, time\nsocket.getaddrinfo = lambda *_, **__: time.sleep(1000)\n"
# Each test that has finished is in a file, and the last one fails.
TESTS = """
import time, pytest
@pytest.mark.parametrize("number", range(20))
def test_wait(number):
    time.sleep(0.05)
    assert number < 19
"""
RECORD = """
def pytest_runtest_logfinish(nodeid):
    with open("finished.txt", "a") as file: file.write(nodeid.split("::")[1] + "\\n")
"""


@pytest.fixture
async def jobs(database_url: str, tmp_path: Path) -> AsyncIterator[Jobs]:
    async with serving_reports_with_ingester(database_url, tmp_path / "storage") as reports:
        yield Jobs(reports)


async def send_spool(jobs: Jobs, spool: Path) -> None:
    server = str(jobs.api.http.make_url("/")), jobs.api.key
    if entries := find_entries(spool):
        await asyncio.to_thread(report_spool, *server, entries, wait_s=60)
    assert find_entries(spool) == []


async def test_failures_of_the_server_lose_no_report(jobs: Jobs, tmp_path: Path) -> None:
    slots = asyncio.Semaphore(CONCURRENT)

    async def execute(number: int, url: str, **variables: str) -> Any:
        checkout = Checkout(tmp_path / f"checkout-{number}")
        checkout.folder.mkdir()
        checkout.write("sitecustomize.py", UNRESOLVED)
        checkout.variables = {"RESULTS_URL": url, "RESULTS_API_KEY": "key", "RESULTS_PROJECT": "shop", **variables}
        if "PYTHONPATH" in variables:
            checkout.variables["PYTHONPATH"] = f"{checkout.folder}:{Path.cwd()}"
        code = number % 2
        command = checkout.failing_with(code, FAILING)
        async with slots:
            ended = await checkout.run("--run-id", f"run_{number}", *STATED, "--report", "junit.xml", *command)
        after_s = time.time() - (checkout.folder / "junit.xml").stat().st_mtime
        return ended, code, after_s, checkout

    async with AsyncExitStack() as stack:
        servers = {name: await stack.enter_async_context(serving(each)) for name, each in BEHAVIORS.items()}
        servers |= {"refused": "http://127.0.0.1:9", "unknown": "http://host.invalid"}
        started = [execute(number, url) for number, url in enumerate(servers.values())]
        started.append(execute(len(servers), "http://host.example", PYTHONPATH=""))
        results = await asyncio.gather(*started)
    for name, (ended, code, after_s, checkout) in zip([*servers, "unresolved"], results, strict=True):
        assert ended.code == code, (name, ended.stderr)
        assert ended.stdout == b"", name
        assert f"The reports stay in {checkout.entries[0]}." in ended.stderr, name
        assert after_s < BOUND_S, (name, ended.stderr)
        if code:
            assert ended.doubts == ["server"], (name, ended.stderr)
        await send_spool(jobs, checkout.folder / ".zof-results" / "spool")
    runs = (await jobs.api.get("/v1/runs", {"limit": "100"}))["data"]
    assert [run["counts"]["failed"] for run in runs] == [1] * len(results)


async def test_server_that_stops_reading_is_given_up(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    output = random.Random(1).randbytes(6_000_000).hex()
    report = FAILING.replace(b"</testsuite>", f"<system-out>{output}</system-out></testsuite>".encode())
    async with serving(BEHAVIORS["hang"]) as url:
        checkout.variables = {"RESULTS_URL": url, "RESULTS_API_KEY": "key", "RESULTS_PROJECT": "shop"}
        started = time.monotonic()
        ended = await checkout.run("--run-id", "r", "--report", "junit.xml", *checkout.failing_with(3, report))
    assert (ended.code, len(checkout.entries)) == (3, 1)
    assert time.monotonic() - started < BOUND_S


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
async def test_signal_during_the_upload_ends_at_once(tmp_path: Path, number: signal.Signals) -> None:
    checkout, connected = Checkout(tmp_path), asyncio.Event()

    async def hang(*_: Any) -> None:
        connected.set()
        await asyncio.sleep(1_000)

    async with serving(hang) as url:
        checkout.variables = {"RESULTS_URL": url, "RESULTS_API_KEY": "key", "RESULTS_PROJECT": "shop"}
        command = "--run-id", "r", *STATED, "--report", "junit.xml", *checkout.failing_with(1, FAILING)
        process = checkout.start(*command, start_new_session=True)
        await asyncio.wait_for(connected.wait(), 30)
        started = time.monotonic()
        process.send_signal(number)
        ended = await asyncio.to_thread(checkout.finish, process)
        assert time.monotonic() - started < SILENCE_S / 2
    assert ended.code == (-9 if number == signal.SIGKILL else 1)
    (entry,) = find_entries(tmp_path / ".zof-results" / "spool")
    assert entry.lock()
    assert len(entry.packed_reports()) == 1
    entry.unlock()


@pytest.mark.parametrize("size", [0, 1_000, 100_000])
@pytest.mark.parametrize("code", [0, 3])
async def test_full_disk_does_not_change_the_code(tmp_path: Path, size: int, code: int) -> None:
    checkout = Checkout(tmp_path, {"RESULTS_PROJECT": "shop", "PYTHONDONTWRITEBYTECODE": "1"})
    output = random.Random(1).randbytes(200_000).hex()
    checkout.write(".source-junit.xml", FAILING.replace(b"</testsuite>", f"<!--{output}--></testsuite>".encode()))
    script = f"prlimit --pid $$ --fsize=unlimited; ln .source-junit.xml junit.xml; exit {code}"
    options = checkout.command("--run-id", "r", "--report", "junit.xml", "--", "sh", "-c", script)
    options["args"] = ["prlimit", f"--fsize={size}:unlimited", *options["args"]]
    with open("/dev/full", "wb") as full:  # noqa: ASYNC230 - doesn't block
        process = await asyncio.create_subprocess_exec(*options.pop("args"), **options, stdout=full, stderr=full)
    assert await asyncio.wait_for(process.wait(), BOUND_S) == code
    assert (tmp_path / "junit.xml").exists()


@pytest.mark.parametrize(
    "seeds", [pytest.param(range(6), id="few"), pytest.param(range(6, 100), id="many", marks=pytest.mark.nightly)]
)
async def test_signals_lose_no_finished_result(jobs: Jobs, tmp_path: Path, seeds: range) -> None:
    slots = asyncio.Semaphore(3)

    async def execute(seed: int) -> None:
        async with slots:
            await send_signal_to_session(jobs, tmp_path / f"checkout-{seed}", f"run_{seed}", random.Random(seed))

    async with asyncio.TaskGroup() as group:
        for seed in seeds:
            group.create_task(execute(seed))


async def send_signal_to_session(jobs: Jobs, folder: Path, run_id: str, chosen: random.Random) -> None:
    """Send a signal to `run` or to its pytest at a random moment, and send what is in the spool afterwards."""
    checkout = Checkout.of_server(folder, jobs, jobs.api.key)
    checkout.write("test_shop.py", TESTS)
    checkout.write("conftest.py", RECORD)
    number, to_command = chosen.choice(SIGNALS), chosen.random() < 0.4
    async with serving(BEHAVIORS["hang"]) as hanging:
        if chosen.random() < 0.5:
            checkout.variables["RESULTS_URL"] = hanging
        command = "--run-id", run_id, "--", sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"
        process = checkout.start(*command, start_new_session=True)
        await asyncio.sleep(chosen.uniform(0, 20 if checkout.variables["RESULTS_URL"] == hanging else 10))
        for pid in list(processes_in(folder, b"-m\0pytest")) if to_command else [process.pid]:
            os.kill(pid, number)
        ended = await asyncio.to_thread(checkout.finish, process)
    allowed = {1, 2, 128 + number, -number, 130}
    assert ended.code in allowed, (number, to_command, ended)
    await asyncio.to_thread(wait_for_orphans, folder)
    await send_spool(jobs, folder / ".zof-results" / "spool")
    file = folder / "finished.txt"
    finished = set(file.read_text().split()) if file.exists() else set()
    found = await jobs.api.list_all("/v1/results", {"run_id": run_id, "limit": "100"})
    assert finished <= {result["name"] for result in found}, (number, to_command, ended)
    if found:
        assert (await jobs.api.get(f"/v1/runs/{run_id}"))["status"] in ("failed", "error"), (number, ended)


def wait_for_orphans(folder: Path) -> None:
    """Wait for the pytest of a killed `run`, which ends by itself. Nothing else may be left."""
    deadline = time.monotonic() + 30
    while left := list(processes_in(folder)):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def processes_in(folder: Path, part: bytes = b"") -> Iterator[int]:
    """Yield the processes whose working directory is this folder."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "cwd").readlink() == folder and part in (path / "cmdline").read_bytes():
                yield int(path.name)
        except OSError:  # it has ended
            continue
