"""Sums of costs, and the days that they cover. Days are in UTC."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from service.domain.errors import InvalidRequest
from service.domain.ids import RunKey

if TYPE_CHECKING:
    from service.cases.model import CaseRow  # which imports this module

CostGroup = Literal["case", "suite", "owner", "project", "job"]
GROUPS_OF_CASES: Final = ("case", "suite", "owner")

DEFAULT_DAYS: Final = 30
MAX_DAYS: Final = 400
_EARLIEST: Final = date(1970, 1, 1)
MAX_NEWEST_RUNS: Final = 200
MERGED_AFTER_DAYS: Final = 35  # a month is merged as soon as all of its days are older


class CostSums(NamedTuple):
    """Results by status, executions, and durations of all executions, and of failing ones that were repeated."""

    passed: int = 0
    failed: int = 0
    error: int = 0
    skipped: int = 0
    canceled: int = 0
    flaky: int = 0
    attempts: int = 0
    unknown_durations: int = 0
    duration_ms: int = 0
    retry_ms: int = 0

    @property
    def results(self) -> int:
        """The number of results; flaky ones are some of those that passed."""
        return sum(self[:5])


SUM_COLUMNS: Final = CostSums._fields
COUNT_COLUMNS: Final = SUM_COLUMNS[:6]


class CostRange(NamedTuple):
    """The days that sums cover, and their number of trusted runs.

    `open_runs` are the runs of days that aren't rolled up yet, except for those beyond the scan budget: these are
    missing in the sums if `truncated` is true. `newest_runs` are the runs of percentiles.
    """

    first: date
    last: date
    runs: int
    truncated: bool
    open_runs: Sequence[RunKey] = ()
    newest_runs: Sequence[RunKey] = ()


def choose_days(first: date | None, last: date | None, today: date) -> tuple[date, date]:
    """Return the first and the last day of a request. The default are the last 30 days.

    Raises InvalidRequest if the range is empty or has more than 400 days.
    """
    end = min(max(last or today, _EARLIEST), today + timedelta(days=1))
    start = max(first or end - timedelta(days=DEFAULT_DAYS - 1), _EARLIEST)
    if start > end:
        raise InvalidRequest("from: must not be after to or in the future", "from")
    if (days := (end - start).days + 1) > MAX_DAYS:
        raise InvalidRequest(f"from: the range has {days} days, at most {MAX_DAYS} are allowed", "from")
    return start, end


class CostsOfGroup(NamedTuple):
    """The sums of a group, and the p95 of the time that one of the newest runs spends in it."""

    name: str
    sums: CostSums
    p95_ms: int | None
    p95_runs: int
    case: "CaseRow | None" = None


class DayCosts(NamedTuple):
    """The sums of a day, or of the month that starts on it."""

    start: date
    is_month: bool
    runs: int
    sums: CostSums
