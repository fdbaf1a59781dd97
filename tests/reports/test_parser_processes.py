"""Parser processes, observed from outside of the worker."""

import asyncio
import os
import signal
import subprocess
import sys
from multiprocessing import active_children
from pathlib import Path

import pytest

from service.domain.reports import ReportLimits
from service.reports.parser_processes import ParserProcess
from service.reports.uploads import ReportFile

KILLED_WHILE_READING = """
import asyncio, os, signal, sys
from pathlib import Path
from service.domain.reports import ReportLimits
from service.reports.parser_processes import ParserProcess
from service.reports.uploads import ReportFile

async def main():
    folder = Path(sys.argv[1])
    report = ReportFile(folder / "junit.xml", folder / "read", None, "application/xml", None)
    await ParserProcess().read([report], ReportLimits())
    semaphores = [line for line in Path("/proc/self/maps").read_text().splitlines() if "/dev/shm/" in line]
    print("read", semaphores, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def test_killed_worker_leaves_no_warning_or_shared_memory(tmp_path: Path) -> None:
    (tmp_path / "junit.xml").write_text('<testsuite><testcase name="a"/></testsuite>')
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_READING, str(tmp_path)], capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert killed.stdout == "read []\n"
    assert killed.stderr == ""


async def test_error_of_the_parser_shows_where_it_occurred(tmp_path: Path) -> None:
    parser = ParserProcess()
    for _ in range(2):
        with pytest.raises(FileNotFoundError) as raised:
            await parser.read([ReportFile(tmp_path / "a", tmp_path / "read", None, None, None)], ReportLimits())
        assert "in _detect_compression" in raised.value.__notes__[0]
    parser.stop()


async def test_canceled_read_kills_the_process(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")  # opening it blocks
    parser = ParserProcess()
    others = active_children()
    report = ReportFile(tmp_path / "a", tmp_path / "read", None, None, None)
    reading = asyncio.create_task(parser.read([report], ReportLimits()))
    while not (tmp_path / "output").exists():  # noqa: ASYNC110 - there is no event for the start of a process
        await asyncio.sleep(0.01)
    [child] = set(active_children()).difference(others)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    child.join(10)
    assert child.exitcode == -signal.SIGKILL
