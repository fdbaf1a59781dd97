"""The events of each worker of a Citus cluster are stored separately."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import asyncpg
import pytest

from service.domain.ids import OrgId
from service.ingest.batch_items import EventMessage, EventOutcome
from service.ingest.ingest_runs import RunIngest
from service.ingest.store_batch import BatchStore, ServerEvents
from service.tasks.workers import WorkerUnavailable

T = TypeVar("T")

BATCH: Final = [EventMessage(name) for name in (b"a1", b"b1", b"?", b"b2", b"a2")]
UNREACHABLE: Final = {"S": "ERROR", "V": "ERROR", "C": "08006", "M": "connection to the remote node failed"}


class TwoWorkers(BatchStore):
    """A store whose events begin with the name of their worker. `broken` raises an error for the second one."""

    def __init__(self, broken: Callable[[], Exception] | None = None) -> None:
        self.transactions: list[list[bytes]] = []
        self._broken = broken

    async def split(self, messages: Sequence[EventMessage]) -> Sequence[ServerEvents]:
        workers = [message.body[:1] for message in messages]
        positions = {worker: [n for n, each in enumerate(workers) if each == worker] for worker in workers}
        org_ids = {b"a": OrgId(1), b"b": OrgId(2)}
        return [ServerEvents(found, org_ids.get(worker)) for worker, found in positions.items()]

    async def while_available(self, org_id: OrgId, work: Callable[[], Awaitable[T]]) -> T:
        if org_id == 2 and self._broken:
            raise self._broken()
        return await work()

    async def store(self, messages: Sequence[EventMessage], lock_wait_s: float) -> list[EventOutcome]:
        self.transactions.append([message.body for message in messages])
        return [EventOutcome("stored", message=message.body.decode()) for message in messages]

    async def find_run(self, message: EventMessage) -> None: ...

    async def remember_locked(self, message: EventMessage) -> None: ...

    async def reject(self, message: EventMessage, error: Exception) -> EventOutcome:
        raise error


async def test_each_worker_has_a_transaction_and_outcomes_keep_the_order_of_the_batch() -> None:
    store = TwoWorkers()
    outcomes = await RunIngest(store).ingest(BATCH)
    assert [outcome.message for outcome in outcomes] == ["a1", "b1", "?", "b2", "a2"]
    assert store.transactions == [[b"a1", b"a2"], [b"b1", b"b2"], [b"?"]]


@pytest.mark.parametrize("error", [WorkerUnavailable, lambda: asyncpg.PostgresError.new(UNREACHABLE)])
async def test_events_of_a_worker_that_does_not_respond_are_postponed(error: Callable[[], Exception]) -> None:
    outcomes = await RunIngest(TwoWorkers(error)).ingest(BATCH)
    assert [outcome.status for outcome in outcomes] == ["stored", "postponed", "stored", "postponed", "stored"]
