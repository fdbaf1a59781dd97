"""What the commands of this package share: their options and requests, the output of responses, and usual commands."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

import click

from service.client.arguments import server_options
from service.client.terminal import print_message, printable_line, to_json
from service.command_line import IntegerRange, confirm, print_line

if TYPE_CHECKING:
    from service.client.http import Server
    from service.client.servers import ServerKey

ApiObject = dict[str, Any]
CellValue = str | Callable[[ApiObject], Any]  # the name of a field, or a function of the object
Columns = Mapping[str, CellValue]  # by title
Params = Sequence[tuple[str, str]]
Decorator = Callable[[Callable[..., None]], Callable[..., None]]

PAGE_SIZE: Final = 100  # items of a page: the most that every list accepts

_DEFAULT_LIMIT: Final = 20
_NONE: Final = "-"
_GAP: Final = "  "
_MAX_PADDING: Final = 60  # a longer cell doesn't widen its column


class Table(NamedTuple):
    """How a list is printed: the plural of its noun, and its columns."""

    noun: str
    columns: Columns


def examples(*lines: str) -> str:
    """Return the examples of a command, which its help shows at the end."""
    return "\n".join(("\b", "Examples:", *(f"  zof-results {line}" for line in lines)))


def request_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add --url, --key, and --json, which the command receives as its first argument, `Requests`."""

    @functools.wraps(command)
    def run(url: str, key: "ServerKey", as_json: bool, **options: Any) -> None:
        command(Requests(url, key, as_json=as_json), **options)

    as_json = click.option(
        "--json", "as_json", is_flag=True, help="Print the JSON of the API: one line for each object."
    )  # fmt: skip
    return server_options(as_json(run))


def limit_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add --limit and --all, which the command receives as `limit`. None is no limit."""

    @functools.wraps(command)
    def run(*received: Any, limit: int, shows_all: bool, **options: Any) -> None:
        command(*received, limit=None if shows_all else limit, **options)

    limit = click.option(
        "--limit", default=_DEFAULT_LIMIT, show_default=True, type=IntegerRange(1), metavar="N",
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


def resource_path(*parts: str) -> str:
    """Return the path of names and IDs below /v1. Only the characters of a producer are escaped."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def to_params(**values: Any) -> list[tuple[str, str]]:
    """Return the query parameters that are set. A name of a parameter that Python reserves ends with an underscore."""
    return [
        (name.rstrip("_"), str(item).lower() if isinstance(item, bool) else str(item))
        for name, value in values.items()
        for item in (value if isinstance(value, tuple) else (value,))
        if item is not None
    ]


def set_fields(**values: Any) -> ApiObject:
    """Return the fields of a request that the options set."""
    return {name: value for name, value in values.items() if value not in (None, (), {})}


def add_list(group: click.Group, table: Table, help_text: str, *example_lines: str) -> None:
    """Add the command `list` for a list without filters, whose path is the name of the group."""

    @group.command("list", help=help_text, epilog=examples(*example_lines))
    @request_options
    @limit_options
    def list_objects(requests: Requests, limit: int | None) -> None:
        requests.show_list(_path(group), table, limit)


def add_show(group: click.Group, argument: Decorator, help_text: str, *example_lines: str) -> None:
    """Add the command `show` for the object that the argument identifies."""

    @group.command("show", help=help_text, epilog=examples(*example_lines))
    @argument
    @request_options
    def show_object(requests: Requests, **ids: str) -> None:
        requests.show(_path(group, *ids.values()))


def add_delete(
    group: click.Group, argument: Decorator, deleted: str, question: str, help_text: str, *example_lines: str
) -> None:
    """Add the command `delete`, which asks the question first. `deleted` is the noun of its message."""

    @group.command("delete", help=help_text, epilog=examples(*example_lines))
    @argument
    @request_options
    @confirmation(question)
    def delete_object(requests: Requests, **ids: str) -> None:
        requests.send("DELETE", _path(group, *ids.values()))
        print_message(f"deleted the {deleted} {' '.join(ids.values())}")


def add_action(group: click.Group, name: str, argument: Decorator, help_text: str, *example_lines: str) -> None:
    """Add a command that sends POST to the path of an object, followed by the name of the command."""

    @group.command(name, help=help_text, epilog=examples(*example_lines))
    @argument
    @request_options
    def send_action(requests: Requests, **ids: str) -> None:
        requests.send("POST", _path(group, *ids.values(), name))


def _path(group: click.Group, *parts: str) -> str:
    return resource_path(group.name or "", *parts)


