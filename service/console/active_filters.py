"""The filters in use of a list page, each with the query of the page without it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class ActiveFilter(NamedTuple):
    """A filter in use. `rest` is the query with the other filters, from the start of the list."""

    name: str
    value: str
    rest: dict[str, list[str]]


def active_filters(values: Mapping[str, str | Sequence[str]]) -> list[ActiveFilter]:
    """Return the filters that have a value. A repeated parameter is several filters."""
    query = {name: [value] if isinstance(value, str) else list(value) for name, value in values.items() if value}
    return [
        ActiveFilter(name, value, {**query, name: [item for item in items if item != value]})
        for name, items in query.items()
        for value in items
    ]
