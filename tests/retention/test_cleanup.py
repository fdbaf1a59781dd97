"""Periodic cleanup: each task deletes only expired rows, in transactions of limited size."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from service.database import database
from service.retention import cleanup
from tests.run_events import run_event
from tests.stored import Store

MANY = 7
STEP = 3
LONG_AGO = "0100" + "0" * 28  # part of an ID that was created decades ago

# Records the transaction and the number of deleted rows of each statement.
RECORDER = """
CREATE TABLE steps (transaction xid8, deleted bigint);
CREATE FUNCTION record_step() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO steps SELECT pg_current_xact_id(), count(*) FROM old_rows HAVING count(*) > 0;
    RETURN NULL;
END $$;
"""
RECORD_DELETIONS = (
    "CREATE TRIGGER recorded AFTER DELETE ON {} REFERENCING OLD TABLE AS old_rows EXECUTE FUNCTION record_step()"
)


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def fill_receipts(owner: asyncpg.Connection) -> None:
    await owner.execute(
        "INSERT INTO receipts (org_id, receipt_id, source, event_id, body_sha256, status, received_at)"
        " SELECT 1, 'rcp_' || lpad(n::text, 12, '0'), '', n, '', 'stored', now() - interval '100 days'"
        " FROM generate_series(1, $1::int) n",
        MANY,
    )


async def fill_responses(owner: asyncpg.Connection) -> None:
    await owner.execute(
        "INSERT INTO idempotency_keys"
        " (org_id, api_key_id, method, path_sha256, key, request_sha256, status, body, created_at)"
        " SELECT 1, 'key_1', 'POST', '', n, '', 202, '', now() - interval '25 hours'"
        " FROM generate_series(1, $1::int) n",
        MANY,
    )


async def fill_usage(owner: asyncpg.Connection) -> None:
    await owner.execute(
        "INSERT INTO artifact_usage (org_id, key_id, day, files, bytes)"
        " SELECT 1, 'key_1', now()::date - 10 - n, 1, 1 FROM generate_series(1, $1::int) n",
        MANY,
    )


async def fill_events(owner: asyncpg.Connection) -> None:
    await owner.execute(
        "INSERT INTO events (org_id, event_id, type, data, number)"
        " SELECT 1, 'evt_' || lpad(n::text, 12, '0'), 'run.updated', '{}', n FROM generate_series(1, $1::int) n",
        MANY,
    )


async def fill_deliveries(owner: asyncpg.Connection) -> None:
    await fill_events(owner)
    await owner.execute("INSERT INTO webhooks (org_id, webhook_id, url, secret) VALUES (1, 'whk_1', '', '')")
    await owner.execute(
        "INSERT INTO deliveries (org_id, webhook_id, delivery_id, event_id)"
        " SELECT 1, 'whk_1', delivery_id('whk_1', event_id), event_id FROM events"
    )


async def fill_splits(owner: asyncpg.Connection) -> None:
    await owner.execute(
        "INSERT INTO splits (org_id, project_id, key, pipeline, run_id, document, digest, created_by, created_at)"
        " SELECT 1, 'shop', n, '', '', '', '', 'key_1', now() - interval '30 days 1 minute'"
        " FROM generate_series(1, $1::int) n",
        MANY,
    )


async def fill_assignments(owner: asyncpg.Connection) -> None:
    await owner.execute(
        "INSERT INTO split_assignments (org_id, receipt_id, key, project_id, pipeline, run_id, document, created_at)"
        " SELECT 1, 'rcp_' || n, 'unit', 'shop', '', '', '', now() - interval '30 days 1 minute'"
        " FROM generate_series(1, $1::int) n",
        MANY,
    )


async def fill_sessions(owner: asyncpg.Connection) -> None:
    await owner.execute(
        "INSERT INTO sessions (org_id, session_sha256, key_id, secret_sha256, expires_at)"
        " SELECT 1, int4send(n), 'key_1', '', now() - interval '1 s' FROM generate_series(1, $1::int) n",
        MANY,
    )


async def fill_keys(owner: asyncpg.Connection) -> None:
    await owner.execute(
        "INSERT INTO api_keys (org_id, key_id, name, role, secret_sha256, expires_at, publisher_id)"
        " SELECT 1, 'key_' || n, '', 'uploader', '', now() - interval '25 hours', 'pub_1'"
        " FROM generate_series(1, $1::int) n",
        MANY,
    )


@pytest.mark.parametrize(
    ("table", "fill", "task"),
    [
        ("receipts", fill_receipts, cleanup.delete_expired_receipts),
        ("idempotency_keys", fill_responses, cleanup.delete_expired_responses),
        ("sessions", fill_sessions, cleanup.delete_expired_sessions),
        ("api_keys", fill_keys, cleanup.delete_expired_keys),
        ("artifact_usage", fill_usage, cleanup.delete_expired_usage),
        ("splits", fill_splits, cleanup.delete_expired_splits),
        ("split_assignments", fill_assignments, cleanup.delete_expired_splits),
        ("events", fill_events, cleanup.delete_expired_events),
        ("deliveries", fill_deliveries, cleanup.delete_expired_events),
    ],
)
async def test_backlog_is_deleted_in_several_transactions(
    store: Store, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch,
    table: str, fill: Callable[[asyncpg.Connection], Awaitable[None]], task: Callable[[Any], Awaitable[int]],
) -> None:  # fmt: skip
    monkeypatch.setattr(cleanup, "_MAX_ROWS", STEP)
    await fill(owner)
    await owner.execute(RECORDER + RECORD_DELETIONS.format(table))
    assert await task(store.pool) == MANY
    assert await owner.fetchval(f"SELECT count(*) FROM {table}") == 0
    steps = await owner.fetch("SELECT transaction, deleted FROM steps ORDER BY transaction")
    assert [step["deleted"] for step in steps] == [3, 3, 1]
    assert len({step["transaction"] for step in steps}) == len(steps)


async def test_error_keeps_the_deletions_of_earlier_transactions(
    store: Store, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "_MAX_ROWS", STEP)
    await fill_receipts(owner)
    await owner.execute(
        "CREATE TABLE links (org_id int, receipt_id text, FOREIGN KEY (org_id, receipt_id) REFERENCES receipts)"
    )
    await owner.execute(
        "INSERT INTO links SELECT org_id, receipt_id FROM receipts ORDER BY receipt_id OFFSET 4 LIMIT 1"
    )
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await cleanup.delete_expired_receipts(store.pool)
    assert await owner.fetchval("SELECT count(*) FROM receipts") == MANY - STEP


async def test_concurrent_cleanups_skip_locked_rows(
    store: Store, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "_MAX_ROWS", STEP)
    await fill_receipts(owner)
    async with owner.transaction():
        await owner.execute("SELECT 1 FROM receipts ORDER BY receipt_id LIMIT 2 FOR UPDATE")
        assert await asyncio.wait_for(cleanup.delete_expired_receipts(store.pool), 4) == MANY - 2
    assert await cleanup.delete_expired_receipts(store.pool) == 2


async def age_receipt(store: Store, event_id: str, **columns: Any) -> None:
    sets = "".join(f", {name} = ${number}" for number, name in enumerate(columns, 3))
    await store.pool.execute(
        f"UPDATE receipts SET receipt_id = $1{sets} WHERE event_id = $2", f"rcp_{LONG_AGO}", event_id, *columns.values()
    )


async def test_only_expired_receipts_are_deleted(store: Store) -> None:
    await store.ingest(run_event("run_1", id="old"), run_event("run_2", id="new"))
    await age_receipt(store, "old", received_at=datetime.now(UTC) - timedelta(days=91))
    await cleanup.delete_expired_receipts(store.pool)
    assert [receipt["event_id"] for receipt in await store.receipts()] == ["new"]


async def test_reused_receipt_expires_after_its_last_use(store: Store) -> None:
    await store.ingest(run_event(id="again"))
    await age_receipt(store, "again", received_at=datetime.now(UTC) - timedelta(days=89))
    await cleanup.delete_expired_receipts(store.pool)
    assert len(await store.receipts()) == 1


async def test_receipt_of_an_unread_report_is_not_deleted(store: Store) -> None:
    await store.ingest(run_event(id="waiting"))
    await age_receipt(store, "waiting", received_at=datetime.now(UTC) - timedelta(days=91), status="queued")
    await cleanup.delete_expired_receipts(store.pool)
    assert len(await store.receipts()) == 1


@pytest.mark.slow
async def test_consumer_suspended_in_a_copy_is_terminated(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = await database.open_pool(database_url, "results_worker", 1)
    async with pool.acquire() as stuck:
        pid = stuck.get_server_pid()
        copying = asyncio.create_task(_copy_without_end(stuck))
        await asyncio.sleep(0.3)
        await cleanup.terminate_stuck_writers(store.pool)
        assert await _is_connected(store, pid)
        monkeypatch.setattr(cleanup, "_STUCK_AFTER", timedelta(0))
        await cleanup.terminate_stuck_writers(store.pool)
        await _until_disconnected(store, pid)
        copying.cancel()  # a suspended process doesn't notice that its connection is closed
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError, asyncio.CancelledError)):
            await copying
    await database.close_pool(pool)
    assert await store.pool.fetchval("SELECT 1") == 1


async def test_consumer_suspended_before_the_execution_of_a_statement_is_terminated(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    suspended = await asyncpg.connect(database_url, server_settings={"application_name": "results_worker"})
    try:
        pid = suspended.get_server_pid()
        await suspended.execute("BEGIN")
        await suspended.prepare("SELECT 1")
        await cleanup.terminate_stuck_writers(store.pool)
        assert await _is_connected(store, pid)
        monkeypatch.setattr(cleanup, "_PREPARED_FOR", timedelta(0))
        async with asyncio.timeout(10):  # the backend waits for the client shortly after its response
            while await _is_connected(store, pid):
                await cleanup.terminate_stuck_writers(store.pool)
    finally:
        suspended.terminate()  # otherwise, the event loop waits for the connection without end


async def _until_disconnected(store: Store, pid: int) -> None:
    async with asyncio.timeout(10):
        while await _is_connected(store, pid):  # noqa: ASYNC110 - PostgreSQL sends no notification
            await asyncio.sleep(0.05)


async def _is_connected(store: Store, pid: int) -> bool:
    return bool(await store.pool.fetchval("SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE pid = $1)", pid))


async def _copy_without_end(connection: database.Connection) -> None:
    async def rows() -> AsyncIterator[bytes]:
        await asyncio.sleep(3600)
        yield b""

    await connection.copy_to_table("heartbeats", source=rows(), columns=["worker_id", "role"])


async def test_only_responses_older_than_a_day_are_deleted(store: Store, owner: asyncpg.Connection) -> None:
    await owner.executemany(
        "INSERT INTO idempotency_keys"
        " (org_id, api_key_id, method, path_sha256, key, request_sha256, status, body, created_at)"
        " VALUES (1, 'key_1', 'POST', '', $1, '', 202, '', now() - $2::interval)",
        [("old", timedelta(hours=25)), ("new", timedelta(hours=23))],
    )
    await cleanup.delete_expired_responses(store.pool)
    assert [row["key"] for row in await owner.fetch("SELECT key FROM idempotency_keys")] == ["new"]


async def test_response_that_is_replaced_during_cleanup_is_not_deleted(store: Store, owner: asyncpg.Connection) -> None:
    await fill_responses(owner)
    async with owner.transaction():
        await owner.execute("UPDATE idempotency_keys SET created_at = now() WHERE key = '1'")
        deletion = asyncio.create_task(cleanup.delete_expired_responses(store.pool))
        await asyncio.sleep(0.3)
        assert not deletion.done()
    assert await deletion == MANY - 1
    assert [row["key"] for row in await owner.fetch("SELECT key FROM idempotency_keys")] == ["1"]


async def test_only_the_usage_of_earlier_days_is_deleted(store: Store, owner: asyncpg.Connection) -> None:
    await owner.execute(
        "INSERT INTO artifact_usage (org_id, key_id, day, files, bytes)"
        " SELECT 1, 'key_1', (now() AT TIME ZONE 'UTC')::date - n, n, 1 FROM generate_series(0, 3) n"
    )
    assert await cleanup.delete_expired_usage(store.pool) == 2
    assert [row["files"] for row in await owner.fetch("SELECT files FROM artifact_usage ORDER BY files")] == [0, 1]


async def test_splits_are_kept_for_30_days(store: Store, owner: asyncpg.Connection) -> None:
    await fill_splits(owner)
    await fill_assignments(owner)
    for table in ("splits", "split_assignments"):
        await owner.execute(f"UPDATE {table} SET created_at = now() - interval '29 days 23 hours'")
    assert await cleanup.delete_expired_splits(store.pool) == 0
