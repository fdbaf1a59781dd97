"""Query parameters of the lists. The filters of runs and results are generated from service/domain/filters.py."""

import re
from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from typing import Annotated, Any, Final, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    create_model,
    model_validator,
)

from service.contracts.validation import ID, INTEGER, NO_NUL
from service.domain.filters import (
    FilteredList,
    FilterParameter,
    ResultFilter,
    RunFilter,
    build_filter,
    filter_parameters,
)
from service.domain.timestamps import EXAMPLE, parse_timestamp

MAX_LIMIT: Final = 1_000
DEFAULT_LIMIT: Final = 20
LONGEST_WAIT_S: Final = 30

_DIGITS: Final = re.compile(r"-?\d{1,18}", re.ASCII)


def _digits(text: Any) -> Any:
    """Reject spellings of a number that only Python accepts, such as `1_000`."""
    if isinstance(text, str) and not _DIGITS.fullmatch(text):
        raise ValueError(INTEGER)
    return text


Timestamp = Annotated[
    datetime,
    BeforeValidator(parse_timestamp),
    Field(json_schema_extra={"examples": [EXAMPLE, "2026-05-20"], "format": "date-time"}),
]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=NO_NUL)]
BranchName = Annotated[str, StringConstraints(min_length=1, max_length=400, pattern=NO_NUL)]
SuiteName = Annotated[str, StringConstraints(max_length=1_000, pattern=NO_NUL)]
EventPosition = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=ID)]
# The last item of the annotation of an integer. Limits before it become `minimum` and `maximum` in OpenAPI.
DIGITS: Final = BeforeValidator(_digits)
# The operation of the list validates the cursor.
_ANY_CURSOR: Final = {"minLength": 1, "maxLength": 1_100, "pattern": "^[A-Za-z0-9_-]+$"}
Cursor = Annotated[str, Field(json_schema_extra=_ANY_CURSOR)]

NEXT_PAGE: Final = "`next_cursor` of the previous page"


class Query(BaseModel):
    """The base of all queries and request bodies: an unknown parameter is an error."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, frozen=True)

    def given(self) -> dict[str, Any]:
        """Return the values of the parameters that the client sent."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class PageQuery(Query):
    """A page of a list."""

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT, description="Maximum number of items"), DIGITS] = DEFAULT_LIMIT
    starting_after: Annotated[Cursor | None, Field(description=NEXT_PAGE)] = None


class WaitQuery(Query):
    """A request for one object, with the maximum time to wait until it is finished."""

    wait: Annotated[int, Field(ge=0, le=LONGEST_WAIT_S, description="Maximum number of seconds to wait"), DIGITS] = 0


class RunFilters(Query):
    """The base of queries with filters of runs."""

    def to_filter(self) -> RunFilter:
        """Return the filter for stores and cursors, with converted values: statuses are letters, and times are ms."""
        return build_filter(RunFilter, self.given())


class ResultFilters(Query):
    """The base of queries with filters of results."""

    def to_filter(self) -> ResultFilter:
        """Return the filter for stores and cursors, with converted values: statuses are letters, and times are ms."""
        return build_filter(ResultFilter, self.given())


AnyQuery = TypeVar("AnyQuery", bound=Query)


def with_filters(
    list_name: FilteredList, *, only: Collection[str] | None = None, in_json: bool = False
) -> Callable[[type[AnyQuery]], type[AnyQuery]]:
    """Return a decorator that adds the filters of a list, or only those with the given names, to a model.

    With `in_json`, the values are JSON values instead of text, and a repeatable filter accepts one value or a list that
    isn't empty.
    """
    return with_parameters(
        [parameter for parameter in filter_parameters(list_name) if only is None or parameter.name in only],
        in_json=in_json,
    )


def with_parameters(
    parameters: Iterable[FilterParameter], *, in_json: bool = False
) -> Callable[[type[AnyQuery]], type[AnyQuery]]:
    fields = {parameter.name: _field(parameter, in_json=in_json) for parameter in parameters}

    def add(model: type[AnyQuery]) -> type[AnyQuery]:
        return create_model(
            model.__name__, __base__=model, __module__=model.__module__, __doc__=model.__doc__, **fields
        )

    return add


def _field(parameter: FilterParameter, *, in_json: bool) -> Any:
    """Return the type and default of a field. Pydantic takes any type here."""
    parse = parameter.type.parse if in_json else parameter.type.parse_text
    value: Any = Annotated[Any, BeforeValidator(parse), WithJsonSchema(dict(parameter.type.schema), mode="validation")]
    if not parameter.repeatable:
        return Annotated[value | None, AfterValidator(_check_against_others(parameter))], Field(
            None, description=parameter.description
        )
    values: Any = list[value]
    if in_json:
        several: Any = Annotated[values, Field(min_length=1)]
        values = Annotated[several, BeforeValidator(_as_list, json_schema_input_type=value | several)]
    return Annotated[values, AfterValidator(_check_against_others(parameter))], Field(
        default_factory=list, description=parameter.description
    )


def _check_against_others(parameter: FilterParameter) -> Callable[[Any, ValidationInfo], Any]:
    def check(value: Any, info: ValidationInfo) -> Any:
        if value in (None, []):
            return value
        if parameter.requires and info.data.get(parameter.requires) is None:
            raise ValueError(f"requires {parameter.requires}")
        least = info.data.get(parameter.at_least) if parameter.at_least else None
        if least is not None and parameter.convert(value) < parameter.convert(least):
            raise ValueError(f"must not be before {parameter.at_least}")
        return value

    return check


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


@with_filters("runs")
class RunQuery(PageQuery, RunFilters):
    """A page of the list of runs."""


@with_filters("results")
class ResultQuery(PageQuery, ResultFilters):
    """A page of the list of results."""


@with_filters("history")
class HistoryQuery(PageQuery, ResultFilters):
    """A page of the results of one case."""


@with_filters("exports", in_json=True)
class ExportFilters(ResultFilters):
    """The filters of an export."""


class Patch(BaseModel):
    """At least one field to change. Absent fields keep their values."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="after")
    def _require_a_field(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("the body must contain at least one field to change")
        return self

    def changes(self) -> dict[str, Any]:
        """Return the fields that the request contains."""
        return self.model_dump(include=self.model_fields_set)
