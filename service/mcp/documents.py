"""The JSON documents that tools return: their rows and bounds, and the field `untrusted` for texts of producers."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

from service.client.http import JsonObject, Server
from service.runs.model import STATED_FIELDS

RowConverter = Callable[[JsonObject], JsonObject]

MAX_CHARACTERS: Final = 20_000  # of one document

_MAX_ROWS_LENGTH: Final = 13_000  # characters of the JSON of all rows
_MAX_EMPTY_PAGES: Final = 5  # a page of the API can be empty although the list continues
# Characters that select the glyph of another character. They can contain hidden text.
_SELECTORS: Final = ((0xFE00, 0xFE0F), (0xE0100, 0xE01EF))

# The maximum length of each text of a producer, in characters of the JSON.
_ID: Final = 400
LIMITS: Final[Mapping[str, int]] = {
    **{name: field.excerpt for name, field in STATED_FIELDS.items()},
    "run_id": _ID, "project_id": _ID, "case_id": _ID, "gate": _ID, "part": _ID, "since_run_id": _ID,
    "failing_since_run_id": _ID, "last_passed_run_id": _ID, "repaired_run_id": _ID, "last_run_id": _ID,
    "baseline_run_id": _ID, "variant": 400, "suite": 300, "name": 300, "file": 300, "logs_ref": 400, "uri": 200,
    "content_type": 100, "first_commit": 100, "last_good_commit": 100,
    "failure_summary": 400, "type": 200, "properties": 800, "reason": 300, "owner": 100, "ticket_url": 300,
    "created_by_name": 200, "owners": 400,
}  # fmt: skip


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


def count_fitting(rows: Sequence[JsonObject], limit: int) -> int:
    """Return how many of the first rows have at most `limit` characters as JSON in total. It is at least 1."""
    ends = accumulate(len(encode(row)) + 1 for row in rows)
    return max(1, sum(1 for end in ends if end <= limit))


def untrusted(source: Mapping[str, Any], *names: str, **limits: int) -> JsonObject:
    """Return the texts of a producer with these names, as the fields `untrusted` and `truncated_texts`.

    A list is a text with commas. A null or empty text isn't included. `limits` are the limits of names that LIMITS
    doesn't contain.
    """
    texts: JsonObject = {}
    truncated: list[str] = []
    for name, limit in ({name: LIMITS[name] for name in names} | limits).items():
        value = source.get(name)
        if not value:
            continue
        if isinstance(value, list):
            value = ", ".join(value)
        texts[name] = _shorten_pairs(value, limit) if isinstance(value, dict) else shorten(str(value), limit)
        if texts[name] != value:
            truncated.append(name)
    return {"untrusted": texts} | ({"truncated_texts": truncated} if truncated else {})


def _shorten_pairs(pairs: Mapping[str, str], limit: int) -> dict[str, str]:
    """Return the first pairs that have at most `limit` characters as JSON in total."""
    ends = accumulate(len(encode({name: value})) for name, value in pairs.items())
    return dict(list(pairs.items())[: sum(1 for end in ends if end <= limit)])


def shorten(text: str, limit: int) -> str:
    """Return the longest start of the text that has at most `limit` characters as JSON."""
    start = text[:limit]
    if len(encode(start)) - 2 <= limit:
        return start
    ends = accumulate(len(encode(character)) - 2 for character in start)
    return start[: sum(1 for end in ends if end <= limit)]


def encode(document: Any) -> str:
    """Return the document as compact JSON. Characters that can be invisible are escaped."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    if text.isprintable() and text.isascii():
        return text
    return "".join(map(_escape, text))


def _escape(character: str) -> str:
    is_selector = any(first <= ord(character) <= last for first, last in _SELECTORS)
    return character if character.isprintable() and not is_selector else json.dumps(character)[1:-1]
