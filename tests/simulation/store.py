"""A store in memory, as one process uses it: statements that fail, stall, and lose their responses."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import asyncpg

from service.database.statements import statements
from service.domain.ids import OrgId
from service.ingest.batch_items import EventMessage, EventOutcome, ProducerRun
from service.ingest.store_batch import BatchStore, ServerEvents
from service.progress import report_progress

T = TypeVar("T")

STATEMENT_LIMIT_S: Final = 60.0  # of the driver
_LATENCY_S: Final = (0.001, 0.02)
_SQL: Final = statements("tasks")

Attempts = dict[tuple[str, bytes], list[str]]  # processes by crash suspect


class StoredEvents:
    """The committed rows, and the failures of the server."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.committed: dict[str, int] = {}  # transactions by name of the event
        self.attempts: Attempts = {}
        self.is_rejecting = False
        self.is_stalled = False
        self.resumed = asyncio.Event()
        self.slowness = 1.0
        self.losses = 0.0  # probability that the response of a statement is lost
        self.is_locked = False  # the runs whose names contain "locked"

    def stall(self) -> None:
        """Respond to no statement until `resume`."""
        self.is_stalled, self.resumed = True, asyncio.Event()

    def resume(self) -> None:
        self.is_stalled = False
        self.resumed.set()


class ProcessStore(BatchStore):
    """The transactions and the pool of one process. `crash` ends the process, as SIGKILL does."""

    def __init__(self, events: StoredEvents, crash: Callable[[], None]) -> None:
        self._events = events
        self._crash = crash
        self._is_terminated = asyncio.Event()
        self.is_dead = False

    def terminate(self) -> None:
        """Close the connections, so that no statement and no cleanup waits for the server."""
        self._is_terminated.set()

    async def split(self, messages: Sequence[EventMessage]) -> Sequence[ServerEvents]:
        return [ServerEvents(range(len(messages)))]

    async def while_available(self, org_id: OrgId, work: Callable[[], Awaitable[T]]) -> T:
        return await work()

    async def store(self, messages: Sequence[EventMessage], lock_wait_s: float) -> list[EventOutcome]:
        await self._statement(lambda: None)
        names = [message.body.decode() for message in messages]
        for name in names:
            await self._raise_error_of(name, lock_wait_s)
        outcomes: list[EventOutcome] = await self._statement(lambda: self._commit(names))
        return outcomes

    async def _raise_error_of(self, name: str, lock_wait_s: float) -> None:
        if name.startswith("crash"):
            self._crash()
            await asyncio.Event().wait()
        if name.startswith("invalid"):
            raise asyncpg.DataError("the data can't be stored")
        if name.startswith("defect"):
            raise KeyError(name)
        if name.startswith("locked") and self._events.is_locked:
            await asyncio.sleep(lock_wait_s)
            raise asyncpg.LockNotAvailableError("canceling statement due to lock timeout")

    def _commit(self, names: Sequence[str]) -> list[EventOutcome]:
        committed = self._events.committed
        outcomes = [EventOutcome("duplicate" if name in committed else "stored") for name in names]
        for name in names:
            committed[name] = committed.get(name, 0) + 1
        return outcomes

    async def find_run(self, message: EventMessage) -> ProducerRun:
        return "acme", message.body.decode()

    async def remember_locked(self, message: EventMessage) -> None: ...

    async def reject(self, message: EventMessage, error: Exception) -> EventOutcome:
        await self._statement(lambda: None)
        is_data_error = isinstance(error, asyncpg.PostgresError)
        return EventOutcome("rejected", "refused_by_store" if is_data_error else "internal_error", repr(error))

    async def fetchval(self, sql: str, queue: str, body_sha256: bytes, process: str) -> int:
        """Start the attempt of a crash suspect."""
        assert sql == _SQL["start_attempt"]
        count: int = await self._statement(lambda: self._start_attempt((queue, body_sha256), process))
        return count

    def _start_attempt(self, key: tuple[str, bytes], process: str) -> int:
        attempts = self._events.attempts.setdefault(key, [])
        if process not in attempts:
            attempts.append(process)
        return len(attempts)

    async def execute(self, sql: str, queue: str, body_sha256: bytes, *process: str) -> None:
        """Withdraw an attempt, or clear a crash suspect."""
        attempts, key = self._events.attempts, (queue, body_sha256)
        if sql == _SQL["clear"]:
            await self._statement(lambda: attempts.pop(key, None))
            return
        assert sql == _SQL["withdraw_attempt"]
        await self._statement(lambda: self._withdraw(key, process))

    def _withdraw(self, key: tuple[str, bytes], withdrawn: Sequence[str]) -> None:
        attempts = self._events.attempts
        if key in attempts:
            attempts[key] = [process for process in attempts[key] if process not in withdrawn]

    async def _statement(self, effect: Callable[[], Any]) -> Any:
        """Execute a statement. It has a limit, as those of the driver have."""
        events, rng = self._events, self._events.rng
        self._raise_if_unreachable()
        await asyncio.sleep(rng.uniform(*_LATENCY_S) * events.slowness)
        if events.is_stalled:
            await self._wait_for_server()
        self._raise_if_unreachable()
        result = effect()
        if rng.random() < events.losses:
            raise ConnectionResetError("the response was lost")
        report_progress()
        return result

    def _raise_if_unreachable(self) -> None:
        if self.is_dead or self._events.is_rejecting:
            raise ConnectionRefusedError("no server")

    async def _wait_for_server(self) -> None:
        """Wait for the response, at most until the limit. The cleanup of a canceled statement varies."""
        resumed = asyncio.ensure_future(self._events.resumed.wait())
        try:
            await asyncio.wait({resumed}, timeout=STATEMENT_LIMIT_S)
            if not resumed.done():
                raise TimeoutError("the statement takes too long")
        except asyncio.CancelledError:
            await self._clean_up()
            raise
        finally:
            resumed.cancel()

    async def _clean_up(self) -> None:
        """End a canceled statement: immediately, with an error that replaces the cancellation, or after another one."""
        kind = self._events.rng.random()
        if self.is_dead or kind < 0.4:
            return
        if kind < 0.7:
            raise ConnectionResetError("the connection is lost")
        waits = [asyncio.ensure_future(event.wait()) for event in (self._events.resumed, self._is_terminated)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
