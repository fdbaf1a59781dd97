"""Monthly partitions: ingest makes a missing month, once; upkeep takes away those that are beyond the retention."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg

from service.domain.ids import CaseKey, OrgId, RunKey, first_run_key
from service.store.postgres.database import Connection, Row, RowDeleted
from service.store.postgres.statements import statements

_SQL: Final = statements("partitions")


class KnownMonths:
    """The months whose partitions were there the last time."""

    def __init__(self) -> None:
        self._months: set[date] = set()

    @asynccontextmanager
    async def ensure_partitions(self, connection: Connection, completed_ms: Iterable[int]) -> AsyncIterator[None]:
        """Makes the months of these completions (ms since 1970) for the transaction that is to be begun within.

        Where a month has been taken away since it was made, the same transaction, again, makes it anew; where one was
        made just now and is not there all the same, another try would change nothing.
        """
        months = {month_of(datetime.fromtimestamp(ms / 1000, UTC)) for ms in completed_ms}
        missing = sorted(months - self._months)
        for month in missing:
            await connection.execute(_SQL["create_month_partitions"], month)
            self._months.add(month)
        try:
            yield
        except asyncpg.CheckViolationError as error:
            self._months -= months
            if missing or error.constraint_name:
                raise
            raise RowDeleted(f"a month has been taken away: {error}") from error


class ArtifactKey(NamedTuple):
    """The key of an artifact, by which all of them have an order."""

    org_id: OrgId
    run_key: RunKey
    case_key: CaseKey
    artifact_key: int


BEFORE_ALL: Final = ArtifactKey(OrgId(0), RunKey(UUID(int=0)), CaseKey(0), 0)


def month_of(moment: datetime) -> date:
    """The month of a moment, by its first day."""
    return moment.astimezone(UTC).date().replace(day=1)


async def expire_runs(connection: Connection, org_id: OrgId, month: date, after: RunKey, limit: int) -> RunKey | None:
    """Says of at most so many runs of a month that their results have expired; returns where to go on."""
    low, high = _keys(month)
    reached: RunKey | None = await connection.fetchval(_SQL["expire_runs"], org_id, max(low, after), high, limit)
    return reached


async def find_files(
    connection: Connection, month: date, after: ArtifactKey, looks: int
) -> tuple[set[str], ArtifactKey | None]:
    """Where our storage keeps files of a month, of so many artifacts looked at; and where to go on."""
    rows = await connection.fetch(_SQL["find_files"], *_keys(month), *after, looks)
    paths = {row["path"] for row in rows} - {None}
    return paths, ArtifactKey(*rows[-1][:-1]) if rows else None


async def find_months(owner: Connection, before: date) -> list[date]:
    """The months before this one that still have a partition."""
    return [row["month"] for row in await owner.fetch(_SQL["find_months"], before)]


async def claim_dropping(owner: Connection) -> bool:
    """Whether it is ours, until this connection ends, to take months away."""
    claimed: bool = await owner.fetchval(_SQL["claim_dropping"])
    return claimed


async def take_step(owner: Connection, until: date) -> str | None:
    """Does what comes next in taking away the months until this one, and what was begun of any; None where all is done.

    Needs a connection as the owner that has claimed it, in no transaction: a function could not do it either. Every
    step is a statement of its own, so wherever a round is cut off, the next one goes on. Where readers or an operator
    are in the way, this raises what `is_conflict` is true of.
    """
    step = await owner.fetchrow(_SQL["find_step"], until)
    if step is None:
        return None
    try:
        await (_detach(owner, step) if step["detaches"] else owner.execute(step["statement"]))
    except (asyncpg.UndefinedTableError, asyncpg.ObjectNotInPrerequisiteStateError) as error:
        raise RowDeleted(f"somebody uses this partition or takes it away too: {error}") from error
    statement: str = step["statement"]
    return statement


async def _detach(owner: Connection, step: Row) -> None:
    """Marks the partition as ours first, so that whoever finds it detached knows, though we die over it.

    Where that fails before it has begun, the mark goes at once: an operator who detaches it then wants to keep it.
    """
    await owner.execute(await owner.fetchval(_SQL["find_mark"], step["name"]))
    try:
        await owner.execute(step["statement"])
    except (asyncpg.PostgresError, TimeoutError):
        unmark: str | None = await owner.fetchval(_SQL["find_unmark"], step["name"])
        if unmark is not None:
            await owner.execute(unmark)
        raise


def _keys(month: date) -> tuple[RunKey, RunKey]:
    """The first key of the month, and that of the next."""
    following = month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
    low, high = (datetime(first.year, first.month, 1, tzinfo=UTC) for first in (month, following))
    return first_run_key(int(low.timestamp() * 1000)), first_run_key(int(high.timestamp() * 1000))
