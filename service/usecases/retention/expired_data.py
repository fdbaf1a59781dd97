"""The selection of expired data: the months of each class and, in a month, the key ranges without pinned runs.

A retention round deletes this selection, and a dry run counts it.
"""

from datetime import date, datetime
from typing import Final, NamedTuple

from service.domain.ids import OrgId
from service.domain.retention import REMOVED_CLASSES, RetentionClass, RetentionPolicy, first_retained_month
from service.store import organizations, retention
from service.store.postgres.database import Connection
from service.store.retention import RunRange

_FIRST_MONTH: Final = date(1970, 1, 1)


class ExpiredRows(NamedTuple):
    """The rows of a class in a key range."""

    class_: RetentionClass
    range: RunRange


class ExpiredMonth(NamedTuple):
    """The expired rows of a month, and whether the month contains no retained row."""

    rows: list[ExpiredRows]
    is_complete: bool


async def list_expired_months(
    connection: Connection, policy: RetentionPolicy, class_: RetentionClass, now: datetime
) -> list[date]:
    """Return the expired months of a class, oldest first. The months of results include those of their artifacts."""
    period = policy.period_of(class_)
    if period is None:
        return []
    before = first_retained_month(now, period)
    if class_ == "runs":
        return await _list_run_months(connection, before)
    first = first_retained_month(now, policy.results) if class_ == "artifacts" else _FIRST_MONTH
    return await retention.list_partition_months(connection, first, before)


async def _list_run_months(connection: Connection, before: date) -> list[date]:
    months: set[date] = set()
    for organization in await organizations.list_all(connection):
        months |= await retention.list_run_months(connection, OrgId(organization["org_id"]), before)
    return sorted(months)


async def find_expired_rows(connection: Connection, class_: RetentionClass, month: date) -> ExpiredMonth:
    """Return the rows that an expired month of a class removes, for each organization."""
    ranges: list[RunRange] = []
    is_complete = True
    for organization in await organizations.list_all(connection):
        month_range = retention.month_range(OrgId(organization["org_id"]), month)
        found = await retention.find_ranges(connection, class_, month_range)
        is_complete = is_complete and found == [month_range]
        ranges += found
    removed = REMOVED_CLASSES[class_]
    return ExpiredMonth([ExpiredRows(each, range_) for each in removed for range_ in ranges], is_complete)
