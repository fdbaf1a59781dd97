"""Tests of exports with fault injection: killed and suspended workers; and the memory that a large export needs."""

import asyncio
import csv
import io
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import benchmarks
from benchmarks.servers import peak_rss_mib
from consumers.topology import Topology
from service.dev.postgres import program
from tests.consumers.processes import consumer
from tests.fixtures.broker import Broker, broker  # noqa: F401 - a fixture
from tests.served import Api, serve

pytestmark = pytest.mark.slow

RESULTS = 400_000
TAKEOVER_S = 60
TIMEOUT_S = 120
ROLES = ("exports", "relay", "upkeep")


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with serve(database_url, artifacts_url=files(tmp_path).as_uri()) as served:
        await asyncio.to_thread(fill, database_url)
        yield served


def fill(database_url: str) -> None:
    script = Path(str(benchmarks.__file__)).with_name("export.sql")
    commands = [f"--command={command}" for command in (f"\\set results {RESULTS}", f"\\i {script}")]
    subprocess.run([program("psql"), "--quiet", "--set=ON_ERROR_STOP=1", database_url, *commands], check=True)


def files(tmp_path: Path) -> Path:
    return tmp_path / "files"


def visible(tmp_path: Path) -> list[Path]:
    return [path for path in files(tmp_path).rglob("*") if path.is_file() and "#" not in path.name]


def worker(
    database_url: str, tmp_path: Path, amqp_url: str = "", topology: Topology | None = None
) -> AbstractContextManager[subprocess.Popen[bytes]]:
    artifacts_url = files(tmp_path).as_uri()
    return consumer(database_url, amqp_url, topology or Topology(), *ROLES, artifacts_url=artifacts_url)


async def request_export(api: Api, export_format: str, **options: Any) -> str:
    response = await api.send("POST", "/v1/results/export", json={"format": export_format, **options})
    assert response.status == 202, await response.text()
    return str((await response.json())["id"])


async def until(api: Api, export_id: str, *statuses: str) -> Any:
    deadline = time.monotonic() + TIMEOUT_S
    while (job := await api.get(f"/v1/results/export/{export_id}"))["status"] not in statuses:
        assert time.monotonic() < deadline, f"still not {statuses}: {job!r}"
        await asyncio.sleep(0.02)
    return job


async def assert_complete(api: Api, job: Any) -> None:
    response = await api.send("GET", f"/v1/results/export/{job['id']}/file")
    data = await response.read()
    assert (len(data), sha256(data).hexdigest()) == (job["size"], job["sha256"])
    rows = list(csv.DictReader(io.StringIO(data.decode())))
    assert len(rows) == len({row["id"] for row in rows}) == RESULTS == job["rows"]


async def test_export_of_a_killed_worker_is_completed_by_another(
    api: Api, database_url: str, tmp_path: Path, broker: Broker  # noqa: F811
) -> None:  # fmt: skip
    with worker(database_url, tmp_path, broker.url, broker.topology) as first:
        export_id = await request_export(api, "csv")
        await until(api, export_id, "running")
        await asyncio.sleep(0.2)
        first.kill()
        first.wait()
    killed = time.monotonic()
    assert (await api.get(f"/v1/results/export/{export_id}"))["status"] == "running"
    assert visible(tmp_path) == []
    with worker(database_url, tmp_path, broker.url, broker.topology):
        job = await until(api, export_id, "succeeded", "failed")
    assert job["status"] == "succeeded", job
    assert time.monotonic() - killed < TAKEOVER_S
    await assert_complete(api, job)
    assert len(visible(tmp_path)) == 1
    events = await api.store.pool.fetch("SELECT type FROM events WHERE type LIKE 'export.%'")
    assert [event["type"] for event in events] == ["export.completed"]


async def test_suspended_worker_that_resumes_changes_nothing(api: Api, database_url: str, tmp_path: Path) -> None:
    with worker(database_url, tmp_path) as first:
        export_id = await request_export(api, "csv")
        await until(api, export_id, "running")
        first.send_signal(signal.SIGSTOP)
        await api.store.pool.execute("UPDATE exports SET lease_until = now()")
        with worker(database_url, tmp_path):
            job = await until(api, export_id, "succeeded", "failed")
            first.send_signal(signal.SIGCONT)
            await asyncio.sleep(8)
        assert await api.get(f"/v1/results/export/{export_id}") == job
    await assert_complete(api, job)
    assert len(visible(tmp_path)) == 1


@pytest.mark.parametrize(("export_format", "limit_mib"), [("csv", 150), ("json", 150), ("parquet", 250)])
async def test_large_export_needs_little_memory(
    api: Api, database_url: str, tmp_path: Path, export_format: str, limit_mib: int
) -> None:
    with worker(database_url, tmp_path) as process:
        job = await until(api, await request_export(api, export_format), "succeeded", "failed")
        assert job["status"] == "succeeded", job
        assert peak_rss_mib(process) < limit_mib
