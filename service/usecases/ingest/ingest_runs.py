"""Stores run-completion events: one transaction a batch, exactly once per event, in an order that can't deadlock."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from service.domain import results, runs
from service.domain.cases import KnownCases
from service.domain.errors import Reason, Rejected
from service.domain.ids import OrgId
from service.log import log
from service.store import organizations, partitions, receipts
from service.store import results as stored_results
from service.store import runs as stored_runs
from service.store.postgres.database import DRIVER_ERRORS, Connection, Pool, RowDeleted, is_conflict, is_outage
from service.store.postgres.retries import retry_on_conflict
from service.store.postgres.transactions import notifying_transaction
from service.store.receipts import EventRef
from service.store.results import RunOutcomes
from service.store.runs import RunRef, StoredRun
from service.usecases.ingest.batch_items import BatchItem, DatarefItem, EventItem, EventOutcome, RejectedItem
from service.usecases.ingest.emit_events import RunChange, emit_run_events
from service.usecases.ingest.new_cases import insert_unseen_cases
from service.usecases.ingest.parse_events import (
    AcceptanceWindow,
    ParsedDataref,
    ParsedEvent,
    RejectedEvent,
    parse_event,
)
from service.usecases.ingest.parse_results import CaseOutcomes, parse_results
from service.usecases.ingest.validate_events import Problem
from service.usecases.ingest.write_run import check_can_merge

ReadEvent = ParsedEvent | ParsedDataref | RejectedEvent


class ConflictingProjects(Exception):
    """Events of one run name several projects: each alone meets the run as it is stored then."""


class RunIngest:
    """The use case with what it remembers between batches: known cases, organizations, months. One per process."""

    def __init__(self, pool: Pool, retention: timedelta, link_base: str = "", storage_url: str = "") -> None:
        self._pool = pool
        self._storage_url = storage_url
        self._retention = retention
        self._link_base = link_base
        self._known = KnownCases()
        self._organizations: dict[str, OrgId] = {}
        self._months = partitions.KnownMonths()

    async def ingest(self, bodies: Sequence[bytes]) -> list[EventOutcome]:
        """Stores a batch of structured-mode events; returns a verdict for each.

        Nothing is stored before this returns, everything is after. Raises only where the database is out of reach
        or a run is held by someone else for long; the same batch may then be given again.
        """
        try:
            return await self._ingest_with_retries(bodies)
        except Exception as error:
            if is_outage(error):
                raise
            if len(bodies) == 1:
                if is_conflict(error):
                    raise  # somebody holds the run for long, such as a very large report: it is worth waiting for
                return [await self._refuse(bodies[0], error)]
            log.warning("batch_split", events=len(bodies), error=repr(error))
        return [verdict for body in bodies for verdict in await self.ingest([body])]

    async def _ingest_with_retries(self, bodies: Sequence[bytes]) -> list[EventOutcome]:
        def log_retry(error: Exception, delay_s: float) -> None:
            log.info("batch_conflict", delay_s=delay_s, error=repr(error))

        return await retry_on_conflict(partial(self._ingest_batch, bodies), log_retry)

    async def _ingest_batch(self, bodies: Sequence[bytes]) -> list[EventOutcome]:
        accept = AcceptanceWindow(datetime.now(UTC), self._retention)
        async with self._pool.acquire() as connection:
            batch = _Batch([await self._read(connection, body, accept) for body in bodies])
            await insert_unseen_cases(connection, self._known, batch.incoming)
            completed_ms = [item.event.state.completed_ms for item in batch.incoming]
            async with self._months.ensured(connection, completed_ms), notifying_transaction(connection):
                await batch.store(connection)
                await emit_run_events(connection, batch.changes, self._link_base)
        return batch.verdicts

    async def _read(self, connection: Connection, body: bytes, accept: AcceptanceWindow) -> BatchItem:
        """One event to its end before the next, so that only one lies parsed in memory and in the processor's cache."""
        await asyncio.sleep(0)  # another batch may have its answer from the database, and a further statement to send
        event = parse_event(body, accept)
        slug = event.organization
        if slug and slug not in self._organizations:
            self._organizations |= await organizations.find_by_slugs(connection, {slug})
        return self._incoming(event)

    def _incoming(self, event: ReadEvent) -> BatchItem:
        if isinstance(event, ParsedDataref):
            return DatarefItem(event, self._storage_url)
        org_id = self._organizations.get(event.organization or "")
        if isinstance(event, RejectedEvent):
            return RejectedItem(org_id, event)
        if org_id is None:
            message = f"data.organization: there is no organization {event.organization!r}"
            return RejectedItem(None, event.refused("unknown_organization", message))
        outcomes, unseen = parse_results(event, org_id, self._known)
        event.results = []  # they take several times the room of the outcomes
        if event.rejected and not outcomes:
            message = "no result is valid: " + "; ".join(str(problem["reason"]) for problem in event.problems[:20])
            return RejectedItem(org_id, event.refused("no_valid_result", message))
        return EventItem(org_id, event, outcomes, unseen)

    async def _refuse(self, body: bytes, error: Exception) -> EventOutcome:
        """Ends an event that the store will not take, or that we can't handle, with a trace of why."""
        known = isinstance(error, DRIVER_ERRORS)
        reason: Reason = "refused_by_store" if known else "internal_error"
        message = f"{type(error).__name__}: {error}"[:1000]
        log.error("event_refused", reason=reason, exc_info=error)
        event = parse_event(body, AcceptanceWindow(datetime.now(UTC), self._retention))
        if isinstance(event, ParsedDataref):
            return EventOutcome("rejected", reason, message)
        refused = event if isinstance(event, RejectedEvent) else event.refused(reason, message)
        item = RejectedItem(self._organizations.get(refused.organization or ""), refused)
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                await _Batch([item]).store(connection)
        except Exception as fault:
            if is_outage(fault):
                raise
            log.exception("receipt_refused")  # the dead letter is the trace that remains
        return item.verdict


