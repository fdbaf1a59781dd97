"""A shell that executes the commands of a page in order, as a reader does."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tests.docs.blocks import Command, is_like

_MARK = "\x1e"
_TIMEOUT_S = 900


class Done(NamedTuple):
    """A command that ended, with its output on stdout and stderr."""

    command: Command
    exit_code: int
    output: str


def execute(commands: Sequence[Command], folder: Path, variables: Mapping[str, str]) -> list[Done]:
    """Execute the commands in one shell in the folder, with these variables and those of the tests."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RESULTS_", "OTEL_"))}
    shell = subprocess.Popen(
        ["bash", "-c", "".join(map(_step, commands))], cwd=folder, env={**inherited, **variables},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        out, _ = shell.communicate(timeout=_TIMEOUT_S)
    finally:
        _kill_group(shell.pid)
    return list(map(_done, commands, out.split(_MARK)))


def differences(done: Sequence[Done]) -> list[str]:
    """Return the commands that failed or whose output isn't the one that the page shows.

    A command can fail if the page then shows its exit code with `echo $?`.
    """
    following = [*done[1:], None]
    return [
        f"$ {each.command.text}\nexit code {each.exit_code}, output:\n{each.output}\nshown:\n{each.command.output}"
        for each, after in zip(done, following, strict=True)
        if (each.exit_code and not (after and after.command.text == "echo $?"))
        or (each.command.output and not is_like(each.command.output, each.output))
    ]


def _step(command: Command) -> str:
    r"""Return the command, and the output of a mark with its exit code, which the next command can read as `$?`."""
    return f"{command.text}\n__code=$?; printf '%s\\036' $__code; (exit $__code)\n"


def _done(command: Command, printed: str) -> Done:
    output, code = printed, ""
    while output[-1:].isdigit():
        output, code = output[:-1], output[-1] + code
    return Done(command, int(code), output)


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
