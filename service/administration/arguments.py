"""Arguments of several commands, validated like the fields of the API."""

from typing import Any, Final

import click
from pydantic import TypeAdapter, ValidationError

from service.commands import CheckedText
from service.contracts.members import Email, Group
from service.contracts.organizations import Slug
from service.contracts.queries import Name
from service.contracts.validation import describe_error, validation_errors
from service.domain.ids import is_id


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


SLUG: Final = _checked(Slug, "SLUG")
NAME: Final = _checked(Name, "TEXT")
EMAIL: Final = _checked(Email, "EMAIL")
GROUP: Final = _checked(Group, "TEXT")
PERSON: Final = CheckedText(_check_person, "ID")

organization_option = click.option("--organization", type=SLUG, required=True, help="Slug of the organization.")
