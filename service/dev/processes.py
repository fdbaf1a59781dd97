"""Child processes with pid files, so that a later start can stop a process that outlived its parent."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_POLL_S: Final = 0.02
_KILL_TIMEOUT_S: Final = 10.0
_LOG_LIMIT_BYTES: Final = 10_000_000


class Process:
    """A named child process; its pid file identifies a process that an earlier start left running."""

    def __init__(
        self,
        name: str,
        directory: Path,
        *,
        log: Path | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        stop_timeout_s: float = 15.0,
    ) -> None:
        self.name = name
        self.log = log or directory / f"{name}.log"
        self._pid_file = directory / f"{name}.pid"
        self._stop_signal = stop_signal
        self._stop_timeout_s = stop_timeout_s
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child and self.is_running() else None

    @property
    def exit_code(self) -> int | None:
        return self._child.poll() if self._child else None

    def is_running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def launch(self, command: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
        """Start the process in its own session.

        Raises RuntimeError outside of the main thread (the kernel ends the child with the thread that started it) or
        if the process is already running.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError(f"{self.name}: must be launched from the main thread")
        if self.is_running():
            raise RuntimeError(f"{self.name}: already running")
        self.stop_orphan()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        rotate(self.log)
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
                preexec_fn=_signal_on_parent_exit(self._stop_signal),
            )
        self._pid_file.write_text(f"{self._child.pid} {identity(self._child.pid)}\n")

    def send(self, number: signal.Signals) -> None:
        if self._child:
            self._child.send_signal(number)

    def stop(self, number: signal.Signals | None = None) -> None:
        """Send the stop signal; kill the process if it doesn't exit within `stop_timeout_s`."""
        if self._child is None:
            return
        self._child.send_signal(number or self._stop_signal)
        try:
            self._child.wait(self._stop_timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
        self._pid_file.unlink(missing_ok=True)

    def kill(self) -> None:
        if self._child and self.is_running():
            os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait(_KILL_TIMEOUT_S)

    def stop_orphan(self) -> None:
        """Stop the process of an earlier start; an unrelated process that has the same pid now is not affected."""
        if self.is_running() or not self._pid_file.exists():
            return
        pid, _, expected_identity = self._pid_file.read_text().strip().partition(" ")
        if pid.isdecimal():  # the file is incomplete if the machine crashed during the write
            stop_process(int(pid), expected_identity, self._stop_signal, self._stop_timeout_s)
        self._pid_file.unlink()

    def tail_of_log(self, lines: int = 15) -> str:
        """Return the last lines of the log; empty if it doesn't exist."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""


def identity(pid: int) -> str | None:
    """Return the start time of the process and the boot ID; None if it doesn't exist or is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, start_ticks = fields[0], fields[19]
    return None if state in "ZX" else f"{start_ticks} {boot}"


def stop_process(pid: int, expected_identity: str, number: signal.Signals, timeout_s: float) -> None:
    """Stop a process that isn't a child of this one if it still has the expected identity."""
    for next_signal, wait_s in ((number, timeout_s), (signal.SIGKILL, _KILL_TIMEOUT_S)):
        if identity(pid) != expected_identity:
            return
        os.kill(pid, next_signal)
        if wait_until(lambda: identity(pid) != expected_identity, wait_s):
            return
    raise RuntimeError(f"process {pid} of an earlier start can't be stopped")


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Poll `condition` until it is true; return False after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def rotate(log: Path) -> None:
    """Rename a log of more than 10 MB to `*.log.1`."""
    if log.exists() and log.stat().st_size > _LOG_LIMIT_BYTES:
        log.replace(log.with_suffix(".log.1"))


def _signal_on_parent_exit(number: signal.Signals) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    libc, parent = ctypes.CDLL(None), os.getpid()

    def request_signal() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            os._exit(1)

    return request_signal
