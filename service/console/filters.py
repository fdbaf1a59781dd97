"""The query of a page: the parameters and filters of the API, in which an empty value is the same as none."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aiohttp import web
from multidict import MultiDict, MultiMapping

from service.console.labels import label_message, message_at_field
from service.domain.errors import InvalidRequest
from service.domain.filters import FilteredList, filter_parameters
from service.http.parsing import AnyModel, parse_pairs


class FilterForm(NamedTuple):
    """The values as text, for the fields of the form. `error` is the error of the first wrong value, if any."""

    values: dict[str, str | list[str]]
    error: InvalidRequest | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no filter is set."""
        return not any(self.values.values())

    @property
    def message(self) -> str:
        """The message of the error, with the label of the field. A parameter that isn't a filter has no field."""
        message = str(self.error)
        return label_message(message) if self.error and self.error.param in self.values else message

    def problem(self, name: str) -> str | None:
        """Return the message at a field, without the name of the field."""
        return message_at_field(str(self.error)) if self.error and self.error.param == name else None


def read_filters(
    request: web.Request, model: type[AnyModel], list_name: FilteredList, **defaults: Any
) -> tuple[AnyModel | None, FilterForm]:
    """Return the validated query, or None if a value is wrong, and the form.

    `defaults` are parameters of the page itself.
    """
    given = _given(request)
    values = {
        parameter.name: given.getall(parameter.name, []) if parameter.repeatable else given.get(parameter.name, "")
        for parameter in filter_parameters(list_name)
    }
    return _parse(given, model, values, defaults)


def read_single_filters(
    request: web.Request, model: type[AnyModel], names: Iterable[str], **defaults: Any
) -> tuple[AnyModel | None, FilterForm]:
    """Return the same as `read_filters` for a list whose filters have these names and can't be repeated."""
    given = _given(request)
    return _parse(given, model, {name: given.get(name, "") for name in names}, defaults)


def read_page_query(given: MultiMapping[str], model: type[AnyModel], rows: str) -> AnyModel:
    """Return the validated query of a list without filters. `rows` is its default limit. Raises InvalidRequest."""
    query = MultiDict(given)
    query.setdefault("limit", rows)
    return parse_pairs(query, model, "query parameter")


def find_shorter_url(request: web.Request) -> str | None:
    """Return the URL of a page without the empty parameters that a browser sends, or None if it has none."""
    if request.method not in ("GET", "HEAD") or all(value.strip() for value in request.query.values()):
        return None
    return str(request.rel_url.with_query(_given(request)))


def _given(request: web.Request) -> MultiDict[str]:
    return MultiDict((name, value) for name, value in request.query.items() if value.strip())


def _parse(
    given: MultiDict[str], model: type[AnyModel], values: dict[str, str | list[str]], defaults: Mapping[str, Any]
) -> tuple[AnyModel | None, FilterForm]:
    for name, value in defaults.items():
        given.setdefault(name, value)
    try:
        return parse_pairs(given, model, "query parameter"), FilterForm(values)
    except InvalidRequest as error:
        return None, FilterForm(values, error)


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
