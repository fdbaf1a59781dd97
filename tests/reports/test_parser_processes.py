"""Parser processes, observed from outside of the worker."""

import subprocess
import sys
from pathlib import Path

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
    print("read", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def test_killed_worker_leaves_no_warning_in_the_log(tmp_path: Path) -> None:
    (tmp_path / "junit.xml").write_text('<testsuite><testcase name="a"/></testsuite>')
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_READING, str(tmp_path)], capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert killed.stdout == "read\n"
    assert killed.stderr == ""
