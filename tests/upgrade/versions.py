"""The processes of two versions, from the code of each, and their API as a client uses it."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientSession

from service.dev.ports import choose_port
from tests.fixtures.broker import until

TIMEOUT_S: Final = 180  # a busy machine starts a process in up to a minute
REPORT: Final = (
    b'<testsuite name="s"><testcase classname="a" name="works"/><testcase name="b"><failure/></testcase></testsuite>'
)


@dataclass(frozen=True)
class Process:
    """A running process and its log."""

    process: asyncio.subprocess.Process
    log: Path

    async def stop(self) -> None:
        """Stop the process as an orchestrator does. Fails if it ended earlier or logged an error."""
        assert self.process.returncode is None, self.log.read_text()
        self.process.terminate()
        assert await asyncio.wait_for(self.process.wait(), TIMEOUT_S) == 0, self.log.read_text()
        assert not re.search('"level":"(error|critical)"', self.log.read_text()), self.log.read_text()

    async def kill(self) -> None:
        """Kill the process, if it runs."""
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


@dataclass(frozen=True)
class Version:
    """The code of one version, and the variables of its processes."""

    code: Path
    environment: dict[str, str]
    logs: Path

    async def run(self, *arguments: str, **variables: str) -> str:
        """Run a command and return its output."""
        code, output = await self.execute(*arguments, **variables)
        assert code == 0, output
        return output

    async def execute(self, *arguments: str, **variables: str) -> tuple[int, str]:
        """Run a command and return its exit code and its output, or what it wrote to stderr if it failed."""
        process = await self._start(arguments, variables, asyncio.subprocess.PIPE)
        out, err = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
        return process.returncode or 0, (err if process.returncode else out).decode()

    @asynccontextmanager
    async def running(self, *arguments: str, **variables: str) -> AsyncIterator[Process]:
        """Run a process. At the end of the block, kill it if the block hasn't stopped it."""
        file = self.logs / f"{len(list(self.logs.iterdir()))}-{arguments[0]}.log"
        with file.open("wb") as log:
            process = Process(await self._start(arguments, variables, log.fileno()), file)
        try:
            yield process
        finally:
            await process.kill()

    async def _start(
        self, arguments: tuple[str, ...], variables: dict[str, str], output: int
    ) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "service", *arguments,
            cwd=self.code, env={**os.environ, **self.environment, **variables}, stdout=output, stderr=output,
        )  # fmt: skip


@dataclass(frozen=True)
class Api:
    """An API server as one organization uses it."""

    session: ClientSession
    url: str
    key: str

    async def request(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.key}", **options.pop("headers", {})}
        async with self.session.request(method, self.url + path, headers=headers, **options) as response:
            text = await response.text()
            return response.status, json.loads(text) if response.content_type == "application/json" else text

    async def wait_for_runs(self, *run_ids: str) -> None:
        async def are_stored() -> bool:
            return {status for status, _ in [await self.request("GET", f"/v1/runs/{each}") for each in run_ids]} == {
                200
            }

        await until(are_stored, f"the runs {run_ids}", TIMEOUT_S)

    async def send_report(self, run_id: str) -> None:
        path = f"/v1/runs/{run_id}/report?project_id=shop"
        status, _ = await self.request("POST", path, data=REPORT, headers={"Content-Type": "application/xml"})
        assert status == 202

    async def export(self) -> None:
        status, export = await self.request("POST", "/v1/results/export", json={"format": "csv"})
        assert status == 202

        async def is_complete() -> bool:
            _, found = await self.request("GET", f"/v1/results/export/{export['id']}")
            assert found["status"] in ("queued", "running", "succeeded"), found
            return bool(found["status"] == "succeeded")

        await until(is_complete, "the export", TIMEOUT_S)


@dataclass(frozen=True)
class Instance(Process):
    """An API process and the address of its server."""

    url: str


class Deployment:
    """The processes of all versions that run at a time."""

    def __init__(self, stack: AsyncExitStack, session: ClientSession) -> None:
        self._stack = stack
        self._session = session

    async def consume(self, version: Version, *roles: str) -> Process:
        return await self._stack.enter_async_context(version.running("consume", *roles))

    async def serve(self, version: Version) -> Instance:
        """Start an API process, and return when it is ready."""
        port = str(choose_port())
        process = await self._stack.enter_async_context(version.running("api", RESULTS_HTTP_PORT=port))
        instance = Instance(process.process, process.log, f"http://127.0.0.1:{port}")

        async def responds() -> bool:
            try:
                return (await self.api(instance, "").request("GET", "/healthz"))[0] == 200
            except OSError:
                return False

        await until(responds, "the API", TIMEOUT_S)
        return instance

    def api(self, instance: Instance, key: str) -> Api:
        return Api(self._session, instance.url, key)


@asynccontextmanager
async def deployment() -> AsyncIterator[Deployment]:
    """Yield an empty deployment; kill all of its processes at the end."""
    async with ClientSession() as session, AsyncExitStack() as stack:
        yield Deployment(stack, session)


async def create_key(version: Version, organization: str) -> str:
    """Create an organization and return a key of its administrator."""
    await version.run("organizations", "create", organization)
    return (await version.run("keys", "create", "--organization", organization, "--role", "admin")).split()[-1]
