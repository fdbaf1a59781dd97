"""The command `gate` as a process: its exit codes, its streams, and signals."""

import asyncio
import os
import signal
import sys

import pytest

from service.client.gate import BLOCKED, PASSED
from service.client.runs import INCOMPLETE
from tests.api.served import Api
from tests.client.gates import FAILING, url
from tests.run_events import run_event


@pytest.mark.slow
async def test_command_exits_with_the_code_of_the_gate(api: Api) -> None:
    await api.store.ingest(run_event(results=[FAILING]))
    assert await command(api, "--run-id", "run_1") == BLOCKED
    assert await command(api, "--run-id", "run_1", "--max-failures", "1") == PASSED
    assert await command(api, "--run-id", "run_2", "--timeout", "0") == INCOMPLETE
    assert await command(api, "--run-id", "run_1", key="zof_wrong") == 3


async def test_closed_stdout_does_not_change_the_exit_code(api: Api) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        await api.store.ingest(run_event())
        assert await command(api, "--run-id", "run_1", stdout=writing) == PASSED
    finally:
        os.close(writing)


@pytest.mark.slow
async def test_name_that_the_terminal_cannot_show_does_not_change_the_exit_code(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")  # of a CI job on Windows
    await api.store.ingest(run_event(results=[FAILING | {"name": "支払う"}]))
    process = await start(api, "--run-id", "run_1", "--max-failures", "1", stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == PASSED
    assert b"  auth.login > \\u652f\\u6255\\u3046" in out


@pytest.mark.slow
async def test_interrupted_command_exits_with_130(api: Api) -> None:
    process = await start(api, "--run-id", "run_1", stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    assert b"waiting" in await asyncio.wait_for(process.stderr.readline(), 20)
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), 20) == 130


async def command(api: Api, *arguments: str, key: str | None = None, stdout: int = asyncio.subprocess.DEVNULL) -> int:
    return await (await start(api, *arguments, key=key, stdout=stdout)).wait()


async def start(
    api: Api, *arguments: str, key: str | None = None, stdout: int | None = None, stderr: int | None = None
) -> asyncio.subprocess.Process:
    environment = {**os.environ, "RESULTS_URL": url(api), "RESULTS_API_KEY": key or api.key}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", "gate", *arguments, env=environment, stdout=stdout, stderr=stderr
    )
