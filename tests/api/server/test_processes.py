"""Several API processes on one port: stop, restart after a crash, and orphaned children."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import ClientConnectionError, ClientResponse, ClientSession

from service.dev.ports import choose_port
from service.dev.processes import identity
from service.domain.ids import OrgId
from service.identity.keys.operations import create_key
from service.version import find_build
from tests.scraped import families, total
from tests.stored import open_store

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
async def serving(database_url: str, **settings: str) -> AsyncIterator[ApiProcesses]:
    port = choose_port()
    settings |= {"RESULTS_DATABASE_URL": database_url, "RESULTS_HTTP_PORT": str(port)}
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


async def test_children_use_the_storage(database_url: str, tmp_path: Path) -> None:
    """The threads of the storage client don't survive a fork, so the parent must not start them."""
    async with (
        serving(database_url, RESULTS_ARTIFACTS_URL=(tmp_path / "files").as_uri()) as served,
        asyncio.timeout(TIMEOUT_S),
    ):
        assert "client version '0.0.1' not found" in await served.request("/client/0.0.1.pyz", 5)


async def test_throttled_upload_survives_sigterm(database_url: str, tmp_path: Path) -> None:
    """Every rollout stops processes that receive uploads. Other connections must not delay the stop."""
    key = await create_key_of(database_url)
    async with (
        serving(database_url, RESULTS_ARTIFACTS_URL=(tmp_path / "files").as_uri()) as served,
        ClientSession(served.url, headers={"Authorization": f"Bearer {key}"}) as client,
    ):
        waiting = [asyncio.create_task(read(client, path)) for path in ("/v1/events/stream", "/v1/runs/none?wait=30")]
        upload = client.post("/v1/runs/run_1/report", params={"project_id": "shop"}, data=throttled_report(3))
        async with asyncio.timeout(TIMEOUT_S):
            sending = asyncio.create_task(read_response(upload))
            await asyncio.sleep(1)
            served.parent.terminate()
            await asyncio.gather(*waiting)
            assert not await served.responds()
            assert not sending.done()
            assert (await sending)["status"] == "queued"
            assert await asyncio.wait_for(served.parent.wait(), 10) == 0


async def throttled_report(duration_s: float) -> AsyncIterator[bytes]:
    yield b"<testsuite>"
    for _ in range(int(duration_s / 0.05)):
        yield b'<testcase name="a"/>' * 50
        await asyncio.sleep(0.05)
    yield b"</testsuite>"


async def read_response(upload: "AbstractAsyncContextManager[ClientResponse]") -> Any:
    async with upload as response:
        assert response.status == 202
        return await response.json()


async def read(client: ClientSession, path: str) -> None:
    async with client.get(path) as response:
        await response.read()


async def create_key_of(database_url: str) -> str:
    """Create a key of the organization that exists in each database of a test."""
    async with open_store(database_url) as store, store.pool.acquire() as connection:
        return (await create_key(connection, OrgId(1), "test", "engineer")).key


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
    text = await served.request("/metrics", times=2)
    assert {"results_http_request_seconds", "results_database_up", "results_build_info"} <= families(text)
    assert total(text, "results_build_info", **find_build()) == 1


async def test_files_of_counts_are_deleted_after_the_parent_is_killed(served: ApiProcesses) -> None:
    await served.request("/docs", times=40)
    folder = served.metrics_directory()
    assert folder.is_dir()
    served.parent.kill()
    await until(lambda: not folder.exists(), "the files to be deleted")


async def test_crash_of_a_child_is_logged_without_secrets() -> None:
    script = """
from service import log
from service.api.server.main import run_processes

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
