"""The API as several processes on one port: killed, told to stop, left without their parent."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import ClientConnectionError, ClientSession

from service.dev.ports import choose_port
from service.dev.processes import identity
from tests.scraped import families, total

TIMEOUT_S = 25


@dataclass
class Served:
    parent: asyncio.subprocess.Process
    url: str

    def children(self) -> set[int]:
        pid = self.parent.pid
        return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}

    def counts_folder(self) -> Path:
        """Where those children that were asked something write what they count."""
        maps = "".join(Path(f"/proc/{child}/maps").read_text() for child in self.children())
        [folder] = {Path(file).parent for file in re.findall(r"/\S*zof-results-counts-\S*", maps)}
        return folder

    async def asks(self, path: str, times: int = 1) -> str:
        """Each time over a connection of its own, so that any process may be met; returns the last answer."""
        for _ in range(times):
            async with ClientSession() as session, session.get(f"{self.url}{path}") as response:
                text = await response.text()
        return text

    async def counts(self) -> float:
        """How often /docs was asked for, as whoever is asked says."""
        return total(await self.asks("/metrics"), "results_http_request_seconds_count", route="/docs")

    async def answers(self) -> bool:
        try:
            async with ClientSession() as session, session.get(f"{self.url}/healthz") as response:
                return response.status == 200
        except ClientConnectionError:
            return False


async def until(condition: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.05)


@pytest.fixture
async def served(database_url: str) -> AsyncIterator[Served]:
    async with serving(database_url) as opened:
        yield opened


@asynccontextmanager
async def serving(database_url: str) -> AsyncIterator[Served]:
    port = choose_port()
    settings = {"RESULTS_DATABASE_URL": database_url, "RESULTS_HTTP_PORT": str(port)}
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", "api", "--processes", "2", env={**os.environ, **settings}
    )
    opened = Served(parent, f"http://127.0.0.1:{port}")
    try:
        async with asyncio.timeout(TIMEOUT_S):
            while not await opened.answers():  # noqa: ASYNC110 - another process's state
                await asyncio.sleep(0.05)
        await until(lambda: len(opened.children()) == 2, "two children")
        yield opened
    finally:
        if parent.returncode is None:
            parent.terminate()
            await parent.wait()


async def test_sigterm_ends_all_and_leaves_nothing(served: Served) -> None:
    children = served.children()
    served.parent.terminate()
    assert await asyncio.wait_for(served.parent.wait(), TIMEOUT_S) == 0
    assert not any(map(identity, children))
    assert not await served.answers()


async def test_a_child_that_dies_is_started_again_while_the_other_answers(served: Served) -> None:
    children = served.children()
    os.kill(dead := min(children), signal.SIGKILL)
    assert await served.answers()
    await until(lambda: len(served.children() - {dead}) == 2, "another child")
    assert children - {dead} < served.children()


async def test_children_end_with_a_killed_parent(served: Served) -> None:
    children = served.children()
    served.parent.kill()
    await served.parent.wait()
    await until(lambda: not any(map(identity, children)), "the end of the children")
    assert not await served.answers()


async def test_every_process_tells_what_all_have_counted(served: Served) -> None:
    await served.asks("/docs", times=40)
    assert {await served.counts() for _ in range(20)} == {40}


async def test_a_count_outlives_its_process(served: Served) -> None:
    await served.asks("/docs", times=40)
    for dead in served.children():
        os.kill(dead, signal.SIGKILL)
        await until(lambda dead=dead: len(served.children() - {dead}) == 2, "another child")  # type: ignore[misc]
        assert {await served.counts() for _ in range(10)} == {40}
    await served.asks("/docs", times=40)
    assert {await served.counts() for _ in range(10)} == {80}


async def test_several_processes_tell_each_metric_once(served: Served) -> None:
    assert {"results_http_request_seconds", "results_database_up"} <= families(await served.asks("/metrics", times=2))


async def test_no_counts_are_left_by_a_killed_parent(served: Served) -> None:
    await served.asks("/docs", times=40)
    folder = served.counts_folder()
    assert folder.is_dir()
    served.parent.kill()
    await until(lambda: not folder.exists(), "the end of the files")
