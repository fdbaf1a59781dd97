"""Stores a report that was read: of any size, in one transaction, so that nobody ever sees half of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal, NamedTuple

from service.domain.cases import KnownCases
from service.domain.errors import Rejected
from service.domain.ids import OrgId
from service.reports.uploads import ReadUpload
from service.store import partitions, reports
from service.store.postgres.database import Connection, Pool
from service.store.postgres.transactions import notifying_transaction
from service.store.reports import ClaimedReport
from service.usecases.ingest.emit_events import emit_run_events
from service.usecases.ingest.new_cases import insert_unseen_cases
from service.usecases.ingest.parse_events import ParsedEvent
from service.usecases.ingest.parse_results import CaseOutcomes, UnseenCases, parse_results
from service.usecases.ingest.write_run import RunWriter
from service.usecases.job_leases import ClaimLost
from service.usecases.reports.parse_report import ParsedReport
from service.usecases.reports.store_uploads import store_uploads


class ReportOutcome(NamedTuple):
    """What became of a report in one try: the status of its receipt, or "lost" where it is somebody else's by now."""

    status: Literal["stored", "partial", "rejected", "queued", "lost"]
    results: int = 0


@dataclass(slots=True)
class _Piece:
    """Some of the results, with the cases among them that may be new."""

    org_id: OrgId
    event: ParsedEvent
    outcomes: CaseOutcomes
    unseen: UnseenCases


class ReportStore:
    """The use case with what it remembers: known cases and months. One per process."""

    def __init__(self, pool: Pool, retention: timedelta, link_base: str) -> None:
        self._pool = pool
        self._retention = retention
        self._link_base = link_base
        self._known = KnownCases()
        self._months = partitions.KnownMonths()
        # Each holds a connection and needs a second one now and then: were all of them held, none would go on.
        self._places = asyncio.Semaphore(max(1, pool.get_max_size() // 3))

    @asynccontextmanager
    async def place(self) -> AsyncIterator[Connection]:
        """A connection to store one report over. Waits while too many others are being stored."""
        async with self._places, self._pool.acquire() as connection:
            yield connection

    async def store(
        self, connection: Connection, claimed: ClaimedReport, read: ReadUpload, results: Path
    ) -> ReportOutcome:
        """Stores the results and ends the receipt. The same report again changes nothing.

        Raises Rejected for what can't be stored, ClaimLost, and what the database raises: then nothing has happened.
        """
        reading = ParsedReport(claimed, read, self._retention)
        completed_ms = [reading.event.state.completed_ms]
        async with self._months.ensured(connection, completed_ms), notifying_transaction(connection):
            run = await self._write(connection, claimed, reading, results)
            change = await run.close(connection)
            await store_uploads(connection, run.run, claimed.upload)
            taken = ReportOutcome("partial" if reading.event.rejected else "stored", run.taken)
            await _finish(connection, claimed, reading, taken)
            await emit_run_events(connection, [change] if change else [], self._link_base)
        return taken

    async def _write(
        self, connection: Connection, claimed: ClaimedReport, reading: ParsedReport, results: Path
    ) -> RunWriter:
        if not await reports.lock_claim(connection, claimed.claim):
            raise ClaimLost
        org_id = claimed.claim.org_id
        run = await RunWriter.open(connection, org_id, reading.event.state)
        async for outcomes in self._outcomes(org_id, reading, results):
            await run.add(connection, list(outcomes.values()))
        if reading.event.rejected and not run.taken:
            raise Rejected("no_valid_result", reading.why_nothing_is_valid)
        return run

    async def _outcomes(self, org_id: OrgId, reading: ParsedReport, results: Path) -> AsyncIterator[CaseOutcomes]:
        """Piece by piece, once the cases in it are stored for sure."""
        event = reading.event
        for event.results in reading.pieces(results):
            piece = _Piece(org_id, event, *parse_results(event, org_id, self._known, reading.occurrences))
            if piece.unseen:
                async with self._pool.acquire() as apart:
                    await insert_unseen_cases(apart, self._known, [piece])
            yield piece.outcomes


async def _finish(connection: Connection, claimed: ClaimedReport, reading: ParsedReport, taken: ReportOutcome) -> None:
    state = reading.event.state
    run = state.run_id, state.project_id
    if not await reports.finish(connection, claimed.claim, *taken, reading.problems, run):
        raise ClaimLost
