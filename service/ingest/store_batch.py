"""The transaction of a batch: its items become rows and events, exactly once per event, without deadlocks."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import reduce
from typing import NamedTuple, TypeVar

from service.cases import store as cases_store
from service.costs import store as costs_store
from service.database.database import Connection, Pool, pool_engine
from service.database.errors import DRIVER_ERRORS, RowDeleted, is_unsupported
from service.database.partitions import ensure_partitions
from service.database.shares import Worker
from service.database.transactions import is_temporary, notifying_transaction
from service.domain.errors import Reason, Rejected
from service.domain.ids import OrgId
from service.failures.minutes import NewMinutes, recording_minutes
from service.ingest.batch_items import (
    BatchItem,
    DatarefItem,
    EventItem,
    EventMessage,
    EventOutcome,
    MessageParser,
    ProducerRun,
    RejectedItem,
)
from service.ingest.new_cases import IngestCaches, insert_unseen_cases
from service.ingest.run_changes import RunChange, check_can_merge, emit_run_events, find_key_collision
from service.ingest.validate_events import Problem
from service.log import log
from service.organizations import store as organizations_store
from service.projects import store as projects_store
from service.receipts import store as receipts_store
from service.receipts.store import EventRef
from service.results import model as results_model
from service.results import store as results_store
from service.results.model import MAX_EVENT_ROWS, PartOutcomes, combine, merge_event
from service.results.store import RunOutcomes
from service.retention.organization_store import evicting_deleted
from service.runs import model as runs_model
from service.runs import store as runs_store
from service.runs.model import PartNumbers
from service.runs.store import NewPart, RunRef, StoredRun
from service.tasks.workers import WorkerChecks

T = TypeVar("T")


class ServerEvents(NamedTuple):
    """Events whose rows are on one server, by their positions in the batch. `org_id` is one of their organizations.

    The organization is missing if all organizations are on the same server.
    """

    positions: Sequence[int]
    org_id: OrgId | None = None


class BatchStore:
    """The transactions of batches, with the caches of ingest. Create one per process."""

    def __init__(
        self, pool: Pool, retention: timedelta, link_base: str = "", storage_url: str = "",
        max_rows: int = MAX_EVENT_ROWS, *, requires_producer: bool = False,
    ) -> None:  # fmt: skip
        self._pool = pool
        self._link_base = link_base
        self._caches = IngestCaches()
        self._checks = WorkerChecks(pool)
        self._parser = MessageParser(retention, storage_url, max_rows, requires_producer=requires_producer)

    async def split(self, messages: Sequence[EventMessage]) -> Sequence[ServerEvents]:
        """Return the events of each worker of Citus, and those that only the coordinator stores."""
        if not pool_engine(self._pool).is_distributed:
            return [ServerEvents(range(len(messages)))]
        cache = self._caches.current
        slugs = [(await self._parser.parse_event(message.body, cache)).organization for message in messages]
        async with self._pool.acquire() as connection:
            org_ids = await organizations_store.find_by_slugs(connection, set(filter(None, slugs)))
        workers = {org_id: await self._checks.find_worker(org_id) for org_id in org_ids.values()}
        servers: dict[Worker | None, tuple[list[int], OrgId | None]] = {}
        for position, slug in enumerate(slugs):
            org_id = org_ids.get(slug or "")
            worker = None if org_id is None else workers[org_id]
            servers.setdefault(worker, ([], org_id))[0].append(position)
        return [ServerEvents(*events) for events in servers.values()]

    async def while_available(self, org_id: OrgId, work: Callable[[], Awaitable[T]]) -> T:
        """Return the result of the work. Raises WorkerUnavailable if the worker of the organization doesn't respond."""
        return await self._checks.while_available(org_id, work)

    async def store(self, messages: Sequence[EventMessage], lock_wait_s: float) -> list[EventOutcome]:
        """Store the events in one transaction, which waits only for a limited time for the locks of runs.

        The transaction locks the table of cases (ACCESS SHARE, which conflicts only with its replacement), then
        receipts by event, the receipts and outbox rows of data in storage, runs by ID, results by key, webhooks
        (FOR KEY SHARE), and projects. All batches and reports lock in this order, so no two of them wait for each
        other. The receipts are first, because a repeated event changes no run. The lock of a run protects its results.
        The projects are last, because a transaction that inserts the same project waits for the commit. New cases and
        partitions are committed before the transaction, so it holds no locks of them.
        """
        async with self._pool.acquire() as connection:
            cache = await self._caches.find(connection, users=_users(messages))
            with evicting_deleted(cache.organizations), recording_minutes(cache.minutes) as minutes:
                items = [await self._parser.parse(connection, cache, message) for message in messages]
                batch = BatchWriter(items, minutes)
                await insert_unseen_cases(connection, cache, batch.events)
                completed_ms = [item.event.state.completed_ms for item in batch.events]
                partitioned = ensure_partitions(connection, cache.months, completed_ms)
                async with partitioned, notifying_transaction(connection):
                    await cases_store.prevent_replacement(connection, cache.files, lock_wait_s)
                    await batch.store(connection)
                    await emit_run_events(connection, batch.changes, self._link_base, batch.slugs)
                    await costs_store.mark_changed(connection, [run.ref_of_day for run in batch.stored if run.trusted])
                    changed = {change.run.project_ref for change in batch.changes}
                    await projects_store.lock_or_insert(connection, changed, cache.versions)
        return batch.outcomes

    async def find_run(self, message: EventMessage) -> ProducerRun | None:
        """Return the run that the event names, or None if the event isn't valid or its data is in storage."""
        return await self._parser.find_run(message, self._caches.current)

    async def remember_locked(self, message: EventMessage) -> None:
        """Remember for a few seconds that another transaction locks the run of this event."""
        if run := await self.find_run(message):
            self._parser.locked_runs.add(run)

    async def reject(self, message: EventMessage, error: Exception) -> EventOutcome:
        """Reject an event that caused an error of the database or of the service, and store a receipt if possible."""
        is_refused = isinstance(error, (*DRIVER_ERRORS, RowDeleted)) and not is_unsupported(error)
        reason: Reason = "refused_by_store" if is_refused else "internal_error"
        text = f"{type(error).__name__}: {error}"[:1000]
        log.error("event_failed", reason=reason, exc_info=error)
        try:
            async with self._pool.acquire() as connection:
                cache = await self._caches.find(connection, users=_users([message]))
                item = await self._parser.reject(message, cache, reason, text)
                async with connection.transaction():
                    await BatchWriter([item], NewMinutes(cache.minutes)).store(connection)
        except Exception as receipt_error:
            if is_temporary(receipt_error):
                raise
            log.exception("receipt_not_stored")  # the dead letter still contains the reason
        return EventOutcome("rejected", reason, text)


