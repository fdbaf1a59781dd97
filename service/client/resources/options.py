"""Options that the commands of this package share."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import click

from service.client.arguments import server_options
from service.client.resources.requests import Requests
from service.commands import IntegerRange, confirm

if TYPE_CHECKING:
    from service.client.servers import ServerKey

DEFAULT_LIMIT: Final = 20


json_option: Final = click.option(
    "--json", "as_json", is_flag=True, help="Print the JSON of the API: one line for each object."
)


def request_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add --url, --key, and --json, which the command receives as its first argument, `Requests`."""

    @functools.wraps(command)
    def run(url: str, key: "ServerKey", as_json: bool, **options: Any) -> None:
        command(Requests(url, key, as_json=as_json), **options)

    return server_options(json_option(run))


def limit_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add --limit and --all, which the command receives as `limit`. None is no limit."""

    @functools.wraps(command)
    def run(*received: Any, limit: int, shows_all: bool, **options: Any) -> None:
        command(*received, limit=None if shows_all else limit, **options)

    limit = click.option(
        "--limit", default=DEFAULT_LIMIT, show_default=True, type=IntegerRange(1), metavar="N",
        help="Maximum number of items.",
    )  # fmt: skip
    return limit(click.option("--all", "shows_all", is_flag=True, help="Print all items.")(run))


def confirmation(question: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds --yes, and asks before the command runs. Options replace {names} in the question."""

    def add(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(*received: Any, is_confirmed: bool, **options: Any) -> None:
            confirm(question.format(**options), is_confirmed=is_confirmed)
            command(*received, **options)

        return click.option("--yes", "is_confirmed", is_flag=True, help="Don't ask for confirmation.")(run)

    return add


def examples(*lines: str) -> str:
    """Return the examples of a command, which its help shows at the end."""
    return "\n".join(("\b", "Examples:", *(f"  zof-results {line}" for line in lines)))
