"""Ingest of run-completion events: one transaction per batch, exactly once per event, without deadlocks."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import ParamSpec, TypeVar

from service.cases import store as cases_store
from service.database.database import DRIVER_ERRORS, Connection, Pool, RowDeleted, is_unsupported, pool_engine
from service.database.partitions import ensure_partitions
from service.database.shares import Worker
from service.database.transactions import is_temporary, notifying_transaction
from service.domain.errors import Reason
from service.domain.ids import OrgId
from service.failures.minutes import NewMinutes, recording_minutes
from service.identity.producers.model import Sender
from service.ingest.batch_items import BatchItem, DatarefItem, EventItem, EventMessage, EventOutcome, RejectedItem
from service.ingest.ingest_batches import LOCKED, BatchIngest, BatchPart, LockedRuns, ProducerRun
from service.ingest.new_cases import IngestCache, IngestCaches, insert_unseen_cases
from service.ingest.parse_events import AcceptanceWindow, ParsedDataref, ParsedEvent, RejectedEvent, parse_event
from service.ingest.parse_results import parse_results
from service.ingest.store_batch import BatchWriter
from service.ingest.validate_events import LARGE_BODY_BYTES
from service.ingest.write_run import emit_run_events
from service.log import log
from service.organizations import store as organizations_store
from service.projects import store as projects_store
from service.results.model import MAX_EVENT_ROWS
from service.retention.organization_store import evicting_deleted
from service.tasks.workers import WorkerChecks

P = ParamSpec("P")
T = TypeVar("T")


class RunIngest:
    """The use case, with its caches. Create one per process."""

    def __init__(
        self, pool: Pool, retention: timedelta, link_base: str = "", storage_url: str = "",
        max_rows: int = MAX_EVENT_ROWS, stopping: asyncio.Event | None = None, *, requires_producer: bool = False,
    ) -> None:  # fmt: skip
        self._pool = pool
        self._storage_url = storage_url
        self._retention = retention
        self._link_base = link_base
        self._max_rows = max_rows
        self._requires_producer = requires_producer
        self._caches = IngestCaches()
        self._locked_runs = LockedRuns()
        self._checks = WorkerChecks(pool)
        self._batches = BatchIngest(self, stopping)

    async def ingest(self, messages: Sequence[EventMessage]) -> list[EventOutcome]:
        """Store a batch of events, and return the outcome of each. Raises Stopped if the process must stop.

        The batch is committed when this returns.
        """
        return await self._batches.ingest(messages)

    async def split(self, messages: Sequence[EventMessage]) -> Sequence[BatchPart]:
        """Return the events of each worker of Citus, and those that only the coordinator stores."""
        if not pool_engine(self._pool).is_distributed:
            return [BatchPart(range(len(messages)))]
        window = self._window(self._caches.current)
        slugs = [(await self._parse_event(message.body, window)).organization for message in messages]
        async with self._pool.acquire() as connection:
            org_ids = await organizations_store.find_by_slugs(connection, set(filter(None, slugs)))
        workers = {org_id: await self._checks.find_worker(org_id) for org_id in org_ids.values()}
        parts: dict[Worker | None, tuple[list[int], OrgId | None]] = {}
        for position, slug in enumerate(slugs):
            org_id = org_ids.get(slug or "")
            worker = None if org_id is None else workers[org_id]
            parts.setdefault(worker, ([], org_id))[0].append(position)
        return [BatchPart(*part) for part in parts.values()]

    async def while_available(self, org_id: OrgId, work: Callable[[], Awaitable[T]]) -> T:
        """Return the result of the work. Raises WorkerUnavailable if the worker of the organization doesn't respond."""
        return await self._checks.while_available(org_id, work)

    async def store(self, messages: Sequence[EventMessage], lock_wait_s: float) -> list[EventOutcome]:
        """Store the events in one transaction, which waits only for a limited time for the locks of runs."""
        async with self._pool.acquire() as connection:
            cache = await self._caches.find(connection, users=_users(messages))
            window = self._window(cache)
            with evicting_deleted(cache.organizations), recording_minutes(cache.minutes) as minutes:
                items = [await self._parse(connection, cache, message, window) for message in messages]
                batch = BatchWriter(items, minutes)
                await insert_unseen_cases(connection, cache, batch.events)
                completed_ms = [item.event.state.completed_ms for item in batch.events]
                partitioned = ensure_partitions(connection, cache.months, completed_ms)
                async with partitioned, notifying_transaction(connection):
                    await cases_store.lock_files(connection, cache.files, lock_wait_s)
                    await batch.store(connection)
                    await emit_run_events(connection, batch.changes, self._link_base, batch.slugs)
                    changed = {change.run.project_ref for change in batch.changes}
                    await projects_store.lock_or_insert(connection, changed, cache.versions)
        return batch.outcomes

    async def find_run(self, message: EventMessage) -> ProducerRun | None:
        """Return the run that the event names, or None if the event isn't valid or its data is in storage."""
        event = await self._parse_event(message.body, self._window(self._caches.current))
        return (event.organization, event.state.run_id) if isinstance(event, ParsedEvent) else None

    async def remember_locked(self, message: EventMessage) -> None:
        """Remember for a few seconds that another transaction locks the run of this event."""
        if run := await self.find_run(message):
            self._locked_runs.add(run)

    def _window(self, cache: IngestCache) -> AcceptanceWindow:
        """Return the accepted times. The clock of this process can be wrong, and others would accept other events."""
        return AcceptanceWindow(cache.now, self._retention)

    async def _parse(
        self, connection: Connection, cache: IngestCache, message: EventMessage, window: AcceptanceWindow
    ) -> BatchItem:
        """Parse one event completely before the next, so that only one parsed event is in memory and CPU caches."""
        event = await self._parse_event(message.body, window)
        if event.organization:
            await cache.find_organization(connection, event.organization)
        item = await _run(message.body, self._to_item, event, cache, self._sender(cache, message))
        if not isinstance(item, RejectedItem):
            item.trace_context = message.trace_context
        return item

    async def _parse_event(self, body: bytes, window: AcceptanceWindow) -> ParsedEvent | ParsedDataref | RejectedEvent:
        await asyncio.sleep(0)  # yields, so that other batches can send their next statement
        return await _run(body, parse_event, body, window, self._max_rows)

    def _sender(self, cache: IngestCache, message: EventMessage) -> Sender:
        return Sender(message.user, cache.producers.get(message.user or "", ()), self._requires_producer)

    def _to_item(
        self, event: ParsedEvent | ParsedDataref | RejectedEvent, cache: IngestCache, sender: Sender
    ) -> BatchItem:
        if isinstance(event, ParsedDataref):
            return DatarefItem(event, self._storage_url, sender)
        org_id = cache.organizations.get(event.organization or "")
        if refused := _find_refused(event, org_id, sender):
            return refused
        if isinstance(event, RejectedEvent):
            return RejectedItem(org_id, event)
        if org_id is None:
            message = f"data.organization: organization {event.organization!r} not found"
            return RejectedItem(None, event.to_rejected("unknown_organization", message))
        outcomes, unseen = parse_results(event, cache.known_cases(org_id), cache.fingerprints)
        event.results = ()  # frees memory: unvalidated results take several times as much as outcomes
        if event.rejected_count and not outcomes:
            message = f"data.results: no result is valid: {event.list_reasons()}"
            return RejectedItem(org_id, event.to_rejected("no_valid_result", message))
        item = EventItem(org_id, event, outcomes, unseen)
        if (event.organization, event.state.run_id) in self._locked_runs:
            item.outcome = EventOutcome("postponed", message=LOCKED)
        return item

    async def reject(self, message: EventMessage, error: Exception) -> EventOutcome:
        """Reject an event that caused an error of the database or of the service, and store a receipt if possible."""
        is_refused = isinstance(error, (*DRIVER_ERRORS, RowDeleted)) and not is_unsupported(error)
        reason: Reason = "refused_by_store" if is_refused else "internal_error"
        text = f"{type(error).__name__}: {error}"[:1000]
        log.error("event_failed", reason=reason, exc_info=error)
        try:
            async with self._pool.acquire() as connection:
                cache = await self._caches.find(connection, users=_users([message]))
                event = await self._parse_event(message.body, self._window(cache))
                rejected = event if isinstance(event, RejectedEvent) else event.to_rejected(reason, text)
                org_id = cache.organizations.get(rejected.organization or "")
                refused = _find_refused(rejected, org_id, self._sender(cache, message))
                item = refused or RejectedItem(org_id, rejected)
                async with connection.transaction():
                    await BatchWriter([item], NewMinutes(cache.minutes)).store(connection)
        except Exception as receipt_error:
            if is_temporary(receipt_error):
                raise
            log.exception("receipt_not_stored")  # the dead letter still contains the reason
        return EventOutcome("rejected", reason, text)


def _users(messages: Sequence[EventMessage]) -> set[str]:
    return {message.user for message in messages if message.user is not None}


def _find_refused(event: ParsedEvent | RejectedEvent, org_id: OrgId | None, sender: Sender) -> RejectedItem | None:
    """Return the event as rejected if its sender can't write to the organization, which then gets no receipt either."""
    if org_id is None or event.organization is None:
        return None
    project_id = event.state.project_id if isinstance(event, ParsedEvent) else event.project_id
    refusal = sender.find_refusal(org_id, event.organization, project_id)
    if refusal is None:
        return None
    return RejectedItem(None, RejectedEvent("producer_not_allowed", refusal, event.body_sha256))


async def _run(body: bytes, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function that reads a body, in a thread if the body is large, so that the event loop continues."""
    if len(body) > LARGE_BODY_BYTES:
        return await asyncio.to_thread(function, *args, **kwargs)
    return function(*args, **kwargs)
