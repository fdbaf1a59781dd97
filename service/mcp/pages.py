"""Pages of lists of the API, as large as a response of a tool permits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from service.client.http import JsonObject, Server
from service.mcp.documents import count_fitting

_MAX_ROWS_LENGTH: Final = 13_000  # characters of the JSON of all rows
_MAX_EMPTY_PAGES: Final = 5  # a page of the API can be empty although the list continues

RowConverter = Callable[[JsonObject], JsonObject]


@dataclass(frozen=True, slots=True)
class PageOfRows:
    """Converted items of a list. `page` is the response that contained them."""

    rows: Sequence[JsonObject]
    page: JsonObject

    @property
    def continue_with(self) -> JsonObject | None:
        """The arguments of the call that returns the following rows, or None at the end of the list."""
        return {"starting_after": self.page["next_cursor"]} if self.page["has_more"] else None


def read_page(
    server: Server, path: str, filters: Sequence[tuple[str, str | None]], limit: int, convert: RowConverter,
    starting_after: str | None = None,
) -> PageOfRows:  # fmt: skip
    """Return the next page of a list. A page that is too large is read again with fewer rows. Raises ServerError."""
    params = [(name, value) for name, value in filters if value is not None]
    while True:
        page = _read(server, path, [*params, ("limit", str(limit))], starting_after)
        rows = [convert(item) for item in page["data"]]
        limit = count_fitting(rows, _MAX_ROWS_LENGTH)
        if limit >= len(rows):
            return PageOfRows(rows, page)


def _read(server: Server, path: str, params: list[tuple[str, str]], starting_after: str | None) -> Any:
    for _ in range(_MAX_EMPTY_PAGES):
        page = server.get(path, [*params, *([("starting_after", starting_after)] if starting_after else [])])
        if page["data"] or not page["has_more"]:
            break
        starting_after = page["next_cursor"]
    return page


def read_ranking(
    server: Server, path: str, filters: Sequence[tuple[str, str | None]], limit: int, convert: RowConverter
) -> JsonObject:
    """Return the rows of a ranked list, which has one page, and whether rows are missing. Raises ServerError."""
    params = [(name, value) for name, value in filters if value is not None]
    page = server.get(path, [*params, ("limit", str(limit))])
    rows = [convert(item) for item in page["data"]]
    shown = rows[: count_fitting(rows, _MAX_ROWS_LENGTH)]
    return {"rows": shown, "omitted_rows": len(rows) - len(shown), "truncated": page["truncated"]}
