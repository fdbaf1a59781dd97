"""The checker: compares a journal with the database, the received webhooks, and the dead letters."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from service.database.database import Connection
from service.database.errors import DRIVER_ERRORS
from service.webhooks.model import signed_headers
from tests.faults.journals import Journal
from tests.faults.producers import CASES, EVENT, POISON, REPORT, REPORT_CASES, SHARDS
from tests.faults.proxied_stack import ORGANIZATIONS, ServiceStack
from tests.receivers import Received

_POLL_S: Final = 0.2
_STALLED_S: Final = 90.0  # the watchdog of the consumers ends a stall after about 70 s
_STORED: Final = """
SELECT event_id, run_id FROM receipts WHERE status IN ('stored', 'partial') AND starts_with(run_id, $1)
"""
_EXPORTS: Final = """
SELECT slug, run_id, export_id, status, coalesce(completions, 0) AS completions
FROM exports JOIN organizations USING (org_id)
    LEFT JOIN (SELECT org_id, data ->> 'id' AS export_id, count(*) AS completions FROM events
               WHERE type = 'export.completed' AND number IS NOT NULL GROUP BY 1, 2) e USING (org_id, export_id)
WHERE starts_with(run_id, $1)
"""
_FILES: Final = """
SELECT path FROM runs JOIN artifacts USING (org_id, run_key) WHERE path IS NOT NULL AND starts_with(run_id, $1)
UNION SELECT path FROM exports WHERE status = 'succeeded' AND starts_with(run_id, $1)
"""
_DUPLICATES: Final = """
SELECT event_id FROM receipts WHERE starts_with(run_id, $1) GROUP BY org_id, event_id HAVING count(*) > 1
"""
_RUNS: Final = """
SELECT slug, run_id, complete, passed + failed, coalesce(stored, 0), coalesce(completions, 0)
FROM runs JOIN organizations USING (org_id)
    LEFT JOIN (SELECT org_id, run_key, count(*) AS stored FROM results GROUP BY 1, 2) s USING (org_id, run_key)
    LEFT JOIN (SELECT org_id, run_id, count(*) AS completions FROM events
               WHERE type = 'run.completed' AND number IS NOT NULL GROUP BY 1, 2) e USING (org_id, run_id)
