"""Rows of costs: the roll-up of days and months, and the sums of a range."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from service.costs.model import GROUPS_OF_CASES, CostGroup, CostRange, CostSums, DayCosts
from service.database.database import Connection, Row
from service.database.statements import compose, statements
from service.domain.ids import CaseKey, OrgId, RunKey, first_run_key
from service.domain.timestamps import day_to_ms, from_ms

_SQL: Final = statements("costs")
_ROLL_UP_TIMEOUT_S: Final = 900  # of a merged month that is rolled up again
_OPEN_FOR: Final = timedelta(minutes=30)  # after the end of a day: half of the time before the day is closed
_GROUP_NAMES: Final = {
    "suite": "suite_of_case", "owner": "owner_of_case", "project": "project_of_row", "job": "job_of_row",
}  # fmt: skip


class CostStep(NamedTuple):
    """The next step of a project: roll up a day (1), roll up a changed period again (2), or merge a month (3).

    `is_kept` states that the results of the period have expired, so that its sums can't be computed again.
    """

    project_id: str
    start: date
    action: Literal[1, 2, 3]
    is_month: bool
    is_kept: bool

    @property
    def last(self) -> date:
        """The last day of the period."""
        return (self.start + timedelta(days=31)).replace(day=1) - timedelta(days=1) if self.is_month else self.start


class CostLimits(NamedTuple):
    """Days before `closed` are rolled up, months before `merged` are merged, and results since `retained` exist."""

    closed: date
    merged: date
    retained: date


RunOfDay = tuple[OrgId, str, int]  # organization, project, and completion time in ms since 1970


async def mark_changed(connection: Connection, runs: Iterable[RunOfDay]) -> None:
    """Let upkeep roll up the earlier days of these trusted runs again. Today's runs need no mark."""
    today = (datetime.now(UTC) - _OPEN_FOR).date()
    days = {(org_id, project_id, from_ms(ms).date()) for org_id, project_id, ms in runs}
    for changed in sorted(each for each in days if each[2] < today):
        await connection.execute(_SQL["mark_changed"], *changed)


async def find_due(connection: Connection, org_id: OrgId, project_id: str | None, limits: CostLimits) -> list[CostStep]:
    """Return the next step of each project that has one, or only of the given project."""
    return [CostStep(*row) for row in await connection.fetch(_SQL["find_due"], org_id, project_id, *limits)]


async def lock(connection: Connection, org_id: OrgId, project_id: str) -> bool:
    """Lock the costs of a project until the end of the transaction. Return False if another process has the lock."""
    return bool(await connection.fetchval(_SQL["lock"], org_id, project_id))


async def execute(connection: Connection, org_id: OrgId, step: CostStep) -> None:
    """Execute a step, in a transaction that has the lock. A change that commits later has its own mark."""
    period = org_id, step.project_id, step.start, step.last
    if step.action == 3:
        await connection.execute(_SQL["merge_days"], *period, timeout=_ROLL_UP_TIMEOUT_S)
    elif step.action == 2 and step.is_kept:
        await connection.execute(_SQL["delete_changes"], *period)
    else:
        await connection.execute("SET LOCAL work_mem = '64MB'")  # one group for each case and job
        await connection.execute(_SQL["delete_period"], *period)
        values = _values(org_id, step.project_id, step.start, step.last)
        run_keys = [row[0] for row in await compose("runs_of_period").fetch_rows(connection, values)]
        statement = compose("roll_up")
        values |= {"run_keys": run_keys, "is_month": step.is_month}
        arguments = [values[name] for name in statement.names]
        await connection.execute(statement.text, *arguments, timeout=_ROLL_UP_TIMEOUT_S)


async def delete_of_project(connection: Connection, org_id: OrgId, project_id: str, limit: int) -> int:
    """Delete at most `limit` rows of each table of costs of a project, and return their number."""
    return int(await connection.fetchval(_SQL["delete_of_project"], org_id, project_id, limit))


