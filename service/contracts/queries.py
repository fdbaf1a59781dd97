"""Query parameters of the lists: what they may be, checked by pydantic, and the filter that they stand for."""

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
)

from service.contracts.validation import ID, NO_NUL, WHOLE
from service.domain.events import EventType
from service.domain.filters import ResultFilter, RunFilter
from service.domain.ids import CaseKey, parse_case_id
from service.domain.statuses import STATUS_CODES, ResultStatus, RunStatus

MAX_LIMIT: Final = 1_000
DEFAULT_LIMIT: Final = 20
LONGEST_WAIT_S: Final = 30

_EXAMPLE: Final = "2026-05-20T12:00:00Z"
_MOMENT_WANTED: Final = f"must be a date or a time (RFC 3339), for example {_EXAMPLE}"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
# The first and the last moment of the calendar are infinities to asyncpg: a millisecond inside, they stay times.
_FIRST: Final = datetime.min.replace(tzinfo=UTC) + _MS
_LAST: Final = datetime.max.replace(tzinfo=UTC) - _MS
_DIGITS: Final = re.compile(r"-?\d{1,18}", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
# RFC 3339; a "+" that was not percent-encoded arrives as a space.
_MOMENT: Final = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(\.\d+)?(?:[Zz]|([+ -])(\d\d:\d\d))", re.ASCII)


def _moment(text: Any) -> datetime:
    if not isinstance(text, str):
        raise ValueError(_MOMENT_WANTED)  # noqa: TRY004  pydantic wants a ValueError
    try:
        if _DATE.fullmatch(text):
            return max(_FIRST, datetime.combine(date.fromisoformat(text), time(), UTC))
        return min(_LAST, max(_FIRST, _full_moment(text)))
    except (ValueError, OverflowError):
        raise ValueError(_MOMENT_WANTED) from None


def _full_moment(text: str) -> datetime:
    match = _MOMENT.fullmatch(text)
    if match is None:
        raise ValueError(text)
    day, clock, fraction, sign, offset = match.groups()
    zone = f"{'-' if sign == '-' else '+'}{offset}" if sign else "+00:00"
    return datetime.fromisoformat(f"{day}T{clock}{(fraction or '')[:7]}{zone}").astimezone(UTC)


def _digits(text: Any) -> Any:
    """Python reads more as a number than people write."""
    if isinstance(text, str) and not _DIGITS.fullmatch(text):
        raise ValueError(WHOLE)
    return text


def _case_key(text: str) -> CaseKey:
    key = parse_case_id(text)
    if key is None:
        raise ValueError("must be case_ and 16 hex digits")
    return key


Timestamp = Annotated[
    datetime,
    BeforeValidator(_moment),
    Field(json_schema_extra={"examples": [_EXAMPLE, "2026-05-20"], "format": "date-time"}),
]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=NO_NUL)]
BranchName = Annotated[str, StringConstraints(min_length=1, max_length=400, pattern=NO_NUL)]
SuiteName = Annotated[str, StringConstraints(max_length=1_000, pattern=NO_NUL)]
CaseRef = Annotated[
    str, AfterValidator(lambda text: (_case_key(text), text)[1]), Field(examples=["case_00c0ffee00c0ffee"])
]
EventPosition = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=ID)]
AnyEventType = EventType | Literal["webhook.test"]
WholeNumber = Annotated[int, BeforeValidator(_digits)]
_ANY_CURSOR: Final = {"minLength": 1, "maxLength": 400, "pattern": "^[A-Za-z0-9_-]+$"}  # its list judges it
Cursor = Annotated[str, Field(json_schema_extra=_ANY_CURSOR)]


