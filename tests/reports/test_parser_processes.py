"""Parser processes, observed from outside of the worker."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from service.reports.conversion.processes import ParserCrashed, ParserProcess
from service.reports.conversion.uploads import ReadUpload, ReportFile
from service.reports.model import MAX_REPORT_ROWS, ReportLimits

KILLED_WHILE_READING = """
import asyncio, os, signal, sys
from pathlib import Path
from service.reports.model import ReportLimits
from service.reports.conversion.processes import ParserProcess
from service.reports.conversion.uploads import ReportFile

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


@pytest.fixture
def parser() -> Iterator[ParserProcess]:
    parser = ParserProcess()
    yield parser
    parser.stop()


async def test_error_of_the_parser_shows_where_it_occurred(tmp_path: Path, parser: ParserProcess) -> None:
    for _ in range(2):
        with pytest.raises(FileNotFoundError) as raised:
            await parser.read([ReportFile(tmp_path / "a", tmp_path / "read", None, None, None)], ReportLimits())
        assert "in find_compressions" in raised.value.__notes__[0]


async def test_long_names_and_outcomes_that_arrive_in_parts_are_read(tmp_path: Path, parser: ParserProcess) -> None:
    tests = "".join(f'<testcase classname="{number:0200}" name="a"/>' for number in range(5_000))
    reports = [ReportFile(tmp_path / f"{name}.xml", tmp_path / name, name * 200_000, None, None) for name in "ab"]
    for _ in range(4):
        for report in reports:
            report.source.write_text(f"<testsuite>{tests}</testsuite>")
        assert len((await parser.read(reports, ReportLimits())).repeated) == 5_000


async def start_blocked(parser: ParserProcess, folder: Path) -> tuple["asyncio.Task[ReadUpload]", BaseProcess]:
    """Start to read a report that never ends, and return the child process that reads it."""
    os.mkfifo(folder / "a")  # opening it blocks
    others = active_children()
    report = ReportFile(folder / "a", folder / "read", None, None, None)
    reading = asyncio.create_task(parser.read([report], ReportLimits()))
    while not (folder / "output").exists():  # noqa: ASYNC110 - there is no event for the start of a process
        await asyncio.sleep(0.01)
    [child] = set(active_children()).difference(others)
    return reading, child


async def test_canceled_read_kills_the_process(tmp_path: Path, parser: ParserProcess) -> None:
    reading, child = await start_blocked(parser, tmp_path)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    child.join(10)
    assert child.exitcode == -signal.SIGKILL


async def test_next_report_after_a_crash_starts_another_process(tmp_path: Path, parser: ParserProcess) -> None:
    reading, child = await start_blocked(parser, tmp_path)
    child.kill()
    with pytest.raises(ParserCrashed):
        await reading
    (tmp_path / "b").write_text('<testsuite><testcase name="a"/></testsuite>')
    read = await parser.read([ReportFile(tmp_path / "b", tmp_path / "read", None, None, None)], ReportLimits())
    assert read.summary.results == 1


@pytest.mark.parametrize("limit_mib", range(48, 144, 16))
async def test_report_is_read_or_needs_too_much_memory_whatever_the_limit(
    tmp_path: Path, parser: ParserProcess, limit_mib: int
) -> None:
    """The limit is reached by expat, Python, orjson, or not at all, and the next report is read."""
    small, large = (ReportFile(tmp_path / name, tmp_path / "read", None, None, None) for name in ("small", "large"))
    small.source.write_text('<testsuite><testcase name="a"/></testsuite>')
    large.source.write_text(f'<testsuite><testcase name="{"🦊" * 2**21}"/></testsuite>')
    try:
        read = await parser.read([large], ReportLimits(max_memory_bytes=limit_mib * 2**20))
        assert read.summary.results == 1
    except ParserCrashed as error:
        assert f"needs more than {limit_mib} MiB of memory" in str(error)  # noqa: PT017
    assert (await parser.read([small], ReportLimits())).summary.results == 1


@pytest.mark.nightly
@pytest.mark.parametrize("padding", [0, 400])
async def test_upload_with_the_maximum_number_of_results_fits_into_the_memory(
    tmp_path: Path, parser: ParserProcess, padding: int
) -> None:
    """The names of several reports are compared with each other. Those with the padding are 1.7 GB together."""
    reports = [ReportFile(tmp_path / f"{name}.xml", tmp_path / name, name, None, None) for name in "ab"]
    for report in reports:
        with report.source.open("w") as file:
            file.write("<testsuite>")
            for number in range(MAX_REPORT_ROWS // len(reports)):
                suite, name = f"shop.{report.name}.{number // 100}", f"adds {number}"
                file.write(f'<testcase classname="{suite:<{padding}}" name="{name:<{padding}}"/>')
            file.write("</testsuite>")
    assert (await parser.read(reports, ReportLimits())).summary.results == MAX_REPORT_ROWS