async def find_range(
    connection: Connection, org_id: OrgId, project_id: str | None, first: date, last: date
) -> CostRange:
    """Return the range that contains these days and that the sums can cover."""
    row = await compose("range_of_costs").fetch_row(connection, _values(org_id, project_id, first, last))
    return CostRange(*row)


async def find_groups(
    connection: Connection, org_id: OrgId, project_id: str | None, range_: CostRange, group: CostGroup,
    owner: str | None, limit: int,
) -> list[tuple[str, CostSums, int | None, int]]:  # fmt: skip
    """Return the groups with the longest durations, with the p95 of the time per run in ms, and its number of runs."""
    values = _range_values(org_id, project_id, range_) | {"owner": owner, "page": limit}
    source = "cases" if group in GROUPS_OF_CASES else f"{group}s"
    name = {"group_name": _GROUP_NAMES[group]}
    rows = await compose("costs_of_groups", costs_of_range=f"costs_of_{source}", **name).fetch_rows(connection, values)
    values |= {"run_keys": range_.newest_runs, "names": [row["name"] for row in rows]}
    p95 = {row[0]: row[1:] for row in await compose("p95_of_groups", **name).fetch_rows(connection, values)}
    return [(row["name"], CostSums(*row[1:]), *p95.get(row["name"], (None, 0))) for row in rows]


async def find_days(connection: Connection, org_id: OrgId, project_id: str, range_: CostRange) -> list[DayCosts]:
    """Return the days with runs, and the merged months, oldest first."""
    rows = await compose("costs_of_days").fetch_rows(connection, _range_values(org_id, project_id, range_))
    return [DayCosts(start, is_month, runs, CostSums(*sums)) for start, is_month, runs, *sums in rows]


async def find_owners(
    connection: Connection, org_id: OrgId, project_id: str, range_: CostRange, interval: Literal["day", "week"]
) -> list[tuple[date, str, CostSums]]:
    """Return the sums of each owner and bucket. A case with several owners counts for each of them."""
    values = _range_values(org_id, project_id, range_) | {"interval": interval}
    rows = await compose("costs_of_owners").fetch_rows(connection, values)
    return [(row[0], row[1], CostSums(*row[2:])) for row in rows]


class RankedCosts(NamedTuple):
    """The costs of the cases with the longest durations, with the hashes of their suites, by the keys of the cases."""

    cases: dict[CaseKey, tuple[int, CostSums]]
    truncated: bool


async def rank_cases(
    connection: Connection,
    org_id: OrgId,
    range_: CostRange,
    filters: dict[str, Any],
    limit: int,
    choices: dict[str, str],
) -> RankedCosts:
    """Return the first `limit` cases that match the filters of a ranking. It compares the first `ranked` ones."""
    values = filters | _range_values(org_id, filters["project_id"], range_)
    rows: Sequence[Row] = await compose("cases_by_duration", **choices).fetch_rows(
        connection, {"owner": None, **values}
    )
    matching = [row for row in rows[: filters["ranked"]] if row["matches"]][:limit]
    found = {CaseKey(row["case_key"]): (row["suite_hash"], CostSums(*row[3:])) for row in matching}
    return RankedCosts(found, len(matching) < limit and len(rows) > filters["ranked"])


def _range_values(org_id: OrgId, project_id: str | None, range_: CostRange) -> dict[str, Any]:
    return _values(org_id, project_id, range_.first, range_.last) | {"run_keys": range_.open_runs}


def _values(org_id: OrgId, project_id: str | None, first: date, last: date) -> dict[str, Any]:
    """Return the parameters of a statement about a range of days."""
    first_key, end = (first_run_key(max(0, day_to_ms(day))) for day in (first, last + timedelta(days=1)))
    days = {"org_id": org_id, "project_id": project_id, "first": first, "last": last}
    return days | {"first_key": first_key, "before_run": RunKey(UUID(int=max(0, end.int - 1)))}
