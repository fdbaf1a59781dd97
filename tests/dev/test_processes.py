"""Tests of child processes whose parent was killed, and of unrelated processes with a reused pid."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.dev.processes import Process, identity, wait_until

PARENT = """
import os, signal, sys
from pathlib import Path
from service.dev.processes import Process, wait_until
child = Process("child", Path(sys.argv[1]))
child.launch(["sh", "-c", sys.argv[2] + "; echo running; exec sleep 300"])
wait_until(child.tail_of_log, 5)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def unrelated() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "300"]) as process:
        yield process
        process.kill()


def child_of_killed_parent(directory: Path, setup: str) -> int:
    """Run a parent that launches a child and kills itself; return the pid of the child."""
    parent = subprocess.run([sys.executable, "-c", PARENT, str(directory), setup], check=False)
    assert parent.returncode == -signal.SIGKILL
    return int((directory / "child.pid").read_text().split()[0])


def test_child_exits_when_its_parent_is_killed(tmp_path: Path) -> None:
    pid = child_of_killed_parent(tmp_path, setup="true")
    assert wait_until(lambda: identity(pid) is None, 5)


def test_child_that_outlived_its_parent_is_stopped_by_the_next_start(tmp_path: Path) -> None:
    pid = child_of_killed_parent(tmp_path, setup="trap '' TERM")
    assert not wait_until(lambda: identity(pid) is None, 0.3)
    Process("child", tmp_path, stop_timeout_s=0.2).stop_orphan()
    assert identity(pid) is None


def test_unrelated_process_with_a_reused_pid_is_not_stopped(tmp_path: Path, unrelated: subprocess.Popen[bytes]) -> None:
    start_time, boot = str(identity(unrelated.pid)).split()
    (tmp_path / "child.pid").write_text(f"{unrelated.pid} {int(start_time) - 1} {boot}\n")
    Process("child", tmp_path).stop_orphan()
    assert unrelated.poll() is None


def test_unrelated_process_of_another_boot_is_not_stopped(tmp_path: Path, unrelated: subprocess.Popen[bytes]) -> None:
    start_time, _ = str(identity(unrelated.pid)).split()
    (tmp_path / "child.pid").write_text(f"{unrelated.pid} {start_time} another-boot\n")
    Process("child", tmp_path).stop_orphan()
    assert unrelated.poll() is None


@pytest.mark.parametrize("written", ["", "12", "nonsense"])
def test_invalid_pid_file_is_removed(tmp_path: Path, written: str) -> None:
    (tmp_path / "child.pid").write_text(written)
    Process("child", tmp_path).stop_orphan()
    assert not (tmp_path / "child.pid").exists()


def test_process_that_ignores_its_stop_signal_is_killed(tmp_path: Path) -> None:
    child = Process("child", tmp_path, stop_timeout_s=0.2)
    child.launch(["sh", "-c", "trap '' TERM; echo ready; exec sleep 300"])
    assert wait_until(lambda: "ready" in child.tail_of_log(), 5)
    child.stop()
    assert child.exit_code == -signal.SIGKILL


def test_second_launch_of_a_running_process_fails(tmp_path: Path) -> None:
    child = Process("child", tmp_path)
    child.launch(["sleep", "300"])
    with pytest.raises(RuntimeError, match="already running"):
        child.launch(["sleep", "300"])
    child.stop()


def test_launch_outside_of_the_main_thread_fails(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as threads, pytest.raises(RuntimeError, match="main thread"):
        threads.submit(Process("child", tmp_path).launch, ["sleep", "300"]).result()
