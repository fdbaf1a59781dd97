"""What all commands have in common: arguments checked in the words of the API, and errors as one line."""

import sys
from collections.abc import Sequence
from typing import Any, Final

import click
from pydantic import TypeAdapter, ValidationError

from service.contracts.validation import describe_error, validation_errors
from service.domain.errors import ServiceError

CONTEXT: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 120}
_SHOWN: Final = 100  # characters of a wrong argument
_INTERRUPTED: Final = 130  # as shells have it


class Checked(click.ParamType[str]):
    """A text that a contract describes; what is wrong with it is said in the words of that contract."""

    def __init__(self, contract: Any, metavar: str, *, is_secret: bool = False) -> None:
        self.name = metavar
        self._contract = TypeAdapter[Any](contract)
        self._is_secret = is_secret

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The text as it was given."""
        try:
            self._contract.validate_python(value)
        except ValidationError as error:
            shown = "it" if self._is_secret else repr(value[:_SHOWN])
            self.fail(f"{shown} {describe_error(validation_errors(error)[0])}", param, ctx)
        return value


def run_command(command: click.Command, name: str, arguments: Sequence[str] | None = None) -> None:
    """Runs it and ends the process: with 2 for wrong arguments, 130 after Ctrl-C, 1 where it can't be done."""
    raise SystemExit(_run(command, name, arguments))


def _run(command: click.Command, name: str, arguments: Sequence[str] | None) -> int:
    try:
        code = command.main(arguments, prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return _INTERRUPTED
    except ServiceError as error:
        return _refuse(str(error))
    except OSError as error:
        if error.errno is None:
            raise
        return _refuse(f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror))
    return code if isinstance(code, int) else 0


def _refuse(message: str) -> int:
    click.echo(f"Error: {message}", file=sys.stderr)
    return 1
