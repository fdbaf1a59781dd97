"""A database with one organization, the ingest, and functions that read the tables."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg

from service.database import database
from service.identity.producers.operations import add_producer
from service.ingest.batch_items import EventMessage, EventOutcome
from service.ingest.ingest_runs import RunIngest
from service.ingest.store_batch import BatchStore
from service.organizations import store as organizations_store
from tests.run_events import body

RETENTION = timedelta(days=3653)


def messages(*events: Any) -> list[EventMessage]:
    return [EventMessage(body(event)) for event in events]


@dataclass
class Store:
    pool: asyncpg.Pool
    run_ingest: RunIngest

    async def ingest(self, *events: Any) -> list[EventOutcome]:
        """Ingest the events as one batch."""
        return await self.run_ingest.ingest(messages(*events))

    async def ingest_each(self, *events: Any) -> list[EventOutcome]:
        """Ingest each event as its own batch."""
        return [outcome for event in events for outcome in await self.ingest(event)]

    async def register(self, user: str, slug: str = "acme", project_id: str | None = None) -> None:
        """Register a RabbitMQ user as a producer."""
        async with self.pool.acquire() as connection:
            await add_producer(connection, slug, user, project_id)

    async def run(self, run_id: str = "run_1") -> dict[str, Any] | None:
        row = await self.pool.fetchrow(
            "SELECT *, status_name(status) AS status_name FROM runs WHERE run_id = $1 AND org_id = 1", run_id
        )
        return dict(row) if row else None

    async def results(self, run_id: str = "run_1") -> list[tuple[Any, ...]]:
        rows = await self.pool.fetch(
            "SELECT c.name, status_name(r.status), known_duration(r.duration_ms), r.attempts, r.flaky FROM results r"
            " JOIN runs USING (org_id, run_key) JOIN cases c USING (org_id, case_key)"
            " WHERE run_id = $1 ORDER BY c.name, c.occurrence",
            run_id,
        )
        return [tuple(row) for row in rows]

    async def receipts(self) -> list[dict[str, Any]]:
        rows = await self.pool.fetch("SELECT event_id, status, results, problems FROM receipts ORDER BY receipt_id")
        return [dict(row) for row in rows]

    async def snapshot(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return the data that must not depend on the order or number of deliveries."""
        return {
            "runs": await self._rows(
                "SELECT run_id, project_id, environment, branch, labels::text, status::text, passed, failed, error,"
                " skipped, canceled, flaky, complete, failures_missing, expected_results, expected_shards, shards,"
                " started_at, last_completed_at, duration_ms FROM runs ORDER BY run_id"
            ),
            "results": await self._rows(
                "SELECT run_id, case_key, r.status::text, r.duration_ms, started_offset_ms, attempts, r.flaky, shard"
                " FROM results r JOIN runs USING (org_id, run_key) ORDER BY run_id, case_key"
            ),
            "details": await self._rows(
                "SELECT run_id, case_key, attempt, d.status::text, d.duration_ms, is_last_attempt, d.flaky, type,"
                " message, logs_ref, fingerprint, d.shard FROM result_details d JOIN runs USING (org_id, run_key)"
                " ORDER BY run_id, case_key, attempt"
            ),
            "artifacts": await self._rows(
                "SELECT run_id, case_key, kind, a.name, size, sha256, uri, path FROM artifacts a"
                " JOIN runs USING (org_id, run_key) ORDER BY run_id, case_key, artifact_key"
            ),
            "shard_results": await self._rows(
                "SELECT run_id, case_key, shard, event_time_offset_s, result FROM shard_results"
                " JOIN runs USING (org_id, run_key) ORDER BY run_id, case_key, shard"
            ),
        }

    async def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await self.pool.fetch(query)]


@asynccontextmanager
async def open_store(database_url: str) -> AsyncIterator[Store]:
    pool = await database.open_pool(database_url, "results_worker", 4)
    try:
        await organizations_store.create(pool, "acme", "Acme")  # type: ignore[arg-type]
        yield Store(pool, RunIngest(BatchStore(pool, RETENTION)))
    finally:
        await database.close_pool(pool)
