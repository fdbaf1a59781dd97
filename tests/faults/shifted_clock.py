"""A process of the service whose clock a test can change: `… -m tests.faults.shifted_clock service api`.

The file that RESULTS_TEST_CLOCK_FILE names contains the difference to the real time in seconds. The process reads it
at each use of the clock. The monotonic clock stays correct, as on a machine whose time is changed.
"""

import ctypes
import datetime
import gc
import os
import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

VARIABLE: Final = "RESULTS_TEST_CLOCK_FILE"
MODULE: Final = "tests.faults.shifted_clock"


def shift_clocks(read_offset_s: Callable[[], float]) -> None:
    """Add an offset to `time.time`, `time.time_ns`, and `datetime.now` of this process, also in imported modules."""
    real_time, real_time_ns, real_now = time.time, time.time_ns, datetime.datetime.now

    def now(tz: datetime.tzinfo | None = None) -> datetime.datetime:
        return real_now(tz) + datetime.timedelta(seconds=read_offset_s())

    time.time = lambda: real_time() + read_offset_s()
    time.time_ns = lambda: real_time_ns() + int(read_offset_s() * 1e9)
    _replace(datetime.datetime, "now", staticmethod(now))


def _replace(built_in: type, name: str, value: object) -> None:
    """Replace an attribute of a built-in type, which has no other way to change it."""
    attributes: Any = gc.get_referents(built_in.__dict__)[0]
    attributes[name] = value
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(built_in))


def write_offset(path: Path, offset_s: float) -> None:
    """Change the clock of the processes that read the file."""
    written = path.with_suffix(".new")
    written.write_text(str(offset_s))
    written.replace(path)


if __name__ == "__main__":
    offset_file = Path(os.environ[VARIABLE])
    shift_clocks(lambda: float(offset_file.read_text()))
    module, *sys.argv[1:] = sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
