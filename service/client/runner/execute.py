"""The execution of a command: its process, the signals that it gets, and its exit code."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, NoReturn

from service.client.terminal import print_message

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
MAX_OWN_CODE: Final = 125  # a shell and this command use the codes above it
_SIGNALLED: Final = 128
_FORWARDED: Final = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
_OF_TERMINAL: Final = ("SIGINT", "SIGQUIT")


class ExitOutcome(NamedTuple):
    """The end of a command: its exit code as a shell states it, and the number of the signal that ended it, or None."""

    code: int
    signal: int | None = None


class ChildProcess:
    """A command that is executed once, with the stdin, stdout, and stderr of this process.

    As soon as it starts, signals are forwarded to it. After its end, a signal ends this process at once, with the code
    of the command. Signals that this process ignores stay ignored.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._child: subprocess.Popen[bytes] | None = None
        self._pending: list[int] = []
        self._code: int | None = None

    def run(self, environment: Mapping[str, str]) -> ExitOutcome:
        """Execute the command until it ends. A command that can't be started has the code 127 or 126."""
        for number in (getattr(signal, name) for name in _FORWARDED if hasattr(signal, name)):
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._handle)
        outcome = self._run(environment)
        self._code = outcome.code
        return outcome

    def _run(self, environment: Mapping[str, str]) -> ExitOutcome:
        try:
            self._child = subprocess.Popen(self._command, env=environment)
        except (OSError, ValueError) as error:
            is_missing = isinstance(error, FileNotFoundError)
            reason = "not found" if is_missing else f"can't be executed: {getattr(error, 'strerror', None) or error}"
            with contextlib.suppress(OSError):
                print_message(f"{self._command[0]}: {reason}")
            return ExitOutcome(NOT_FOUND if is_missing else NOT_EXECUTABLE)
        for number in self._pending:
            self._child.send_signal(number)
        code = self._child.wait()
        return ExitOutcome(_SIGNALLED - code, -code) if code < 0 else ExitOutcome(code)

    def _handle(self, number: int, _: Any) -> None:
        if self._code is not None:
            leave(self._code)
        if self._child is None:
            self._pending.append(number)
        elif not (signal.Signals(number).name in _OF_TERMINAL and _is_in_foreground()):
            self._child.send_signal(number)


def leave(code: int) -> NoReturn:
    """End this process at once, without a wait for its threads."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _is_in_foreground() -> bool:
    """Return whether the terminal sends its signals to all processes of this group, and so to the command, too."""
    if sys.platform == "win32":
        return True
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
