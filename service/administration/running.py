"""What the commands of operators share: execution with the settings and the database, output, and argument types."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Concatenate, Final, ParamSpec, TypeVar

import click
from pydantic import StringConstraints, TypeAdapter, ValidationError

from service import log
from service.command_line import CheckedText, print_line, print_warnings
from service.contracts.queries import Name
from service.contracts.validation import SLUG, describe_error, validation_errors
from service.database.database import Connection
from service.domain.ids import is_id
from service.identity.members.contract import Email, Group
from service.processes import database_connection, database_errors_explained, database_url
from service.settings import Settings, names_in_use, read_settings, unknown_variables

T = TypeVar("T")
P = ParamSpec("P")


def run(work: Callable[[Settings], Awaitable[T]]) -> T:
    """Return the result of a function that needs the settings of the environment."""

    async def run_work() -> T:
        print_warnings(unknown_variables(names_in_use()))
        settings = read_settings()
        log.set_up(settings.log_level)
        return await work(settings)

    return asyncio.run(run_work())


def run_with_connection(
    work: Callable[Concatenate[Connection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Return the result of a function of a connection to the database and of these arguments."""

    async def connect(settings: Settings) -> T:
        async with database_connection(settings, "results_worker") as connection:
            return await work(connection, *args, **kwargs)

    return run(connect)


def run_with_database_url(work: Callable[[str], Awaitable[T]]) -> T:
    """Return the result of a function that opens its own connections, such as one that changes the schema."""

    async def explain_errors(settings: Settings) -> T:
        async with database_errors_explained():
            return await work(database_url(settings))

    return run(explain_errors)


def print_object(item: Mapping[str, object], id_field: str = "id") -> None:
    """Print the ID of an object, and its other fields that have a value, on one line."""
    others = (f"{name}={value}" for name, value in item.items() if name != id_field and value is not None)
    print_line("  ".join((str(item[id_field]), *others)))


def _check_person(text: str) -> str:
    if not is_id("per", text):
        raise ValueError("must be the ID of a person: per_ and 32 hex digits")
    return text


def _checked(contract: Any, metavar: str) -> CheckedText:
    """Return the argument type of a text that a pydantic type validates."""
    adapter = TypeAdapter[str](contract)

    def check(text: str) -> str:
        try:
            return adapter.validate_python(text)
        except ValidationError as error:
            raise ValueError(describe_error(validation_errors(error)[0])) from None

    return CheckedText(check, metavar)


SLUG_ARGUMENT: Final = _checked(Annotated[str, StringConstraints(pattern=SLUG)], "SLUG")
NAME: Final = _checked(Name, "TEXT")
EMAIL: Final = _checked(Email, "EMAIL")
GROUP: Final = _checked(Group, "TEXT")
PERSON: Final = CheckedText(_check_person, "ID")

organization_option = click.option(
    "--organization", type=SLUG_ARGUMENT, required=True, help="Slug of the organization."
)
