"""Output for terminals and for the logs of CI jobs."""

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from service.command_line import escape_line, print_text
from service.failures.model import to_line

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar


_COMMAND: Final = re.compile(r"^[^\S\n]*::|##(?=\[|vso\[|teamcity\[)", re.MULTILINE)


class Progress:
    """A progress bar on stderr, which is hidden if stderr isn't a terminal."""

    def __init__(self, bar: "ProgressBar[int]") -> None:
        self._bar = bar

    def set_position(self, position: int) -> None:
        """Move the bar to an absolute position."""
        self._bar.update(position - self._bar.pos)

    def advance(self, steps: int) -> None:
        """Move the bar by a number of steps, which is negative for a retry."""
        self._bar.update(steps)

    def set_label(self, label: str) -> None:
        """Change the text before the bar."""
        self._bar.label = escape_line(label)


@contextlib.contextmanager
def show_progress(label: str, length: int) -> Iterator[Progress]:
    """Show a progress bar that ends at position `length`."""
    with click.progressbar(
        length=length, label=escape_line(label), file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        yield Progress(bar)


def print_message(text: str) -> None:
    """Print a message on stderr. Names of a producer in it can't be commands for a CI system."""
    print_text(without_commands(text), err=True)


@contextlib.contextmanager
def ignore_closed_stdout() -> Iterator[None]:
    """Continue if the reader of stdout has closed it. Later output is discarded."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # Without a valid stdout, the interpreter would fail at exit and change the exit code.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def printable_line(text: str) -> str:
    """Return text of a producer as one line without control characters and without commands for a CI system."""
    return without_commands(to_line(text))


def without_commands(text: str) -> str:
    """Return the text with a space in everything that a CI system would execute.

    GitHub Actions executes `::command::` at the start of a line and `##[command]` anywhere, Azure Pipelines executes
    `##vso[command]`, and TeamCity executes `##teamcity[command]`.
    """
    return _COMMAND.sub(lambda match: f"{match[0][:-1]} {match[0][-1]}", text)


def to_json(value: Any) -> str:
    """Return a value as JSON on one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def append_to_github_file(variable: str, text: str) -> None:
    """Append text to the file that GitHub Actions names in this variable, if this process is part of a step."""
    target = os.environ.get(variable)
    if not target:
        return
    try:
        with Path(target).open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        print_message(f"{variable} can't be written: {error}")