class Requests:
    """The requests to a server, whose responses are printed as text or as the JSON of the API."""

    def __init__(self, url: str, key: "ServerKey", *, as_json: bool) -> None:
        self._url = url
        self._key = key
        self._as_json = as_json

    def show(self, path: str, params: Params = ()) -> None:
        """Print one object. Raises ServerError."""
        with self._open() as server:
            self._print(server.get(path, params))

    def show_list(self, path: str, table: Table, limit: int | None, params: Params = ()) -> None:
        """Print at most `limit` items of a list: a table, or one line of JSON for each item.

        Raises ClientError, also for an empty list of a project that doesn't exist.
        """
        with self._open() as server:
            pages = _Pages(server, path, params, limit)
            if self._as_json:
                for page in pages.read():
                    for item in page:
                        print_line(to_json(item))
            else:
                _print_table(table.columns, pages.read())
            project = dict(params).get("project_id")
            if project and not pages.count:  # a misspelled project must not look like one without failures
                from service.client.servers import check_project  # which is loaded with the server

                check_project(server, project)
        if not pages.count and not self._as_json:
            print_message(f"no {table.noun}")
        if pages.has_more:
            print_message(f"there are more {table.noun}: use a larger --limit, or --all")
        if pages.is_truncated:
            print_message("the list is incomplete, because the server reached a limit: use a shorter range")

    def send(self, method: str, path: str, document: Any = None, params: Params = ()) -> ApiObject:
        """Send a request that changes something, print the object in the response, and return it. Raises ServerError.

        Without an object, return an empty one.
        """
        with self._open() as server:
            changed: ApiObject = server.send(method, path, document, params) or {}
        if changed:
            self._print(changed)
        return changed

    @contextlib.contextmanager
    def _open(self) -> "Iterator[Server]":
        from service.client.servers import open_server  # only when a request is sent, because it is slow

        with open_server(self._url, self._key) as server:
            yield server

    def _print(self, item: ApiObject) -> None:
        if self._as_json:
            print_line(to_json(item))
        else:
            _print_fields(item)


class _Pages:
    """The pages of a list until its limit or its end. `has_more` states which of them ended it."""

    def __init__(self, server: "Server", path: str, params: Params, limit: int | None) -> None:
        self.count = 0  # of the items that were read
        self.has_more = False
        self.is_truncated = False
        self._server = server
        self._path = path
        self._params = params
        self._remaining = limit

    def read(self) -> Iterator[list[ApiObject]]:
        """Yield the items of each page, which can be empty."""
        cursor: Params = ()
        while True:
            size = PAGE_SIZE if self._remaining is None else min(PAGE_SIZE, self._remaining)
            page = self._server.get(self._path, [*self._params, ("limit", str(size)), *cursor])
            self.has_more, self.is_truncated = page["has_more"], page.get("truncated", False)
            self.count += len(page["data"])
            yield page["data"]
            if self._remaining is not None:
                self._remaining -= len(page["data"])
            if not self.has_more or self._remaining == 0:
                return
            cursor = [("starting_after", page["next_cursor"])]


def _print_table(columns: Columns, pages: Iterable[Sequence[ApiObject]]) -> None:
    """Print pages of objects as one table, each as soon as it is read."""
    widths = list(map(len, columns))
    titles = [list(columns)]
    for page in pages:
        rows = [[_cell(item, value) for value in columns.values()] for item in page]
        if rows:
            rows, titles = [*titles, *rows], []
        for row in rows:
            widths = list(map(max, widths, map(len, row)))
        for row in rows:
            padded = (cell.ljust(min(width, _MAX_PADDING)) for cell, width in zip(row, widths, strict=True))
            print_line(_GAP.join(padded).rstrip())


def _cell(item: ApiObject, value: CellValue) -> str:
    """Return the text of a field or function. A field that an older server doesn't send has no value."""
    return to_text(item.get(value) if isinstance(value, str) else value(item))


def _print_fields(item: Mapping[str, Any]) -> None:
    """Print each field of an object on a line of its own, and a list of objects as several lines."""
    width = max(map(len, item), default=0)
    for name, value in item.items():
        is_list = isinstance(value, list) and any(isinstance(each, dict) for each in value)
        first, *others = map(to_text, value) if is_list else [to_text(value)]
        print_line(f"{name:{width}}{_GAP}{first}")
        for line in others:
            print_line(f"{'':{width}}{_GAP}{line}")


def to_text(value: Any) -> str:
    """Return a JSON value as one line. Null, an empty list, and an empty object are a hyphen."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        value = ", ".join(f"{name}: {to_text(item)}" for name, item in value.items())
    elif isinstance(value, list):
        value = ", ".join(map(to_text, value))
    return (printable_line(str(value)) if value is not None else "") or _NONE
