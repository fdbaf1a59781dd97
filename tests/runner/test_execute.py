"""The execution of a command: its streams, its signals, and its exit code."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.runner.executions import heed_signals

TIMEOUT_S = 30
WRAPPER = (
    "import os, sys\n"
    "from service.client.runner.execute import ChildProcess, leave\n"
    "leave(ChildProcess(sys.argv[1:]).run(os.environ).code)\n"
)
# The command replies to a signal, and leaves no process behind.
TRAP = "trap 'echo caught; kill $!; exit 5' {}; sleep 30 <&- >&- 2>&- & echo ready; wait"


def start(*command: str, **options: Any) -> subprocess.Popen[bytes]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "preexec_fn": heed_signals}
    return subprocess.Popen([sys.executable, "-c", WRAPPER, *command], **{**pipes, **options})


def finish(process: "subprocess.Popen[bytes]", stdin: bytes | None = None) -> tuple[int, bytes, bytes]:
    stdout, stderr = process.communicate(stdin, timeout=TIMEOUT_S)
    return process.returncode, stdout, stderr


@pytest.mark.parametrize(
    ("script", "code"),
    [("true", 0), ("exit 3", 3), ("exit 125", 125), ("exit 255", 255), ("kill -9 $$", 137), ("kill $$", 143)],
)
def test_exit_code_is_that_of_a_shell(script: str, code: int) -> None:
    assert finish(start("sh", "-c", script)) == (code, b"", b"")


def test_command_that_cannot_be_started_has_the_code_of_a_shell(tmp_path: Path) -> None:
    file = tmp_path / "tests"
    file.write_text("#!/bin/sh\n")
    assert finish(start("no-such-command")) == (127, b"", b"no-such-command: not found\n")
    assert finish(start(str(file))) == (126, b"", f"{file}: can't be executed: Permission denied\n".encode())
    assert finish(start(str(tmp_path)))[0] == 126


def test_streams_are_those_of_the_command() -> None:
    sent = bytes(range(256)) * 1_000
    process = start("sh", "-c", "cat; echo problem >&2; cat", stdin=subprocess.PIPE)
    assert finish(process, sent) == (0, sent, b"problem\n")


def test_message_to_a_closed_stderr_does_not_change_the_code() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = start("no-such-command", stderr=writer)
    os.close(writer)
    assert finish(process)[0] == 127


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2"])
def test_signals_are_forwarded(name: str) -> None:
    process = start("sh", "-c", TRAP.format(name), start_new_session=True)
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(getattr(signal, f"SIG{name}"))
    assert finish(process) == (5, b"caught\n", b"")


def test_ignored_signal_stays_ignored() -> None:
    script = "trap '' HUP; exec \"$@\""
    command = ["sh", "-c", script, "sh", sys.executable, "-c", WRAPPER, "sh", "-c", "echo ready; read line; exit 4"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGHUP)
    assert finish(process, b"\n")[0] == 4


def test_terminal_sends_a_signal_once() -> None:
    count = (
        "n=0; trap 'n=$((n + 1)); echo caught' INT; sleep 0.5; echo ready $PPID.;"
        " until [ $n -gt 0 ]; do sleep 0.1; done; sleep 0.5; exit $n"
    )
    main, terminal = pty.openpty()
    command = ["setsid", "--ctty", "--wait", sys.executable, "-c", WRAPPER, "sh", "-c", count]
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    wrapper = int(read_until(main, b".").split()[-1][:-1])
    os.kill(wrapper, signal.SIGSTOP)  # so that both signals would arrive one after the other
    os.write(main, b"\x03")
    read_until(main, b"caught")
    os.kill(wrapper, signal.SIGCONT)
    assert process.wait(TIMEOUT_S) == 1
    os.close(main)


def read_until(terminal: int, end: bytes) -> bytes:
    output = b""
    while end not in output:
        output += os.read(terminal, 1_000)
    return output
