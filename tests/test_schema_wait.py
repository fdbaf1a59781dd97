"""Processes that start before `schema apply` wait for the schema."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from service.database import migrations
from service.dev.ports import choose_port
from service.processes import NoDatabase, wait_for_schema
from service.settings import Settings
from service.stopping import Stopped
from service.version import find_build
from tests.databases import empty_database
from tests.test_commands import run

TIMEOUT_S = 60
PROCESSES = pytest.mark.parametrize(
    ("command", "started"), [(("api",), b"listening"), (("consume",), b"consumers_started")], ids=["api", "consume"]
)


@pytest.fixture
def empty_url(postgres_url: str) -> Iterator[str]:
    with empty_database(postgres_url) as url:
        yield url


async def wait(url: str, wait_s: float, stopping: asyncio.Event | None = None) -> None:
    settings = Settings(database_url=url, schema_wait_s=wait_s)
    await wait_for_schema(settings, "results_worker", stopping or asyncio.Event())


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def test_current_schema_needs_no_wait(database_url: str) -> None:
    await wait(database_url, 0)


async def test_schema_of_a_later_version_needs_no_wait(database_url: str) -> None:
    await execute(database_url, "INSERT INTO schema_migrations (version, name) VALUES (9999, 'later')")
    await wait(database_url, 0)
    assert await migrations.pending(database_url) == await migrations.apply(database_url) == []


async def test_missing_schema_is_an_error_with_the_command_after_the_wait(empty_url: str) -> None:
    with pytest.raises(NoDatabase, match=r"the schema isn't installed .* Run `zof-results schema apply`\.$"):
        await wait(empty_url, 0.1)


async def test_missing_migration_is_named_with_the_command(database_url: str) -> None:
    newest = migrations.all_migrations()[-1]
    await execute(database_url, f"DELETE FROM schema_migrations WHERE version = {newest.version}")
    with pytest.raises(NoDatabase) as raised:
        await wait(database_url, 0)
    assert str(raised.value) == (
        f"the database lacks migrations of this version: {newest.version:04} {newest.name}. "
        "Run `zof-results schema apply`."
    )


async def test_wait_ends_when_the_schema_is_applied(empty_url: str) -> None:
    waiting = asyncio.create_task(wait(empty_url, TIMEOUT_S))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await migrations.apply(empty_url)
    await asyncio.wait_for(waiting, TIMEOUT_S)


async def test_stop_signal_ends_the_wait(empty_url: str) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().call_later(0.2, stopping.set)
    with pytest.raises(Stopped):
        await wait(empty_url, TIMEOUT_S, stopping)


@asynccontextmanager
async def started_process(url: str, *command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", *command, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
        env={**os.environ, "RESULTS_DATABASE_URL": url, "RESULTS_HTTP_PORT": str(choose_port())},
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def read_until(process: asyncio.subprocess.Process, event: bytes) -> dict[str, Any]:
    """Return the first log line of this event. Raises AssertionError if the process ends before it."""
    assert process.stderr is not None
    async with asyncio.timeout(TIMEOUT_S):
        while b'"event":"%s"' % event not in (line := await process.stderr.readline()):
            assert line, f"the process ended before {event.decode()}"
    logged: dict[str, Any] = json.loads(line)
    return logged


@pytest.mark.slow
@PROCESSES
async def test_process_starts_after_the_migration_job(empty_url: str, command: tuple[str, ...], started: bytes) -> None:
    async with started_process(empty_url, *command) as process:
        await read_until(process, b"waiting_for_schema")
        code, _, err = await run(empty_url, "schema", "apply")
        assert code == 0, err
        assert find_build().items() <= (await read_until(process, started)).items()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), TIMEOUT_S) == 0


@pytest.mark.slow
@PROCESSES
async def test_waiting_process_ends_on_sigterm(empty_url: str, command: tuple[str, ...], started: bytes) -> None:
    async with started_process(empty_url, *command) as process:
        await read_until(process, b"waiting_for_schema")
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), TIMEOUT_S) == 0