class Query(BaseModel):
    """What every query has in common: an unknown parameter is a mistake worth telling."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, frozen=True)


class PageQuery(Query):
    """A page of a list."""

    limit: Annotated[WholeNumber, Field(ge=1, le=MAX_LIMIT, description="How many at most")] = DEFAULT_LIMIT
    starting_after: Annotated[Cursor | None, Field(description="`next_cursor` of the page before")] = None


class WaitQuery(Query):
    """One thing, and how long to wait for it."""

    wait: Annotated[WholeNumber, Field(ge=0, le=LONGEST_WAIT_S, description="Maximum number of seconds to wait")] = 0


class RunQuery(PageQuery):
    """A page of the list of runs."""

    status: Annotated[list[RunStatus], Field(description="May be repeated")] = []
    from_: Annotated[Timestamp | None, Field(alias="from", description="Completed then or later")] = None
    to: Annotated[Timestamp | None, Field(description="Completed before")] = None
    project_id: Name | None = None
    environment: Name | None = None
    branch: BranchName | None = None

    def to_filter(self) -> RunFilter:
        """The filter that these parameters stand for."""
        return RunFilter(
            _letters(self.status, 4), _ms(self.from_), _ms(self.to), self.project_id, self.environment, self.branch
        )


class ResultFilters(Query):
    """What narrows results down, in the list and in exports."""

    run_id: Name | None = None
    status: Annotated[list[ResultStatus], Field(description="May be repeated")] = []
    from_: Annotated[Timestamp | None, Field(alias="from", description="Run completed then or later")] = None
    to: Annotated[Timestamp | None, Field(description="Run completed before")] = None
    project_id: Name | None = None
    environment: Name | None = None
    branch: BranchName | None = None
    case: CaseRef | None = None
    case_id: Annotated[Name | None, Field(description="The producer's own, in every project unless one is given")] = (
        None
    )
    suite: Annotated[SuiteName | None, Field(description="Only together with run_id")] = None

    @field_validator("suite")
    @classmethod
    def _of_a_run(cls, suite: str | None, known: ValidationInfo) -> str | None:
        if known.data.get("run_id") is None:
            raise ValueError("works only together with run_id")
        return suite

    def to_filter(self) -> ResultFilter:
        """The filter that these parameters stand for."""
        return ResultFilter(
            _letters(self.status, 5), _ms(self.from_), _ms(self.to), self.project_id, self.environment, self.branch,
            self.run_id, _case_key(self.case) if self.case else None, self.case_id, self.suite,
        )  # fmt: skip


class ResultQuery(ResultFilters, PageQuery):
    """A page of the list of results."""


class EventFilters(Query):
    """What narrows events down."""

    type: Annotated[list[AnyEventType], Field(description="May be repeated")] = []
    run_id: Name | None = None
    after: Annotated[EventPosition | None, Field(description="Return the events after this event number or ID")] = None

    @property
    def types(self) -> tuple[str, ...]:
        """The types, sorted, so that the order of the parameters makes no other list."""
        return tuple(sorted(set(self.type)))


class EventQuery(EventFilters, PageQuery):
    """A page of the list of events."""


class StreamQuery(EventFilters):
    """The live stream."""


def _letters(statuses: list[Any], all_of_them: int) -> tuple[str, ...]:
    """The letters, sorted, so that the order of the parameters makes no other list; all of them are no filter."""
    letters = sorted({STATUS_CODES[status] for status in statuses})
    return () if len(letters) == all_of_them else tuple(letters)


def _ms(moment: datetime | None) -> int | None:
    """Rounded up: a run completed in a whole millisecond, and the first one not before `moment` is meant."""
    return None if moment is None else -((_EPOCH - moment) // _MS)


RunCount = Annotated[WholeNumber, Field(ge=1, le=200, description="Statistics are over so many of its last runs")]


class CaseQuery(Query):
    """One case."""

    runs: RunCount = 50


class CasesQuery(CaseQuery):
    """A page of the list of a project's cases."""

    project_id: Annotated[Name | None, Field(description="Needed, unless the key is bound to one")] = None
    suite: SuiteName | None = None
    limit: Annotated[WholeNumber, Field(ge=1, le=100, description="How many at most")] = DEFAULT_LIMIT
    starting_after: Annotated[Cursor | None, Field(description="`next_cursor` of the page before")] = None


class HistoryQuery(PageQuery):
    """A page of the results of one case."""

    status: Annotated[list[ResultStatus], Field(description="May be repeated")] = []
    from_: Annotated[Timestamp | None, Field(alias="from", description="Run completed then or later")] = None
    to: Annotated[Timestamp | None, Field(description="Run completed before")] = None
    environment: Name | None = None
    branch: BranchName | None = None

    def to_filter(self, case_key: CaseKey) -> ResultFilter:
        """The filter that these parameters stand for."""
        return ResultFilter(
            _letters(self.status, 5), _ms(self.from_), _ms(self.to), None, self.environment, self.branch,
            case_key=case_key,
        )  # fmt: skip
