"""Execution of a command with the settings of the environment and a connection to the database."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, TypeVar

import click
from pydantic import StringConstraints, TypeAdapter, ValidationError

from service import log
from service.command_line import CheckedText, print_warnings
from service.contracts.queries import Name
from service.contracts.validation import SLUG, describe_error, validation_errors
from service.database.database import Connection
from service.domain.ids import is_id
from service.identity.members.contract import Email, Group
from service.processes import database_connection, database_errors_explained, database_url
from service.settings import Settings, names_in_use, read_settings, unknown_variables

T = TypeVar("T")


def with_connection(work: Callable[[Connection], Awaitable[T]]) -> Callable[[Settings], Awaitable[T]]:
    async def run(settings: Settings) -> T:
        async with database_connection(settings, "results_worker") as connection:
            return await work(connection)

    return run


def with_database_url(work: Callable[[str], Awaitable[T]]) -> Callable[[Settings], Awaitable[T]]:
    async def run(settings: Settings) -> T:
        async with database_errors_explained():
            return await work(database_url(settings))

    return run


def run(work: Callable[[Settings], Awaitable[T]]) -> T:
    async def run() -> T:
        print_warnings(unknown_variables(names_in_use()))
        settings = read_settings()
        log.set_up(settings.log_level)
        return await work(settings)

    return asyncio.run(run())


Slug = Annotated[str, StringConstraints(pattern=SLUG)]


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


SLUG_ARGUMENT: Final = _checked(Slug, "SLUG")
NAME: Final = _checked(Name, "TEXT")
EMAIL: Final = _checked(Email, "EMAIL")
GROUP: Final = _checked(Group, "TEXT")
PERSON: Final = CheckedText(_check_person, "ID")

organization_option = click.option(
    "--organization", type=SLUG_ARGUMENT, required=True, help="Slug of the organization."
)
