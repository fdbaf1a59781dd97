"""Several API processes on one port: stop, restart after a crash, and orphaned children."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
from aiohttp import ClientConnectionError, ClientSession

from service.dev.ports import choose_port
from service.dev.processes import identity
from tests.scraped import families, total

pytestmark = pytest.mark.slow

TIMEOUT_S = 25


@dataclass
class ApiProcesses:
    parent: asyncio.subprocess.Process
    url: str

    def children(self) -> set[int]:
        pid = self.parent.pid
        return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}

    def metrics_directory(self) -> Path:
        """Return the directory of the files in which the children count."""
        maps = "".join(Path(f"/proc/{child}/maps").read_text() for child in self.children())
        [folder] = {Path(file).parent for file in re.findall(r"/\S*zof-results-counts-\S*", maps)}
        return folder

    async def request(self, path: str, times: int = 1) -> str:
        """Send requests over separate connections, so that any process can respond. Return the last response."""
        for _ in range(times):
            async with ClientSession() as session, session.get(f"{self.url}{path}") as response:
                text = await response.text()
        return text

    async def counts(self) -> float:
        """Return the number of requests for /docs, according to any process."""
        return total(await self.request("/metrics"), "results_http_request_seconds_count", route="/docs")

    async def responds(self) -> bool:
        try:
            async with ClientSession() as session, session.get(f"{self.url}/healthz") as response:
                return response.status == 200
        except ClientConnectionError:
            return False


async def until(condition: Callable[[], bool], description: str) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.05)


@pytest.fixture
async def served(database_url: str) -> AsyncIterator[ApiProcesses]:
    async with serving(database_url) as opened:
        yield opened


@asynccontextmanager
async def serving(database_url: str) -> AsyncIterator[ApiProcesses]:
    port = choose_port()
    settings = {"RESULTS_DATABASE_URL": database_url, "RESULTS_HTTP_PORT": str(port)}
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", "api", "--processes", "2", env={**os.environ, **settings}
    )
    opened = ApiProcesses(parent, f"http://127.0.0.1:{port}")
    try:
        async with asyncio.timeout(TIMEOUT_S):
            while not await opened.responds():  # noqa: ASYNC110 - another process's state
                await asyncio.sleep(0.05)
        await until(lambda: len(opened.children()) == 2, "two children")
        yield opened
    finally:
        if parent.returncode is None:
            parent.terminate()
            await parent.wait()


async def test_sigterm_stops_all_processes(served: ApiProcesses) -> None:
    children = served.children()
    served.parent.terminate()
    assert await asyncio.wait_for(served.parent.wait(), TIMEOUT_S) == 0
    assert not any(map(identity, children))
    assert not await served.responds()


async def test_killed_child_is_restarted_while_the_other_serves(served: ApiProcesses) -> None:
    children = served.children()
    os.kill(killed := min(children), signal.SIGKILL)
    assert await served.responds()
    await until(lambda: len(served.children() - {killed}) == 2, "a new child")
    assert children - {killed} < served.children()


async def test_children_stop_when_their_parent_is_killed(served: ApiProcesses) -> None:
    children = served.children()
    served.parent.kill()
    await served.parent.wait()
    await until(lambda: not any(map(identity, children)), "the children to stop")
    assert not await served.responds()


async def test_every_process_returns_the_counts_of_all(served: ApiProcesses) -> None:
    await served.request("/docs", times=40)
    assert {await served.counts() for _ in range(20)} == {40}


async def test_count_survives_its_process(served: ApiProcesses) -> None:
    await served.request("/docs", times=40)
    for killed in served.children():
        os.kill(killed, signal.SIGKILL)
        await until(lambda killed=killed: len(served.children() - {killed}) == 2, "a new child")  # type: ignore[misc]
        assert {await served.counts() for _ in range(10)} == {40}
    await served.request("/docs", times=40)
    assert {await served.counts() for _ in range(10)} == {80}


async def test_several_processes_return_each_metric_once(served: ApiProcesses) -> None:
    assert {"results_http_request_seconds", "results_database_up"} <= families(
        await served.request("/metrics", times=2)
    )


async def test_files_of_counts_are_deleted_after_the_parent_is_killed(served: ApiProcesses) -> None:
    await served.request("/docs", times=40)
    folder = served.metrics_directory()
    assert folder.is_dir()
    served.parent.kill()
    await until(lambda: not folder.exists(), "the files to be deleted")


async def test_crash_of_a_child_is_logged_without_secrets() -> None:
    script = """
from service import log
from service.api.server.processes import run_processes

def crash(sockets, stop_pipe):
    raise RuntimeError("no connection to postgresql://results:password@db/results")

log.set_up()
run_processes(crash, [], 1)
"""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stderr=asyncio.subprocess.PIPE)
    assert parent.stderr is not None
    try:
        line = await asyncio.wait_for(parent.stderr.readline(), TIMEOUT_S)
    finally:
        parent.terminate()
        rest = await asyncio.wait_for(parent.stderr.read(), TIMEOUT_S)
        await parent.wait()
    logged = orjson.loads(line)
    assert (logged["event"], logged["level"]) == ("process_crashed", "critical")
    assert "RuntimeError" in logged["exception"]
    assert "password" not in logged["exception"]
    assert b"password" not in rest
