"""Ingest of run-completion events: one transaction per batch, exactly once per event, without deadlocks."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Final, ParamSpec, TypeVar

from service.domain.errors import Reason
from service.domain.results import MAX_EVENT_ROWS
from service.log import log
from service.store import cases, projects
from service.store.failure_groups import NewMinutes, recording_minutes
from service.store.organization_deletions import evicting_deleted
from service.store.partitions import ensure_partitions
from service.store.postgres.database import (
    DRIVER_ERRORS,
    Connection,
    Pool,
    RowDeleted,
    is_conflict,
    is_connection_error,
    is_lock_timeout,
    is_outage,
    is_unreachable_worker,
)
from service.store.postgres.retries import is_temporary, retry_on_conflict
from service.store.postgres.transactions import notifying_transaction
from service.tracing.spans import context_of_message
from service.usecases.ingest.batch_items import BatchItem, DatarefItem, EventItem, EventOutcome, RejectedItem
from service.usecases.ingest.caches import IngestCache, IngestCaches
from service.usecases.ingest.emit_events import emit_run_events
from service.usecases.ingest.locked_runs import LockedRuns, ProducerRun
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
from service.usecases.ingest.validate_events import LARGE_BODY_BYTES

_LOCK_WAIT_S: Final = 1.0  # another batch releases its locks earlier
_SHORT_LOCK_WAIT_S: Final = 0.2  # of each run, after a lock timeout of the batch
_LOCKED: Final = "the run is locked by another transaction"


P = ParamSpec("P")
T = TypeVar("T")


class RunIngest:
    """The use case, with its caches. Create one per process."""

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
        self._locked_runs = LockedRuns()

    async def ingest(self, bodies: Sequence[bytes]) -> list[EventOutcome]:
        """Store a batch of structured-mode events, and return the outcome of each event.

        The batch is committed when this returns. After an error, the caller can ingest the same batch again. Raises
        only an error of the server or the connection, which the events can't have caused.
        """
        try:
            return await self._ingest_with_retries(bodies, _LOCK_WAIT_S)
        except Exception as error:
            if is_connection_error(error):
                raise
            if len(bodies) == 1:
                return [await self._resolve_failed(bodies[0], error)]
            log.warning("batch_split", events=len(bodies), error=repr(error))
            if not is_lock_timeout(error):
                return await self._ingest_each(bodies)
        return await self._ingest_by_run(bodies)

    async def _ingest_each(self, bodies: Sequence[bytes]) -> list[EventOutcome]:
        """Ingest each event separately. Raises an error of the server only if no event can be stored."""
        outcomes: list[EventOutcome] = []
        failures: list[Exception] = []
        for body in bodies:
            try:
                outcomes += await self.ingest([body])
            except Exception as error:
                if is_connection_error(error) or not is_outage(error):
                    raise
                failures.append(error)
                outcomes.append(_postponed(error))
        if len(failures) == len(bodies):
            raise failures[-1]
        return outcomes

    async def _ingest_by_run(self, bodies: Sequence[bytes]) -> list[EventOutcome]:
        """Ingest the events of each run separately, and postpone those of locked runs."""
        groups: dict[object, list[int]] = {}
        for index, body in enumerate(bodies):
            groups.setdefault(await self._find_run(body) or index, []).append(index)
        outcomes: dict[int, EventOutcome] = {}
        for indexes in groups.values():
            found = await self._ingest_group([bodies[index] for index in indexes])
            outcomes |= zip(indexes, found, strict=True)
        return [outcomes[index] for index in range(len(bodies))]

    async def _ingest_group(self, bodies: Sequence[bytes]) -> list[EventOutcome]:
        try:
            return await self._ingest_with_retries(bodies, _SHORT_LOCK_WAIT_S)
        except Exception as error:
            if is_lock_timeout(error):
                return await self._postpone_locked(bodies, error)
            if is_connection_error(error):
                raise
        return await self._ingest_each(bodies)

    async def _postpone_locked(self, bodies: Sequence[bytes], error: Exception) -> list[EventOutcome]:
        """Postpone the events of a locked run, and remember the run."""
        for body in bodies:
            if run := await self._find_run(body):
                self._locked_runs.add(run)
        return [_postponed(error)] * len(bodies)

    async def _find_run(self, body: bytes) -> ProducerRun | None:
        """Return the run that the event names, or None if the event isn't valid or its data is in storage."""
        event = await self._parse_event(body, self._window(self._caches.current))
        return (event.organization, event.state.run_id) if isinstance(event, ParsedEvent) else None

    async def _ingest_with_retries(self, bodies: Sequence[bytes], lock_wait_s: float) -> list[EventOutcome]:
        def log_retry(error: Exception, delay_s: float) -> None:
            log.info("batch_conflict", delay_s=delay_s, error=repr(error))

        return await retry_on_conflict(partial(self._ingest_batch, bodies, lock_wait_s), log_retry)

    async def _ingest_batch(self, bodies: Sequence[bytes], lock_wait_s: float) -> list[EventOutcome]:
        async with self._pool.acquire() as connection:
            cache = await self._caches.find(connection)
            window = self._window(cache)
            with evicting_deleted(cache.organizations), recording_minutes(cache.minutes) as minutes:
                items = [await self._parse(connection, cache, body, window) for body in bodies]
                batch = BatchWriter(items, minutes)
                await insert_unseen_cases(connection, cache, batch.events)
                completed_ms = [item.event.state.completed_ms for item in batch.events]
                partitioned = ensure_partitions(connection, cache.months, completed_ms)
                async with partitioned, notifying_transaction(connection):
                    await cases.lock_files(connection, cache.files, lock_wait_s)
                    await batch.store(connection)
                    await emit_run_events(connection, batch.changes, self._link_base)
                    await projects.insert_unseen(connection, {change.run.project_ref for change in batch.changes})
        return batch.outcomes

    def _window(self, cache: IngestCache) -> AcceptanceWindow:
        """Return the accepted times. The clock of this process can be wrong, and others would accept other events."""
        return AcceptanceWindow(cache.now, self._retention)

    async def _parse(
        self, connection: Connection, cache: IngestCache, body: bytes, window: AcceptanceWindow
    ) -> BatchItem:
        """Parse one event completely before the next, so that only one parsed event is in memory and CPU caches."""
        event = await self._parse_event(body, window)
        if event.organization:
            await cache.find_organization(connection, event.organization)
        item = await _run(body, self._to_item, event, cache)
        if not isinstance(item, RejectedItem):
            item.trace_context = context_of_message(body)
        return item

    async def _parse_event(self, body: bytes, window: AcceptanceWindow) -> ParsedEvent | ParsedDataref | RejectedEvent:
        await asyncio.sleep(0)  # yields, so that other batches can send their next statement
        return await _run(body, parse_event, body, window, self._max_rows)

    def _to_item(self, event: ParsedEvent | ParsedDataref | RejectedEvent, cache: IngestCache) -> BatchItem:
        if isinstance(event, ParsedDataref):
            return DatarefItem(event, self._storage_url)
        org_id = cache.organizations.get(event.organization or "")
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
            item.outcome = EventOutcome("postponed", message=_LOCKED)
        return item

    async def _resolve_failed(self, body: bytes, error: Exception) -> EventOutcome:
        """Return the outcome of an event that can't be stored alone. Raises an error of the server.

        An unreachable worker only has some organizations, so the events of other organizations don't wait for it.
        """
        if is_unreachable_worker(error):
            return _postponed(error)
        if is_outage(error):
            raise error
        if is_lock_timeout(error):
            return (await self._postpone_locked([body], error))[0]
        if is_conflict(error) and not isinstance(error, RowDeleted):
            return _postponed(error)
        return await self._reject_failed(body, error)

    async def _reject_failed(self, body: bytes, error: Exception) -> EventOutcome:
        """Reject an event that caused an error of the database or of the service, and store a receipt if possible."""
        is_database_error = isinstance(error, (*DRIVER_ERRORS, RowDeleted))
        reason: Reason = "refused_by_store" if is_database_error else "internal_error"
        message = f"{type(error).__name__}: {error}"[:1000]
        log.error("event_failed", reason=reason, exc_info=error)
        try:
            async with self._pool.acquire() as connection:
                cache = await self._caches.find(connection)
                event = await self._parse_event(body, self._window(cache))
                rejected = event if isinstance(event, RejectedEvent) else event.to_rejected(reason, message)
                item = RejectedItem(cache.organizations.get(rejected.organization or ""), rejected)
                async with connection.transaction():
                    await BatchWriter([item], NewMinutes(cache.minutes)).store(connection)
        except Exception as receipt_error:
            if is_temporary(receipt_error):
                raise
            log.exception("receipt_not_stored")  # the dead letter still contains the reason
        return EventOutcome("rejected", reason, message)


def _postponed(error: Exception) -> EventOutcome:
    return EventOutcome("postponed", message=_LOCKED if is_lock_timeout(error) else f"{type(error).__name__}: {error}")


async def _run(body: bytes, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function that reads a body, in a thread if the body is large, so that the event loop continues."""
    if len(body) > LARGE_BODY_BYTES:
        return await asyncio.to_thread(function, *args, **kwargs)
    return function(*args, **kwargs)
