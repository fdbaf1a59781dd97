"""Ingest of run-completion events: each is stored exactly once, despite failures.

This module decides when a batch is split or retried, and which events are postponed after an error. `store_batch.py`
groups the events by server and stores them. `batch_items.py` also postpones events of runs that were locked recently.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from functools import partial
from typing import Final, TypeVar

from service.database.errors import (
    RowDeleted,
    RowLocked,
    is_conflict,
    is_connection_error,
    is_lock_timeout,
    is_outage,
    is_unreachable_worker,
)
from service.database.transactions import is_temporary, retry_on_conflict
from service.domain.backoff import Backoff
from service.domain.ids import OrgId
from service.ingest.batch_items import LOCKED, EventMessage, EventOutcome
from service.ingest.store_batch import BatchStore
from service.log import log
from service.retries import with_retries
from service.stopping import raise_if_canceled
from service.tasks.workers import WorkerUnavailable

T = TypeVar("T")

_LOCK_WAIT_S: Final = 1.0  # another batch releases its locks earlier
_SHORT_LOCK_WAIT_S: Final = 0.2  # of each run, after a lock timeout of the batch
_FIRST_DELAY_S: Final = 0.2  # before a retry after an outage
_LONGEST_DELAY_S: Final = 15.0


class RunIngest:
    """The owner of batches until each of their events has an outcome."""

    def __init__(self, store: BatchStore, stopping: asyncio.Event | None = None) -> None:
        self._store = store
        self._stopping = stopping

    async def ingest(self, messages: Sequence[EventMessage]) -> list[EventOutcome]:
        """Store a batch of events, and return the outcome of each. Stored events are committed.

        Retries during an outage of the database, which the events can't have caused. Raises Stopped if the process
        must stop meanwhile.
        """

        def log_retry(error: Exception, delay_s: float) -> None:
            log.warning("batch_retried", events=len(messages), delay_s=round(delay_s, 1), error=repr(error))

        async def retry(work: Callable[[], Awaitable[T]]) -> T:
            delays_s = Backoff(_FIRST_DELAY_S, _LONGEST_DELAY_S)
            return await with_retries(work, is_temporary, delays_s, self._stopping, log_retry)

        outcomes: dict[int, EventOutcome] = {}
        for positions, org_id in await retry(partial(self._store.split, messages)):
            of_server = [messages[position] for position in positions]
            found = await retry(partial(self._ingest_on_server, of_server, org_id))
            outcomes |= zip(positions, found, strict=True)
        return [outcomes[position] for position in range(len(messages))]

    async def _ingest_on_server(self, messages: Sequence[EventMessage], org_id: OrgId | None) -> list[EventOutcome]:
        """Ingest the events of one server. Postpone them if a worker of Citus doesn't respond."""
        work = partial(self._ingest, messages)
        if org_id is None:
            return await work()
        try:
            return await self._store.while_available(org_id, work)
        except Exception as error:
            if isinstance(error, WorkerUnavailable) or is_unreachable_worker(error):
                return [_postponed(error)] * len(messages)
            raise

    async def _ingest(self, messages: Sequence[EventMessage]) -> list[EventOutcome]:
        """Ingest the events together, or else in smaller groups. Raises only an error of the server."""
        try:
            return await self._attempt(messages, _LOCK_WAIT_S)
        except Exception as error:
            _raise_if_disconnected(error)
            if len(messages) == 1:
                return [await self._resolve_failed(messages[0], error)]
            log.warning("batch_split", events=len(messages), error=repr(error))
            if not is_lock_timeout(error):
                return await self._ingest_each(messages)
        return await self._ingest_by_run(messages)

    async def _attempt(self, messages: Sequence[EventMessage], lock_wait_s: float) -> list[EventOutcome]:
        def log_retry(error: Exception, delay_s: float) -> None:
            log.info("batch_conflict", delay_s=delay_s, error=repr(error))

        return await retry_on_conflict(partial(self._store.store, messages, lock_wait_s), log_retry)

    async def _ingest_each(self, messages: Sequence[EventMessage]) -> list[EventOutcome]:
        """Ingest each event separately. Raises an error of the server only if no event can be stored."""
        outcomes: list[EventOutcome] = []
        failures: list[Exception] = []
        for message in messages:
            try:
                outcomes += await self._ingest([message])
            except Exception as error:
                _raise_if_disconnected(error)
                if not is_outage(error):
                    raise
                failures.append(error)
                outcomes.append(_postponed(error))
        if len(failures) == len(messages):
            raise failures[-1]
        return outcomes

    async def _ingest_by_run(self, messages: Sequence[EventMessage]) -> list[EventOutcome]:
        """Ingest the events of each run separately, and postpone the events of locked runs."""
        groups: dict[Hashable, list[int]] = {}
        for index, message in enumerate(messages):
            groups.setdefault(await self._store.find_run(message) or index, []).append(index)
        outcomes: dict[int, EventOutcome] = {}
        for indexes in groups.values():
            found = await self._ingest_group([messages[index] for index in indexes])
            outcomes |= zip(indexes, found, strict=True)
        return [outcomes[index] for index in range(len(messages))]

    async def _ingest_group(self, messages: Sequence[EventMessage]) -> list[EventOutcome]:
        try:
            return await self._attempt(messages, _SHORT_LOCK_WAIT_S)
        except Exception as error:
            _raise_if_disconnected(error)
            if is_lock_timeout(error):
                return await self._postpone_locked(messages, error)
        return await self._ingest_each(messages)

    async def _postpone_locked(self, messages: Sequence[EventMessage], error: Exception) -> list[EventOutcome]:
        for message in messages:
            await self._store.remember_locked(message)
        return [_postponed(error)] * len(messages)

    async def _resolve_failed(self, message: EventMessage, error: Exception) -> EventOutcome:
        """Return the outcome of an event that can't be stored alone. Raises an error of the server."""
        if is_outage(error):
            raise error
        if is_lock_timeout(error):
            return (await self._postpone_locked([message], error))[0]
        if is_conflict(error) and not isinstance(error, RowDeleted):
            return _postponed(error)
        return await self._store.reject(message, error)


def _raise_if_disconnected(error: Exception) -> None:
    """Raise the error if no event of the server can be stored now, or CancelledError if the error has replaced it."""
    raise_if_canceled()
    if is_connection_error(error) or is_unreachable_worker(error):
        raise error


def _postponed(error: Exception) -> EventOutcome:
    is_locked_run = is_lock_timeout(error) and not isinstance(error, RowLocked)
    return EventOutcome("postponed", message=LOCKED if is_locked_run else f"{type(error).__name__}: {error}")
