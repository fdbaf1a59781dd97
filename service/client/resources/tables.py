"""Objects of the API as text for people: tables of lists, and the fields of one object.

Values can be text of a producer. Each value becomes one printable line, which can't control a terminal or a CI system.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from service.client.terminal import printable_line
from service.commands import print_line

ApiObject = dict[str, Any]
CellValue = str | Callable[[ApiObject], Any]  # the name of a field, or a function of the object
Columns = Mapping[str, CellValue]  # by title

_NONE: Final = "-"
_GAP: Final = "  "
_MAX_PADDING: Final = 60  # a longer cell doesn't widen its column


def print_table(columns: Columns, pages: Iterable[Sequence[ApiObject]]) -> None:
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
            print_line(_GAP.join(map(_pad, row, widths)).rstrip())


def _cell(item: ApiObject, value: CellValue) -> str:
    """Return the text of a field or function. A field that an older server doesn't send has no value."""
    return to_text(item.get(value) if isinstance(value, str) else value(item))


def print_fields(item: Mapping[str, Any]) -> None:
    """Print each field of an object on a line of its own, and a list of objects as several lines."""
    width = max(map(len, item), default=0)
    for name, value in item.items():
        first, *others = _lines(value)
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


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        yield from map(to_text, value)
    else:
        yield to_text(value)


def _pad(cell: str, width: int) -> str:
    return cell.ljust(min(width, _MAX_PADDING))
