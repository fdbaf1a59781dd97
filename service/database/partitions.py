"""Monthly partitions: creation during ingest, and removal after the retention by upkeep."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg

from service.database.database import Connection, Row
from service.database.engines import engine_of, is_missing_partition
from service.database.errors import RowDeleted
from service.database.statements import statements
from service.domain.bounded_cache import BoundedCache
from service.domain.ids import CaseKey, OrgId, RunKey, first_run_key

_SQL: Final = statements("database")


KnownMonths = BoundedCache[date, bool]


@asynccontextmanager
async def ensure_partitions(
    connection: Connection, known: KnownMonths, completed_ms: Iterable[int]
) -> AsyncIterator[None]:
    """Create the missing partitions for these completion times (ms since 1970), for a transaction in the block.

    Raises RowDeleted if a partition was dropped since it was created: a retry of the transaction creates it again.
    Raises the original error if a partition is missing although this call created it, because a retry won't help.
    """
    months = {month_of(datetime.fromtimestamp(ms / 1000, UTC)) for ms in completed_ms}
    missing = sorted(month for month in months if not known.get(month))
    for month in missing:
        await connection.execute(_SQL["create_month_partitions"], month)
        known.add(month, True)
    try:
        yield
    except asyncpg.PostgresError as error:
        if not is_missing_partition(error):
            raise
        known.clear()
        if missing:
            raise
        raise RowDeleted(f"a partition was dropped concurrently: {error}") from error


class ArtifactKey(NamedTuple):
    """The primary key of an artifact, which defines the order of artifacts."""

    org_id: OrgId
    run_key: RunKey
    case_key: CaseKey
    artifact_key: int


FIRST_ARTIFACT_KEY: Final = ArtifactKey(OrgId(0), RunKey(UUID(int=0)), CaseKey(0), 0)


def month_of(time: datetime) -> date:
    """Return the first day of the month in UTC."""
    return time.astimezone(UTC).date().replace(day=1)


async def find_files(
    connection: Connection, month: date, after: ArtifactKey, limit: int
) -> tuple[set[str], ArtifactKey | None]:
    """Examine at most `limit` artifacts of a month; return the paths of stored files, and the key to continue after."""
    rows = await connection.fetch(_SQL["find_files"], *key_range(month), *after, limit)
    paths = {row["path"] for row in rows} - {None}
    return paths, ArtifactKey(*rows[-1][:-1]) if rows else None


async def try_lock_dropping(owner: Connection) -> bool:
    """Try to lock the removal of partitions until the connection ends. False if another process has it."""
    locked: bool = await owner.fetchval(_SQL["try_lock_dropping"])
    return locked


async def run_next_drop_step(owner: Connection, month: date) -> str | None:
    """Execute the next statement that removes the month, and return it; None if no step remains.

    Also continues a removal that was interrupted, of any month. Each step is one statement, so that the next call can
    continue after any interruption. Requires the connection of the owner, with the lock and without a transaction.
    If readers or an operator block the step, raises an error for which `is_conflict` is true.
    """
    step = await owner.fetchrow(_SQL["find_drop_step"], month, engine_of(owner).detaches_concurrently)
    if step is None:
        return None
    try:
        await (_detach(owner, step) if step["detaches"] else owner.execute(step["statement"]))
    except (asyncpg.UndefinedTableError, asyncpg.ObjectNotInPrerequisiteStateError) as error:
        raise RowDeleted(f"another process uses or removes this partition: {error}") from error
    statement: str = step["statement"]
    return statement


async def _detach(owner: Connection, step: Row) -> None:
    """Mark a partition as expired, then detach it. After a crash, the mark shows that the service detached it.

    If the detachment fails before it begins, remove the mark. Otherwise, the service would drop a partition
    that an operator detaches later.
    """
    await owner.execute(await owner.fetchval(_SQL["find_mark"], step["name"]))
    try:
        await owner.execute(step["statement"])
    except (asyncpg.PostgresError, TimeoutError):
        unmark: str | None = await owner.fetchval(_SQL["find_unmark"], step["name"])
        if unmark is not None:
            await owner.execute(unmark)
        raise


def key_range(month: date) -> tuple[RunKey, RunKey]:
    """Return the first run key of the month and of the next month."""
    following = month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
    low, high = (datetime(first.year, first.month, 1, tzinfo=UTC) for first in (month, following))
    return first_run_key(int(low.timestamp() * 1000)), first_run_key(int(high.timestamp() * 1000))
