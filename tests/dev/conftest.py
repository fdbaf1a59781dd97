"""Small programs that replace the components of a stack."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from service.dev.programs import Program

# Appends its name to a file when it receives SIGTERM, so that a test can check the order of stops.
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
    """The file to which sleepers append their names when they stop."""
    return tmp_path / "stopped"


@pytest.fixture
def start_sleeper(tmp_path: Path, stopped: Path) -> Callable[[str], Program]:
    """Return a factory of prepared components that sleep; the same name means the same component."""

    def prepare(name: str) -> Program:
        log = tmp_path / f"{name}.log"
        log.unlink(missing_ok=True)
        command = [sys.executable, "-c", SLEEPER, str(stopped), name]
        is_ready = lambda: log.exists() and "running" in log.read_text()  # noqa: E731
        component = Program(name, command, tmp_path, log=log, is_ready=is_ready)
        component.prepare()
        return component

    return prepare
