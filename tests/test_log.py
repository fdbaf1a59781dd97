"""Tests of log lines, also of lines that can't be written because the disk is full."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from service.dev.ports import choose_port

TIMEOUT_S = 30
WRITE_AFTER_FAILURES = """
import io, sys

class Disk(io.RawIOBase):
    is_full, lines = True, []
    def writable(self): return True
    def write(self, data):
        if self.is_full:
            raise OSError(28, "No space left on device")
        self.lines.append(bytes(data))
        return len(data)

disk = Disk()
sys.stderr = io.TextIOWrapper(io.BufferedWriter(disk), line_buffering=True)
from service.log import log, set_up
set_up()
log.info("first")
log.info("second")
disk.is_full = False
log.info("third")
log.info("fourth")
print(b"".join(disk.lines).decode())
"""


def test_text_with_invalid_characters_is_logged() -> None:
    """A header can contain any bytes, and an error message can repeat them."""
    call = "log.info('seen', header=b'a\\xff'.decode('ascii', 'surrogateescape'))"
    code = f"from service.log import log, set_up; set_up(); {call}"
    logged = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stderr
    assert json.loads(logged)["header"] == "a\udcff"


LOG_OF_A_LIBRARY = """
import logging
from service.log import set_up
set_up()
library = logging.getLogger("library")
library.warning("connection lost", exc_info=ConnectionResetError(104, "Connection reset by peer"))
library.error("callback failed", exc_info=ZeroDivisionError())
"""


def test_warning_of_a_library_contains_its_error_without_the_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", LOG_OF_A_LIBRARY], capture_output=True, check=True)
    warning, error = (json.loads(line) for line in done.stderr.splitlines())
    assert warning["error"] == "ConnectionResetError(104, 'Connection reset by peer')"
    assert "exception" not in warning
    assert "ZeroDivisionError" in error["exception"]


def test_lines_that_cannot_be_written_are_counted_in_the_next_line() -> None:
    done = subprocess.run([sys.executable, "-c", WRITE_AFTER_FAILURES], capture_output=True, check=True, text=True)
    lines = [json.loads(line) for line in done.stdout.split("\n") if line]
    assert [(line["event"], line.get("lost_log_lines")) for line in lines] == [("third", 2), ("fourth", None)]


@pytest.mark.slow
@pytest.mark.parametrize("process", ["api", "consume"])
def test_full_disk_of_the_log_ends_no_process(database_url: str, tmp_path: Path, process: str) -> None:
    port = choose_port()
    environment = {
        **os.environ,
        "RESULTS_DATABASE_URL": database_url,
        "RESULTS_ARTIFACTS_URL": tmp_path.as_uri(),
        ("RESULTS_HTTP_PORT" if process == "api" else "RESULTS_METRICS_PORT"): str(port),
    }
    with (
        Path("/dev/full").open("wb") as full,
        subprocess.Popen([sys.executable, "-m", "service", process], env=environment, stderr=full) as running,
    ):
        wait_until_responding(running, f"http://127.0.0.1:{port}/metrics")
        running.terminate()
        assert running.wait(TIMEOUT_S) == 0


def wait_until_responding(process: "subprocess.Popen[bytes]", url: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        assert process.poll() is None, "the process has exited"
        try:
            with urlopen(url) as response:
                assert response.status == 200
                return
        except URLError:
            time.sleep(0.05)
    raise AssertionError("the process doesn't respond")