def _users(messages: Sequence[EventMessage]) -> set[str]:
    return {message.user for message in messages if message.user is not None}


class ConflictingProjects(Exception):
    """Events of one run name several projects. Each event must be ingested separately."""


class BatchWriter:
    """A batch to store: its receipts, runs, and results. `BatchStore.store` locks cases, webhooks, and projects."""

    def __init__(self, items: Sequence[BatchItem], minutes: NewMinutes) -> None:
        self._items = items
        self._minutes = minutes
        self._datarefs = [item for item in items if isinstance(item, DatarefItem)]
        self.events = [item for item in items if isinstance(item, EventItem) and item.outcome.status != "postponed"]
        self.changes: list[RunChange] = []
        self.stored: list[StoredRun] = []  # also runs of which only outcomes by part changed
        # To write once per batch: the results to insert, the stored runs that changed, and the accepted parts.
        self._results: list[RunOutcomes] = []
        self._changed: list[StoredRun] = []
        self._parts: list[NewPart] = []

    @property
    def outcomes(self) -> list[EventOutcome]:
        """The outcome of each event, in the order of the batch."""
        return [item.outcome for item in self._items]

    @property
    def slugs(self) -> dict[OrgId, str]:
        """The slug of each organization, as its events state it."""
        return {item.org_id: item.event.organization for item in self.events}

    async def store(self, connection: Connection) -> None:
        """Store the batch. Raises ConflictingProjects, and RowDeleted if a run is deleted concurrently.

        | Step | Tables | Lock |
        |---|---|---|
        | claim the receipts of all events | `receipts` | rows: the same event in another transaction waits |
        | queue data in storage | `receipts`, `outbox` | the inserted rows |
        | insert new runs | `runs` | rows: the same run in another transaction waits |
        | lock the other runs | `runs` | FOR UPDATE |
        | merge into these, insert all results | `results` and the tables of details | by the lock of the run |
        | write the changed runs | `runs` | as before |
        | insert the accepted parts | `run_parts` | by the lock of the run |
        | set the numbers of replaced results | `receipts` | as before |

        The tables of details are `result_details`, `shard_results`, `artifacts`, and `failure_group_minutes`.
        """
        accepted = await self._insert_receipts(connection)
        for dataref in sorted(self._datarefs, key=lambda item: (item.event.source, item.event.event_id)):
            await dataref.queue(connection)
        groups: dict[RunRef, list[EventItem]] = {}
        for item in accepted:
            groups.setdefault(item.run, []).append(item)
        for ref, items in groups.items():
            if len({item.event.state.project_id for item in items}) > 1:
                raise ConflictingProjects(f"events of run {ref[1]!r} name several projects")
        if groups:
            await self._store_runs(connection, groups)
        counts = {item.ref: item.effects.counts for item in accepted if item.outcome.status != "rejected"}
        changed = {ref: numbers for ref, numbers in counts.items() if any(numbers)}
        if changed:
            await receipts_store.set_counts(connection, changed)

    async def _insert_receipts(self, connection: Connection) -> list[EventItem]:
        """Insert the receipts and return the events to store. Sets the outcome of repeated events."""
        items_by_ref: dict[EventRef, EventItem] = {}
        for item in self.events:
            item.accept()
            first = items_by_ref.setdefault(item.ref, item)
            if first is not item:
                _set_repeated(item, first.event.body_sha256)
        rows = {ref: item.receipt() for ref, item in items_by_ref.items()}
        for rejected in self._items:
            receipt = rejected.receipt() if isinstance(rejected, RejectedItem) else None
            if receipt is not None:
                rows.setdefault((receipt.org_id, receipt.source, receipt.event_id), receipt)
        new = await receipts_store.claim(connection, list(rows.values())) if rows else set()
        known = items_by_ref.keys() - new
        if known:
            bodies = await receipts_store.find_bodies(connection, known)
            for ref in known:
                _set_repeated(items_by_ref[ref], bodies[ref])
        return [item for ref, item in items_by_ref.items() if ref in new]

    async def _store_runs(self, connection: Connection, groups: dict[RunRef, list[EventItem]]) -> None:
        merged = {ref: _merge_events(items, PartNumbers()) for ref, items in groups.items()}
        combined = {ref: combine(events.outcomes, events.parts) for ref, events in merged.items()}
        new = [
            StoredRun.new(ref[0], merged[ref].state, results_model.count(run.deciding), merged[ref].parts)
            for ref, run in combined.items()
        ]
        inserted = await runs_store.insert_new(connection, new)
        for run in [run for run in new if run.ref in inserted]:
            self._results.append(RunOutcomes(*run.key_ref, combined[run.ref].deciding))
            await results_store.insert_by_part(connection, run.key_ref, combined[run.ref].of_parts)
            self._add_parts(run, groups[run.ref])
            self._add_change(run, groups[run.ref], notify=run.state.notify)
        known = merged.keys() - inserted
        if known:
            locked = await runs_store.lock(connection, known)
            if known - locked.keys():
                await self._reject_key_collisions(connection, {ref: groups[ref] for ref in known - locked.keys()})
            for ref, run in locked.items():
                await self._merge(connection, run, groups[ref])
        await results_store.insert(connection, self._results, self._minutes)
        if self._changed:
            await runs_store.update(connection, self._changed)
        await runs_store.insert_parts(connection, self._parts)

    async def _reject_key_collisions(self, connection: Connection, groups: dict[RunRef, list[EventItem]]) -> None:
        """Reject the events of runs that are neither new nor stored, because another run has the same key."""
        for ref, items in groups.items():
            state = _merge_states(items)
            rejection = await find_key_collision(connection, ref[0], state)
            for item in items:
                await _reject(connection, item, rejection)

    async def _merge(self, connection: Connection, run: StoredRun, items: list[EventItem]) -> None:
        """Merge into a stored run, whose results and columns `_store_runs` writes.

        If neither the results nor the run change, only the parts are written.
        """
        items = [item for item in items if await _can_merge(connection, run, item)]
        if not items:
            return
        state, outcomes, parts = _merge_events(items, run.parts)
        merged = runs_model.merge(run.state, state)
        merge = await results_store.merge(connection, run.key_ref, outcomes, parts)
        for item in items:
            number = item.event.number
            item.effects.add(merge.effects[number].of_event(outcomes[number], item.outcomes))
        self._add_parts(run, items)  # also if another part decides about all of their results
        if not merge.new and merged == run.state:
            return
        run.change(merged, run.counts.add(merge.change))
        self._results.append(RunOutcomes(*run.key_ref, merge.new))
        self._changed.append(run)
        self._add_change(run, items, notify=state.notify)

    def _add_change(self, run: StoredRun, items: list[EventItem], *, notify: bool) -> None:
        """Add a change of a run. It belongs to the trace of its last event."""
        self.changes.append(RunChange(run, run.completes, notify, items[-1].trace_context))

    def _add_parts(self, run: StoredRun, items: list[EventItem]) -> None:
        self.stored.append(run)
        self._parts += [
            NewPart(run.org_id, run.key, item.event.number, item.event.part, bool(item.outcomes)) for item in items
        ]


