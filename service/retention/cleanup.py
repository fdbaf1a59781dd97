"""Periodic cleanup of the database. Each function is idempotent, and several processes can call it concurrently."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from service.artifacts import store as artifacts_store
from service.database.database import Connection, Pool
from service.digests import store as digests_store
from service.domain.ids import OrgId
from service.events import store as events_store
from service.events.model import RETENTION_DAYS
from service.identity.members import store as members_store
from service.identity.publishers import store as publishers_store
from service.log import log
from service.mutations import store as mutations_store
from service.organizations import store as organizations_store
from service.retention import store
from service.retention.expiry import read_verified_clock, verified_now
from service.retention.model import first_retained_month
from service.splits import store as splits_store
from service.splits.model import SPLIT_DAYS

RECEIPT_RETENTION: Final = timedelta(days=90)

_STUCK_AFTER: Final = timedelta(seconds=60)  # in a COPY
_PREPARED_FOR: Final = timedelta(seconds=10)  # as long as a transaction can be idle
_DAY_MS: Final = 24 * 3600 * 1000
_KEPT_EXPIRED: Final = timedelta(
    days=1
)  # longer than a token is valid, so that its exchanges and revocations are known
_MAX_ROWS: Final = 5_000  # per transaction, far below the statement timeout
_MAX_MINUTES: Final = 20_000  # examined per transaction, in an index


async def terminate_stuck_writers(pool: Pool) -> None:
    """Terminate connections of consumers that are suspended in a transaction and block other consumers."""
    async with pool.acquire() as connection:
        terminated = await store.terminate_stuck_writers(connection, _STUCK_AFTER, _PREPARED_FOR)
    if terminated:
        log.warning("stuck_writers_terminated", connections=terminated)


async def delete_expired_receipts(pool: Pool) -> int:
    """Delete receipts after their retention; return their number."""
    before = await verified_now(pool) - RECEIPT_RETENTION
    return await _delete_all(pool, lambda connection, limit: store.delete_receipts(connection, before, limit))


async def delete_expired_splits(pool: Pool) -> int:
    """Delete splits and assignments after their retention; return their number."""
    before = await verified_now(pool) - timedelta(days=SPLIT_DAYS)
    return await _delete_all(pool, lambda connection, limit: splits_store.delete(connection, before, limit))


async def delete_expired_responses(pool: Pool) -> int:
    """Delete expired responses to requests with an Idempotency-Key; return their number."""
    return await _delete_all(pool, mutations_store.delete_expired)


async def delete_expired_sessions(pool: Pool) -> int:
    """Delete expired sessions and sign-ins of the console; return the number of sessions."""
    async with pool.acquire() as connection:
        await members_store.delete_expired_sign_ins(connection)
    return await _delete_all(pool, members_store.delete_expired)


async def delete_outdated_exchanges(pool: Pool) -> int:
    """Delete the exchanges of ID tokens that aren't among the newest ones of an organization; return their number."""
    return await _delete_all(pool, publishers_store.delete_outdated)


async def delete_expired_keys(pool: Pool) -> int:
    """Delete the keys of CI jobs one day after they expired; return their number."""
    return await _delete_all(
        pool, lambda connection, limit: publishers_store.delete_expired(connection, _KEPT_EXPIRED, limit)
    )


async def delete_expired_usage(pool: Pool) -> int:
    """Delete the numbers of uploaded artifacts of earlier days; return the number of rows."""
    return await _delete_all(pool, artifacts_store.delete_expired)


async def delete_expired_events(pool: Pool) -> int:
    """Delete events after their retention, and before them their deliveries; return the number of events.

    Also delete the rows of digests, whose weeks are no longer published.
    """
    before = await verified_now(pool) - timedelta(days=RETENTION_DAYS)
    async with pool.acquire() as connection:
        await digests_store.prune(connection, before.date())
    before_ms = int(before.timestamp() * 1000)
    await _delete_all(pool, lambda connection, limit: events_store.prune_deliveries(connection, before_ms, limit))
    return await _delete_all(pool, lambda connection, limit: events_store.prune(connection, before_ms, limit))


async def delete_expired_minutes(pool: Pool, results_period: timedelta) -> None:
    """Delete the minutes of failure groups in the expired months of results that have no partition.

    Retention has dropped these months, or an operator has archived them. Ingest rejects runs of expired months, so no
    process relies on the rows. An interruption keeps the previous deletions. The next call reads all rows again.
    """
    async with pool.acquire() as connection:
        now = await read_verified_clock(connection)
        ranges = await store.find_dropped_minutes(connection, first_retained_month(now, results_period))
        org_ids = [OrgId(row["org_id"]) for row in await organizations_store.list_all(connection)]
    for org_id in org_ids:
        after: store.GroupMinute | None = store.BEFORE_ALL_MINUTES
        while after is not None:
            async with pool.acquire() as connection:
                after = await store.delete_minutes(connection, org_id, ranges, after, _MAX_MINUTES)


async def _delete_all(pool: Pool, delete: Callable[[Connection, int], Awaitable[int]]) -> int:
    """Call `delete`, each time in its own transaction, until it deletes no row; return the total number of rows.

    An interruption keeps the previous deletions, so that cleanup makes progress with a backlog of any size.
    """
    deleted = 0
    while True:
        async with pool.acquire() as connection:
            count = await delete(connection, _MAX_ROWS)
        if not count:
            return deleted
        deleted += count
