"""Ingest of run-completion events: one transaction per batch, exactly once per event, without deadlocks."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from service.domain.errors import Reason
from service.domain.results import MAX_EVENT_ROWS
from service.log import log
from service.store import organizations
from service.store.postgres.database import DRIVER_ERRORS, Connection, Pool, is_conflict, is_outage
from service.store.postgres.retries import retry_on_conflict
from service.store.postgres.transactions import notifying_transaction
from service.usecases.ingest.batch_items import BatchItem, DatarefItem, EventItem, EventOutcome, RejectedItem
from service.usecases.ingest.caches import IngestCache, IngestCaches
from service.usecases.ingest.emit_events import emit_run_events
from service.usecases.ingest.new_cases import insert_unseen_cases
from service.usecases.ingest.parse_events import (
    AcceptanceWindow,
    ParsedDataref,
    ParsedEvent,
    RejectedEvent,
    parse_event,
)
from service.usecases.ingest.parse_results import parse_results
from service.usecases.ingest.store_batch import BatchWriter
from service.usecases.ingest.validate_events import MAX_LISTED_ERRORS


class RunIngest:
    """The use case, with its caches of known cases, organizations, and months. Create one per process."""

    def __init__(
        self, pool: Pool, retention: timedelta, link_base: str = "", storage_url: str = "",
        max_rows: int = MAX_EVENT_ROWS,
    ) -> None:  # fmt: skip
        self._pool = pool
        self._storage_url = storage_url
        self._retention = retention
        self._link_base = link_base
        self._max_rows = max_rows
        self._caches = IngestCaches()

    async def ingest(self, bodies: Sequence[bytes]) -> list[EventOutcome]:
        """Store a batch of structured-mode events, and return the outcome of each event.

        The batch is committed when this returns. After an error, the caller can ingest the same batch again. Raises
        only if the database is unavailable, or if another transaction locks a run for a long time.
        """
        try:
            return await self._ingest_with_retries(bodies)
        except Exception as error:
            if is_outage(error):
                raise
            if len(bodies) == 1:
                if is_conflict(error):
                    raise  # for example, the ingest of a very large report locks the run: the caller retries later
                return [await self._reject_failed(bodies[0], error)]
            log.warning("batch_split", events=len(bodies), error=repr(error))
        return [outcome for body in bodies for outcome in await self.ingest([body])]

    async def _ingest_with_retries(self, bodies: Sequence[bytes]) -> list[EventOutcome]:
        def log_retry(error: Exception, delay_s: float) -> None:
            log.info("batch_conflict", delay_s=delay_s, error=repr(error))

        return await retry_on_conflict(partial(self._ingest_batch, bodies), log_retry)

    async def _ingest_batch(self, bodies: Sequence[bytes]) -> list[EventOutcome]:
        window = AcceptanceWindow(datetime.now(UTC), self._retention)
        async with self._pool.acquire() as connection:
            cache = await self._caches.find(connection)
            batch = BatchWriter([await self._parse(connection, cache, body, window) for body in bodies])
            await insert_unseen_cases(connection, cache.cases, batch.events)
            completed_ms = [item.event.state.completed_ms for item in batch.events]
            async with cache.months.ensure_partitions(connection, completed_ms), notifying_transaction(connection):
                await batch.store(connection)
                await emit_run_events(connection, batch.changes, self._link_base)
        return batch.outcomes

    async def _parse(
        self, connection: Connection, cache: IngestCache, body: bytes, window: AcceptanceWindow
    ) -> BatchItem:
        """Parse one event completely before the next, so that only one parsed event is in memory and CPU caches."""
        await asyncio.sleep(0)  # yields, so that other batches can send their next statement
        event = parse_event(body, window, self._max_rows)
        slug = event.organization
        if slug and slug not in cache.organizations:
            cache.organizations |= await organizations.find_by_slugs(connection, {slug})
        return self._to_item(event, cache)

    def _to_item(self, event: ParsedEvent | ParsedDataref | RejectedEvent, cache: IngestCache) -> BatchItem:
        if isinstance(event, ParsedDataref):
            return DatarefItem(event, self._storage_url)
        org_id = cache.organizations.get(event.organization or "")
        if isinstance(event, RejectedEvent):
            return RejectedItem(org_id, event)
        if org_id is None:
            message = f"data.organization: organization {event.organization!r} not found"
            return RejectedItem(None, event.to_rejected("unknown_organization", message))
        outcomes, unseen = parse_results(event, org_id, cache.cases)
        event.results = []  # frees memory: parsed results take several times as much as outcomes
        if event.rejected_count and not outcomes:
            listed = "; ".join(str(problem["reason"]) for problem in event.problems[:MAX_LISTED_ERRORS])
            return RejectedItem(
                org_id, event.to_rejected("no_valid_result", f"data.results: no result is valid: {listed}")
            )
        return EventItem(org_id, event, outcomes, unseen)

    async def _reject_failed(self, body: bytes, error: Exception) -> EventOutcome:
        """Reject an event that caused an error of the database or of the service, and store a receipt if possible."""
        reason: Reason = "refused_by_store" if isinstance(error, DRIVER_ERRORS) else "internal_error"
        message = f"{type(error).__name__}: {error}"[:1000]
        log.error("event_failed", reason=reason, exc_info=error)
        event = parse_event(body, AcceptanceWindow(datetime.now(UTC), self._retention), self._max_rows)
        if isinstance(event, ParsedDataref):
            return EventOutcome("rejected", reason, message)
        rejected = event if isinstance(event, RejectedEvent) else event.to_rejected(reason, message)
        item = RejectedItem(None, rejected)
        try:
            async with self._pool.acquire() as connection:
                cache = await self._caches.find(connection)
                item.org_id = cache.organizations.get(rejected.organization or "")
                async with connection.transaction():
                    await BatchWriter([item]).store(connection)
        except Exception as receipt_error:
            if is_outage(receipt_error):
                raise
            log.exception("receipt_not_stored")  # the dead letter still contains the reason
        return item.outcome
