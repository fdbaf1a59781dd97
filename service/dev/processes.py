"""Child processes that are remembered on disk, so that none outlives its parent unseen."""

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
    """At most one running process under a name; its pid file tells a later start what an earlier one left."""

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
        """Starts it in its own session. Main thread only: the kernel ends the child with the *thread*."""
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError(f"launch {self.name} from the main thread; wait for it anywhere")
        if self.is_running():
            raise RuntimeError(f"{self.name} is running already")
        self.end_leftover()
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
                preexec_fn=_dies_with_parent(self._stop_signal),
            )
        self._pid_file.write_text(f"{self._child.pid} {identity(self._child.pid)}\n")

    def send(self, number: signal.Signals) -> None:
        if self._child:
            self._child.send_signal(number)

    def stop(self, number: signal.Signals | None = None) -> None:
        """Asks it to stop, and kills it where it doesn't within its time."""
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

    def end_leftover(self) -> None:
        """Ends what an earlier parent left running, and never a process that merely has the same pid."""
        if self.is_running() or not self._pid_file.exists():
            return
        pid, _, known_as = self._pid_file.read_text().strip().partition(" ")
        if pid.isdecimal():  # a machine that went down while the file was written leaves less than that
            end_stranger(int(pid), known_as, self._stop_signal, self._stop_timeout_s)
        self._pid_file.unlink()

    def last_words(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""


def identity(pid: int) -> str | None:
    """When the process began and in which boot; None when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, start_ticks = fields[0], fields[19]
    return None if state in "ZX" else f"{start_ticks} {boot}"


def end_stranger(pid: int, known_as: str, number: signal.Signals, timeout_s: float) -> None:
    """Ends a process that isn't our child, as long as its identity is the one it was known by."""
    for attempt, wait_s in ((number, timeout_s), (signal.SIGKILL, _KILL_TIMEOUT_S)):
        if identity(pid) != known_as:
            return
        os.kill(pid, attempt)
        if wait_until(lambda: identity(pid) != known_as, wait_s):
            return
    raise RuntimeError(f"process {pid}, left by an earlier start, can't be ended")


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def rotate(log: Path) -> None:
    if log.exists() and log.stat().st_size > _LOG_LIMIT_BYTES:
        log.replace(log.with_suffix(".log.1"))


def _dies_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    libc, parent = ctypes.CDLL(None), os.getpid()

    def ask_kernel() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            os._exit(1)

    return ask_kernel