class _Batch:
    """The transaction: receipts, then runs in the order of their ids, then results in the order of their keys."""

    def __init__(self, items: Sequence[BatchItem]) -> None:
        self._items = items
        self._referred = [item for item in items if isinstance(item, DatarefItem)]
        self.incoming = [item for item in items if isinstance(item, EventItem)]
        self.changes: list[RunChange] = []

    @property
    def verdicts(self) -> list[EventOutcome]:
        return [item.verdict for item in self._items]

    async def store(self, connection: Connection) -> None:
        claimed = await self._claim(connection)
        for item in sorted(self._referred, key=lambda item: (item.event.source, item.event.event_id)):
            await item.queue(connection)
        groups: dict[RunRef, list[EventItem]] = {}
        for one in claimed:
            groups.setdefault(one.run, []).append(one)
        for address, items in groups.items():
            if len({item.event.state.project_id for item in items}) > 1:
                raise ConflictingProjects(f"events of run {address[1]!r} name several projects")
        if groups:
            await self._store_runs(connection, groups)

    async def _claim(self, connection: Connection) -> list[EventItem]:
        """The events that this batch is the first to store; the others get their verdict here."""
        firsts: dict[EventRef, EventItem] = {}
        for item in self.incoming:
            item.accept()
            first = firsts.setdefault(item.address, item)
            if first is not item:
                _compare(item, first.event.body_sha256)
        rows = {address: item.receipt() for address, item in firsts.items()}
        for refused in self._items:
            receipt = refused.receipt() if isinstance(refused, RejectedItem) else None
            if receipt is not None:
                rows.setdefault((receipt.org_id, receipt.source, receipt.event_id), receipt)
        claimed = await receipts.claim(connection, list(rows.values())) if rows else set()
        before = firsts.keys() - claimed
        if before:
            bodies = await receipts.find_bodies(connection, before)
            for address in before:
                _compare(firsts[address], bodies[address])
        return [item for address, item in firsts.items() if address in claimed]

    async def _store_runs(self, connection: Connection, groups: dict[RunRef, list[EventItem]]) -> None:
        folded = {address: _fold(items) for address, items in groups.items()}
        new = [
            StoredRun.new(address[0], state, results.count(outs.values())) for address, (state, outs) in folded.items()
        ]
        inserted = await stored_runs.insert_new(connection, new)
        await stored_results.insert(
            connection,
            [
                RunOutcomes(run.org_id, run.key, list(folded[run.org_id, run.state.run_id][1].values()))
                for run in new
                if (run.org_id, run.state.run_id) in inserted
            ],
        )
        for run in new:
            if (run.org_id, run.state.run_id) in inserted:
                self._note(run, was_complete=False)
        known = folded.keys() - inserted
        if known:
            locked = await stored_runs.lock(connection, known)
            if known - locked.keys():
                raise RowDeleted(f"runs {known - locked.keys()} are neither new nor there")
            for address, run in locked.items():
                await self._merge(connection, run, groups[address], *folded[address])

    async def _merge(
        self,
        connection: Connection,
        run: StoredRun,
        items: list[EventItem],
        state: runs.RunState,
        outcomes: CaseOutcomes,
    ) -> None:
        """Merge into a stored run. Write nothing if nothing changes."""
        try:
            check_can_merge(run, state)
        except Rejected as refusal:
            for item in items:
                await _reject(connection, item, refusal)
            return
        was_complete = run.complete
        merged = runs.merge(run.state, state)
        winners = await stored_results.replace_older(
            connection, RunOutcomes(run.org_id, run.key, list(outcomes.values()))
        )
        if not winners.outcomes and merged == run.state:
            return
        if winners.outcomes:
            run.counts = await stored_runs.count_results(connection, run.org_id, run.key)
        run.state = merged
        run.revision += 1
        await stored_runs.update(connection, run)
        self._note(run, was_complete)

    def _note(self, run: StoredRun, was_complete: bool) -> None:
        self.changes.append(RunChange(run, completed=run.complete and not was_complete))


def _fold(items: list[EventItem]) -> tuple[runs.RunState, CaseOutcomes]:
    """All events of one run in this batch as if they were one."""
    first, *others = items
    state, outcomes = first.event.state, dict(first.outcomes)
    for item in others:
        state = runs.merge(state, item.event.state)
        results.merge(outcomes, item.outcomes.values())
    return state, outcomes


def _compare(item: EventItem, body_sha256: bytes) -> None:
    """An event under a known id is a repetition, or another event that has no right to the id."""
    if item.event.body_sha256 == body_sha256:
        item.verdict = EventOutcome("duplicate")
    else:
        item.reject(
            "event_id_reused", f"id: {item.event.event_id!r} has come before from this source, with another body"
        )


async def _reject(connection: Connection, item: EventItem, refusal: Rejected) -> None:
    item.reject(refusal.reason, str(refusal))
    problem: Problem = {"index": None, "name": None, "reason": f"{refusal.reason}: {refusal}"}
    await receipts.reject(connection, item.address, [problem])
