"""`tail` prints events as they happen and continues after an interruption."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import orjson
import pytest

from service.client.tail import StreamedEvent, parse_events
from service.domain.ids import case_public_id
from service.events.operations import number_events
from service.http.process import RESOURCES
from service.states.update_states import StateUpdater
from tests.run_events import result, run_event
from tests.served import Api

pytestmark = pytest.mark.slow

TIMEOUT_S = 20


async def publish(api: Api, run_id: str, status: str = "passed") -> None:
    await api.store.ingest(run_event(run_id, [result(status=status)]))
    await number_events(api.store.pool)


async def start(api: Api, *arguments: str, key: str | None = None) -> Process:
    environment = {**os.environ, "RESULTS_URL": str(api.http.make_url("/")), "RESULTS_API_KEY": key or api.key}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", "tail", *arguments, env=environment, stdout=PIPE, stderr=PIPE
    )


def has_subscribers(api: Api) -> bool:
    """Whether the only dictionary of the subscriptions, which contains a reader per organization, isn't empty."""
    return any(isinstance(value, dict) and value for value in vars(api.http.app[RESOURCES].subscriptions).values())


@asynccontextmanager
async def tailing(api: Api, *arguments: str) -> AsyncIterator[Process]:
    process = await start(api, *arguments)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            while not has_subscribers(api):  # noqa: ASYNC110 - nothing signals a new subscription
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)  # until the subscription has read its first position
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def read_lines(process: Process, count: int) -> list[str]:
    assert process.stdout is not None
    async with asyncio.timeout(TIMEOUT_S):
        return [(await process.stdout.readline()).decode() for _ in range(count)]


async def test_each_event_is_one_line(api: Api) -> None:
    async with tailing(api) as process:
        await publish(api, "run_7", "failed")
        completed, failed = await read_lines(process, 2)
    assert "run.completed" in completed
    assert "run.failed" in failed
    assert "run_7" in failed
    assert "1 failed" in failed


async def test_event_of_a_case_names_it(api: Api) -> None:
    async with tailing(api) as process:
        for number, status in enumerate(["passed", *["failed"] * 3]):
            completed_at = f"2026-06-01T12:0{number}:00Z"
            failing = result("pays\n##[error]", status, failure={"message": "declined"} if number else None)
            await api.store.ingest(run_event(f"r{number}", [failing], branch="main", completed_at=completed_at))
            await number_events(api.store.pool)
            await StateUpdater(api.store.pool).update()
        await number_events(api.store.pool)
        lines = await read_lines(process, 9)
    case = await api.store.pool.fetchval("SELECT case_key FROM cases")
    named = {line.split()[1]: line.split()[1:] for line in lines}
    assert named["failure_group.opened"][2:] == ["declined"]
    assert named["case.broken"] == ["case.broken", case_public_id(case), "auth.login", ">", "pays", "#", "#[error]"]


async def test_json_is_the_complete_envelope(api: Api) -> None:
    async with tailing(api, "--run-id", "mine", "--json") as process:
        await publish(api, "other")
        await publish(api, "mine")
        [line] = await read_lines(process, 1)
    assert orjson.loads(line) == (await api.get("/v1/events"))["data"][0]


async def test_interrupted_stream_continues_without_a_gap(api: Api) -> None:
    async with tailing(api) as process:
        await publish(api, "one")
        await read_lines(process, 1)
        api.http.app[RESOURCES].subscriptions.disconnect_all()
        await publish(api, "two")
        await publish(api, "three")
        lines = await read_lines(process, 2)
    assert [("two" in lines[0]), ("three" in lines[1])] == [True, True]


async def test_interrupted_command_exits_with_130(api: Api) -> None:
    async with tailing(api) as process:
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), TIMEOUT_S) == 130


async def test_rejected_request_ends_the_command(api: Api) -> None:
    process = await start(api, key="zof_wrong")
    try:
        _, output = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    finally:
        with suppress(ProcessLookupError):
            process.kill()  # uvloop waits for running processes when it closes
    assert process.returncode == 1
    assert "(401)" in output.decode()


def test_events_are_split_at_newlines_only() -> None:
    separators = "a\u2028b\x85c"  # str.splitlines splits at both
    chunks = (f"id: 7\r\ndata: {separators}\r\n".encode(), b": heartbeat\n", b"\nid: 8\ndata: x\nda", b"ta: y\n\n")
    assert list(parse_events(chunks)) == [StreamedEvent("7", separators), StreamedEvent("8", "x\ny")]
