"""The injected causes of failures have their effect: a filled disk rejects writes, and a changed clock is changed."""

import os
import subprocess
import sys
from errno import ENOSPC
from pathlib import Path
from time import time

import pytest

from tests.faults.shifted_clock import MODULE, VARIABLE, write_offset
from tests.faults.small_disks import FILES, DiskUnavailable, small_disks

_PRINT_CLOCKS = """
import time
from datetime import UTC, datetime
print(time.time(), time.time_ns() / 1e9, datetime.now(UTC).timestamp(), datetime.now().timestamp())
"""


def test_filled_disk_rejects_writes_until_it_is_cleared(tmp_path: Path) -> None:
    try:
        with small_disks(tmp_path) as disks:
            disk, file = disks[FILES], disks[FILES].path / "file"
            disk.fill()
            with pytest.raises(OSError, match="No space left") as raised:
                file.write_bytes(b"x" * 100_000)
            assert raised.value.errno == ENOSPC
            disk.clear()
            file.write_bytes(b"x" * 100_000)
            disk.fill(2**20)
            file.with_name("other").write_bytes(b"x" * 100_000)
    except DiskUnavailable as error:
        pytest.skip(f"a disk can't be mounted: {error}")
    assert list(disk.path.iterdir()) == []


@pytest.mark.parametrize("offset_s", [-200_000, 0, 200_000])
def test_process_reads_the_changed_clock(tmp_path: Path, offset_s: int) -> None:
    (tmp_path / "print_clocks.py").write_text(_PRINT_CLOCKS)
    write_offset(tmp_path / "offset", offset_s)
    environment = {**os.environ, VARIABLE: str(tmp_path / "offset"), "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", MODULE, "print_clocks"]
    printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    assert [float(clock) - time() for clock in printed.split()] == [pytest.approx(offset_s, abs=600)] * 4