WHERE starts_with(run_id, $1)
"""


@dataclass
class Findings:
    """The differences after one round. The first five lists must be empty."""

    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    wrongly_dead_lettered: list[str] = field(default_factory=list)
    other_organization: list[str] = field(default_factory=list)
    stalled: list[str] = field(default_factory=list)  # events that a consumer had without progress
    confirmed: int = 0
    recovery_p99_s: float = 0.0
    unexpected_exits: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not (
            self.lost or self.duplicated or self.wrongly_dead_lettered or self.other_organization or self.stalled
        )


class Checker:
    """Observes when the events of one label are stored, and at the end compares everything with the journal."""

    def __init__(self, stack: ServiceStack, journal: Journal, label: str) -> None:
        self._stack = stack
        self._journal = journal
        self._prefix = f"{label}/"
        self._stored_at: dict[str, float] = {}
        self._dead_letters: list[str] = []
        self._stalled: set[str] = set()
        self._stalled_since = 0.0

    async def observe(self) -> None:
        """Record when each event is first seen as stored, until canceled."""
        while True:
            try:
                await self._record_stored()
            except (OSError, *DRIVER_ERRORS):
                await asyncio.sleep(_POLL_S)  # the database is stopped

    async def check(self, timeout_s: float) -> Findings:
        """Compare until nothing is missing, or until the timeout."""
        deadline = time.monotonic() + timeout_s
        stalled: set[str] = set()
        while (findings := await self._compare()).lost and time.monotonic() < deadline:
            stalled |= await self._find_stalled({lost for lost in findings.lost if EVENT in lost})
            await asyncio.sleep(_POLL_S)
        findings.lost += await self._missing_files()
        findings.stalled = sorted(stalled)
        confirmed = self._journal.confirmed()
        findings.confirmed = len(confirmed)
        findings.recovery_p99_s = self._recovery_p99_s(confirmed)
        return findings

    async def _find_stalled(self, missing: set[str]) -> set[str]:
        """Return the missing events if no queue has had them for some time, and none of them was stored meanwhile.

        The servers are healthy during the check, so a consumer has received them and makes no progress.
        """
        if missing != self._stalled or await self._queued_events():
            self._stalled, self._stalled_since = missing, time.monotonic()
        return self._stalled if time.monotonic() - self._stalled_since > _STALLED_S else set()

    async def _queued_events(self) -> int:
        """Return the number of events in the queues that no consumer has received."""
        topology = self._stack.topology
        names = (topology.runs_queue, topology.large_queue(topology.runs_queue))
        async with await self._stack.connect_to_broker() as connection:
            channel = await connection.channel()
            declared = [await channel.declare_queue(name, passive=True) for name in names]
        return sum(queue.declaration_result.message_count or 0 for queue in declared)

    async def _record_stored(self) -> None:
        connection = await self._stack.connect()
        try:
            while True:
                for stored_id in await self._stored_ids(connection):
                    self._stored_at.setdefault(stored_id, time.time())
                await asyncio.sleep(_POLL_S)
        finally:
            connection.terminate()

    async def _compare(self) -> Findings:
        connection = await self._stack.connect()
        try:
            receipts = await connection.fetch(_STORED, self._prefix)
            duplicates = [row[0] for row in await connection.fetch(_DUPLICATES, self._prefix)]
            runs = await connection.fetch(_RUNS, self._prefix)
            exports = await connection.fetch(_EXPORTS, self._prefix)
            stored = await self._stored_ids(connection)
        finally:
            await connection.close()
        await self._read_dead_letters()
        findings = Findings(duplicated=duplicates)
        findings.wrongly_dead_lettered = [dead for dead in self._dead_letters if POISON not in dead]
        findings.lost += sorted(self._journal.confirmed().keys() - stored - set(self._dead_letters))
        stored_events = Counter(row["run_id"] for row in receipts)
        self._compare_runs(runs, stored_events, findings)
        for slug, run_id, export_id, _, completions in exports:
            findings.duplicated += [export_id] if completions > 1 else []
            findings.other_organization += [] if f"/{slug}/" in run_id else [export_id]
        return findings

    async def _stored_ids(self, connection: Connection) -> set[str]:
        """Return the IDs of stored events, of the runs of stored reports, and of completed exports."""
        receipts = await connection.fetch(_STORED, self._prefix)
        exports = await connection.fetch(_EXPORTS, self._prefix)
        completed = {row["export_id"] for row in exports if row["status"] == "succeeded" and row["completions"]}
        return {stored_id for row in receipts for stored_id in row} | completed

    async def _missing_files(self) -> list[str]:
        """Return the paths of the files that runs and exports name and the storage doesn't contain."""
        connection = await self._stack.connect()
        try:
            paths = {row["path"] for row in await connection.fetch(_FILES, self._prefix)}
        finally:
            await connection.close()
        return sorted(paths - await self._stack.files.paths())

    def _compare_runs(self, runs: list[Any], stored_events: Counter[str], findings: Findings) -> None:
        delivered = {slug: self._delivered_runs(slug) for slug in ORGANIZATIONS}
        for slug, run_id, complete, counted, stored, completions in runs:
            events, expected = (1, REPORT_CASES) if REPORT in run_id else (SHARDS, SHARDS * CASES)
            if max(counted, stored) > expected or completions > 1:
                findings.duplicated.append(run_id)
            is_delivered = complete and min(counted, stored) == expected and completions and run_id in delivered[slug]
            if stored_events[run_id] >= events and not is_delivered:
                findings.lost.append(run_id)
            if f"/{slug}/" not in run_id:
                findings.other_organization.append(run_id)
        for slug, run_ids in delivered.items():
            findings.other_organization += [run_id for run_id in run_ids if f"/{slug}/" not in run_id]

    def _delivered_runs(self, slug: str) -> set[str]:
        """Return the runs of this label whose webhook arrived with a valid signature."""
        secret = self._stack.webhook_secrets[slug]
        received = self._stack.receivers[slug].received
        run_ids = (request.event["data"]["object"]["run_id"] for request in received if _is_signed(request, secret))
        return {run_id for run_id in run_ids if run_id.startswith(self._prefix)}

    async def _read_dead_letters(self) -> None:
        """Move the dead letters of all queues into memory."""
        async with await self._stack.connect_to_broker() as connection:
            channel = await connection.channel()
            for name in self._stack.topology.queues:
                queue = await channel.get_queue(self._stack.topology.dead_queue(name), ensure=False)
                while message := await queue.get(fail=False, no_ack=True):
                    self._dead_letters.append(str(orjson.loads(message.body).get("id", message.body)))

    def _recovery_p99_s(self, confirmed: dict[str, float]) -> float:
        """Return the 99th percentile of the time from the confirm of an event until it is stored."""
        lags = sorted(
            max(0.0, self._stored_at[event_id] - confirmed_at)
            for event_id, confirmed_at in confirmed.items()
            if event_id in self._stored_at
        )
        return lags[int(len(lags) * 0.99)] if lags else 0.0


def _is_signed(request: Received, secret: str) -> bool:
    headers = request.headers
    expected = signed_headers(headers["webhook-id"], int(headers["webhook-timestamp"]), request.body, [secret])
    return headers["webhook-signature"] == expected["webhook-signature"]
