"""The parts that all commands share: validated text arguments, output for terminals, and errors printed as one line.

The client imports this module, so it and its imports run on Python 3.10 and need no package except click.
"""

import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from io import StringIO, TextIOWrapper
from typing import Any, Final

import click

from service.domain.errors import ServiceError, did_you_mean
from service.domain.texts import DIRECTIONS
from service.version import NAME, describe_build

CONTEXT: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 120}
_MAX_SHOWN: Final = 100  # characters of an invalid argument
_INTERRUPTED: Final = 130  # 128 + SIGINT, as in shells
# Control characters, ends of lines, and characters that reorder the text that follows.
_UNSAFE: Final = re.compile(f"[\x00-\x1f\x7f-\x9f\u2028\u2029]|{DIRECTIONS.pattern}")


class CheckedText(click.ParamType[str]):
    """A text argument. `check` returns the valid text, or raises ValueError, whose message states the requirement."""

    envvar_list_splitter = "\n"  # between the values of a repeatable option

    def __init__(self, check: Callable[[str], str], metavar: str, *, is_secret: bool = False) -> None:
        self.name = metavar
        self._check = check
        self._is_secret = is_secret

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the checked text. An error message never contains a secret."""
        try:
            return self._check(value)
        except ValueError as error:
            shown = "the value" if self._is_secret else repr(value[:_MAX_SHOWN])
            self.fail(f"{shown} {error}", param, ctx)


class IntegerRange(click.IntRange):
    """An integer within limits, which the error about another value states."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the integer."""
        try:
            return int(super().convert(value, param, ctx))
        except click.BadParameter:
            limits = f"of at least {self.min}" if self.max is None else f"from {self.min} to {self.max}"
            self.fail(f"{value!r} must be an integer {limits}", param, ctx)


class NameChoice(click.Choice[str]):
    """One of several names. The error about another one states the name that it probably means, or else all."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """Return the error message."""
        hint = did_you_mean(str(value), self.choices)
        return f"{value!r} is not supported{hint}" if hint else super().get_invalid_choice_message(value, ctx)


def run_command(command: click.Command, name: str, arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit: with 2 for invalid arguments, 130 after Ctrl-C, and 1 after any other error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # on Windows, its encoding lacks most languages
            stream.reconfigure(errors="backslashreplace")
    raise SystemExit(_run(command, name, arguments))


def _run(command: click.Command, name: str, arguments: Sequence[str] | None) -> int:
    try:
        code = command.main(arguments, prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        shown = StringIO()
        error.show(shown)
        print_text(shown.getvalue(), err=True)
        return error.exit_code
    except click.Abort:
        return _INTERRUPTED
    except ServiceError as error:
        return _print_error(str(error))
    except OSError as error:
        if error.errno is None:
            raise
        return _print_error(f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror))
    return code if isinstance(code, int) else 0


def _print_error(message: str) -> int:
    print_text(f"Error: {message}", err=True)
    return 1


def escape_line(text: str) -> str:
    """Return the text with each unsafe character as in JSON, such as `\\u001b`, so that it can't control a terminal.

    The value of a JSON document on one line stays the same.
    """
    return text if text.isascii() and text.isprintable() else _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def print_line(text: str, *, err: bool = False, **styles: Any) -> None:
    """Print one line on stdout or stderr, safely for terminals. `styles` are arguments of `click.style`."""
    line = escape_line(text)
    click.echo(click.style(line, **styles) if styles else line, err=err, color=_colors())


def _colors() -> bool | None:
    """Return whether to print colors (no-color.org, force-color.org). None means only on a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    return True if os.environ.get("FORCE_COLOR") else None


def print_text(text: str, *, err: bool = False) -> None:
    """Print the lines of a text, safely for terminals."""
    for line in text.removesuffix("\n").split("\n"):
        print_line(line, err=err)


def print_warnings(messages: Iterable[str]) -> None:
    """Print each message as a warning to stderr, because stdout contains the output of the command."""
    for message in messages:
        print_text(f"Warning: {message}", err=True)


def confirm(question: str, *, is_confirmed: bool) -> None:
    """Ask on the terminal whether to continue, unless the option --yes has confirmed it.

    Raises UsageError if stdin isn't a terminal, and ClickException if the user doesn't agree.
    """
    if is_confirmed:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("--yes: is required, because stdin isn't a terminal")
    if not click.confirm(escape_line(question), err=True):
        raise click.ClickException("not confirmed; nothing was changed")


def _print_version(ctx: click.Context, _: click.Parameter, is_given: bool) -> None:
    if is_given and not ctx.resilient_parsing:
        print_line(f"{NAME} {describe_build()}")
        ctx.exit()


version_option: Final = click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version,
    help="Show the version and exit.",
)  # fmt: skip
