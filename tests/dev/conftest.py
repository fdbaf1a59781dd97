"""Small programs that stand for the parts of a stack."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from service.dev.programs import Program

# Appends its name to a file when it is told to stop, so that a test can see who stopped when.
SLEEPER = """
import signal, sys, time
def stop(*_):
    with open(sys.argv[1], "a") as stopped:
        stopped.write(sys.argv[2] + "\\n")
    sys.exit()
signal.signal(signal.SIGTERM, stop)
print("running", flush=True)
time.sleep(300)
"""


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """The file that sleepers write their names into."""
    return tmp_path / "stopped"


@pytest.fixture
def sleeper(tmp_path: Path, stopped: Path) -> Callable[[str], Program]:
    """Makes a prepared part that sleeps; two with one name are the same part to an earlier and a later start."""

    def make(name: str) -> Program:
        log = tmp_path / f"{name}.log"
        log.unlink(missing_ok=True)
        command = [sys.executable, "-c", SLEEPER, str(stopped), name]
        part = Program(name, command, tmp_path, log=log, is_ready=lambda: log.exists() and "running" in log.read_text())
        part.prepare()
        return part

    return make
