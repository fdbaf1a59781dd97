"""What becomes of processes whose parent was killed, and of strangers that merely have their pid."""

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
wait_until(child.last_words, 5)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "300"]) as process:
        yield process
        process.kill()


def killed_parent(directory: Path, trap: str) -> int:
    """Runs a parent that launches a child and is killed; returns the child's pid."""
    parent = subprocess.run([sys.executable, "-c", PARENT, str(directory), trap], check=False)
    assert parent.returncode == -signal.SIGKILL
    return int((directory / "child.pid").read_text().split()[0])


def test_child_ends_with_its_killed_parent(tmp_path: Path) -> None:
    pid = killed_parent(tmp_path, trap="true")
    assert wait_until(lambda: identity(pid) is None, 5)


def test_child_that_outlived_its_parent_is_ended_by_the_next_start(tmp_path: Path) -> None:
    pid = killed_parent(tmp_path, trap="trap '' TERM")
    assert not wait_until(lambda: identity(pid) is None, 0.3)
    Process("child", tmp_path, stop_timeout_s=0.2).end_leftover()
    assert identity(pid) is None


def test_stranger_with_a_recycled_pid_is_left_alone(tmp_path: Path, stranger: subprocess.Popen[bytes]) -> None:
    born, boot = str(identity(stranger.pid)).split()
    (tmp_path / "child.pid").write_text(f"{stranger.pid} {int(born) - 1} {boot}\n")
    Process("child", tmp_path).end_leftover()
    assert stranger.poll() is None


def test_stranger_of_another_boot_is_left_alone(tmp_path: Path, stranger: subprocess.Popen[bytes]) -> None:
    born, _ = str(identity(stranger.pid)).split()
    (tmp_path / "child.pid").write_text(f"{stranger.pid} {born} another-boot\n")
    Process("child", tmp_path).end_leftover()
    assert stranger.poll() is None


@pytest.mark.parametrize("written", ["", "12", "nonsense"])
def test_broken_pid_file_is_no_obstacle(tmp_path: Path, written: str) -> None:
    (tmp_path / "child.pid").write_text(written)
    Process("child", tmp_path).end_leftover()
    assert not (tmp_path / "child.pid").exists()


def test_process_that_ignores_its_stop_signal_is_killed(tmp_path: Path) -> None:
    child = Process("child", tmp_path, stop_timeout_s=0.2)
    child.launch(["sh", "-c", "trap '' TERM; echo deaf; exec sleep 300"])
    assert wait_until(lambda: "deaf" in child.last_words(), 5)
    child.stop()
    assert child.exit_code == -signal.SIGKILL


def test_second_launch_of_a_running_process_is_refused(tmp_path: Path) -> None:
    child = Process("child", tmp_path)
    child.launch(["sleep", "300"])
    with pytest.raises(RuntimeError, match="running already"):
        child.launch(["sleep", "300"])
    child.stop()


def test_launch_from_a_thread_is_refused_since_the_child_would_end_with_it(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as threads, pytest.raises(RuntimeError, match="main thread"):
        threads.submit(Process("child", tmp_path).launch, ["sleep", "300"]).result()