class MergedEvents(NamedTuple):
    """The events of one run in a batch. `parts` has the numbers of the outcomes."""

    state: runs_model.RunState
    outcomes: PartOutcomes
    parts: PartNumbers


def _merge_events(items: list[EventItem], parts: PartNumbers) -> MergedEvents:
    """Merge all events of one run in this batch, and set the effects of the events on each other."""
    outcomes: PartOutcomes = {}
    for item in items:
        item.set_number(parts.find(item.event.part))
        item.effects = merge_event(outcomes, item.event.number, item.outcomes)
    return MergedEvents(_merge_states(items), outcomes, parts)


async def _can_merge(connection: Connection, run: StoredRun, item: EventItem) -> bool:
    """Return whether an event can be merged into the run. If it can't, reject it."""
    try:
        check_can_merge(run, item.state)
        run.parts.find(item.event.part)
    except Rejected as rejection:
        await _reject(connection, item, rejection)
        return False
    return True


def _merge_states(items: list[EventItem]) -> runs_model.RunState:
    return reduce(runs_model.merge, [item.state for item in items])


def _set_repeated(item: EventItem, body_sha256: bytes) -> None:
    """Set the outcome of an event whose ID is known: a duplicate, or rejected if the body is different."""
    if item.event.body_sha256 == body_sha256:
        item.outcome = EventOutcome("duplicate")
    else:
        message = f"id: event {item.event.event_id!r} of this source was received before with a different body"
        item.reject("event_id_reused", message)


async def _reject(connection: Connection, item: EventItem, rejection: Rejected) -> None:
    item.reject(rejection.reason, str(rejection))
    problem: Problem = {"index": None, "name": None, "reason": f"{rejection.reason}: {rejection}"}
    await receipts_store.reject(connection, item.ref, [problem])
