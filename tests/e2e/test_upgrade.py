"""An upgrade without a stop: processes of the last release work while the schema changes, and next to new processes."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from service.dev.ports import choose_port
from service.store.postgres import migrations
from tests.consumers.conftest import Broker, until
from tests.databases import empty_database
from tests.run_events import run_event

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LAST_RELEASE = "7126f2f"  # the commit of version 0.9.0
TIMEOUT_S = 60
REPORT = (
    b'<testsuite name="s"><testcase classname="a" name="works"/><testcase name="b"><failure/></testcase></testsuite>'
)


@dataclass(frozen=True)
class Version:
    """The code of one version, and the variables of its processes."""

    code: Path
    environment: dict[str, str]
    logs: Path

    async def run(self, *arguments: str) -> str:
        """Run a command and return its output."""
        process = await self._start(arguments, {}, asyncio.subprocess.PIPE)
        out, err = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
        assert process.returncode == 0, err.decode()
        return out.decode()

    @asynccontextmanager
    async def running(self, *arguments: str, **variables: str) -> AsyncIterator[None]:
        """Run a process while the block runs, then stop it. Fails if it ended earlier or logged an error."""
        file = self.logs / f"{arguments[0]}.log"
        with file.open("ab") as log:
            process = await self._start(arguments, variables, log.fileno())
        try:
            yield
            assert process.returncode is None, file.read_text()
        finally:
            if process.returncode is None:
                process.terminate()
            assert await asyncio.wait_for(process.wait(), TIMEOUT_S) == 0, file.read_text()
        assert not re.search('"level":"(error|critical)"', file.read_text()), file.read_text()

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


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of the last release, from the history of this checkout."""
    if subprocess.run(["git", "cat-file", "-e", LAST_RELEASE], cwd=ROOT, check=False, capture_output=True).returncode:
        pytest.skip("the checkout doesn't contain the history of the last release")
    folder = tmp_path_factory.mktemp("release")
    archive = subprocess.run(["git", "archive", LAST_RELEASE], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "--extract", "--directory", folder], input=archive, check=True)
    _allow_early_patches_of_python(folder / "service" / "contracts" / "run_events.py")
    return folder


def _allow_early_patches_of_python(module: Path) -> None:
    """Remove what only saves time: FailFast, with which the release doesn't start before Python 3.11.8 and 3.12.2."""
    module.write_text(re.sub(r"Annotated\[(list\[\w+\]), FailFast\(\)\]", r"\1", module.read_text()))


@pytest.fixture
def environment(postgres_url: str, broker: Broker, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The variables of all processes, with an empty database."""
    with empty_database(postgres_url) as url:
        yield {
            "RESULTS_DATABASE_URL": url,
            "RESULTS_AMQP_URL": broker.url,
            "RESULTS_QUEUE_PREFIX": broker.topology.prefix,
            "RESULTS_ARTIFACTS_URL": (tmp_path / "files").as_uri(),
        }


@pytest.fixture
def old(release: Path, environment: dict[str, str], tmp_path: Path) -> Version:
    return version(release, environment, tmp_path / "old")


@pytest.fixture
def new(environment: dict[str, str], tmp_path: Path) -> Version:
    return version(ROOT, environment, tmp_path / "new")


def version(code: Path, environment: dict[str, str], logs: Path) -> Version:
    logs.mkdir()
    return Version(code, environment, logs)


@asynccontextmanager
async def serving(version: Version, key: str) -> AsyncIterator[Api]:
    port = str(choose_port())
    async with version.running("api", RESULTS_HTTP_PORT=port), ClientSession() as session:
        api = Api(session, f"http://127.0.0.1:{port}", key)

        async def responds() -> bool:
            try:
                return (await api.request("GET", "/healthz"))[0] == 200
            except OSError:
                return False

        await until(responds, "the API", TIMEOUT_S)
        yield api


async def test_processes_of_the_last_release_continue_during_the_upgrade(
    old: Version, new: Version, broker: Broker
) -> None:
    assert "applied 0001 first_release" in await old.run("schema", "apply")
    await old.run("organizations", "create", "acme")
    key = (await old.run("keys", "create", "--organization", "acme", "--role", "admin")).split()[-1]
    async with AsyncExitStack() as old_processes, AsyncExitStack() as new_processes:
        old_api = await old_processes.enter_async_context(serving(old, key))
        await old_processes.enter_async_context(old.running("consume"))
        await broker.publish(run_event("before"))
        await old_api.wait_for_runs("before")

        applied = await new.run("schema", "apply")
        assert len(re.findall(r"^applied ", applied, re.MULTILINE)) == len(migrations.all_migrations()) - 1

        await broker.publish(run_event("after"))
        await old_api.send_report("after-report")
        await old_api.wait_for_runs("before", "after", "after-report")
        await old_api.export()

        new_api = await new_processes.enter_async_context(serving(new, key))
        await new_processes.enter_async_context(new.running("consume"))
        mixed = [f"mixed-{number}" for number in range(20)]
        await broker.publish(*map(run_event, mixed))
        for number, api in enumerate((old_api, new_api)):
            await api.send_report(f"report-{number}")
            await api.export()
        for api in (old_api, new_api):
            await api.wait_for_runs("before", "after", "after-report", "report-0", "report-1", *mixed)

        await old_processes.aclose()
        await broker.publish(run_event("last"))
        await new_api.wait_for_runs("last", "before", "after-report")
        assert await broker.pop_dead_letters() == []


def test_old_processes_run_the_code_of_the_release(release: Path) -> None:
    program = "import service, consumers; print(service.__file__, consumers.__file__)"
    output = subprocess.run([sys.executable, "-c", program], cwd=release, check=True, capture_output=True, text=True)
    assert [Path(file).is_relative_to(release) for file in output.stdout.split()] == [True, True]
