"""A consumer process with one deliberate defect, which the checker must detect: `… -m tests.faults.mutations runs`.

RESULTS_TEST_MUTATION names the defect. Without it, the process is an ordinary consumer.
"""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, Final
from uuid import uuid4

import aio_pika.exchange
import aio_pika.queue

from consumers.__main__ import main
from consumers.deliveries import ReceivedMessage
from service.ingest.batch_items import EventMessage, EventOutcome
from service.ingest.ingest_runs import RunIngest
from service.receipts import store as receipts_store
from service.receipts.store import EventRef, ReceiptRow

VARIABLE: Final = "RESULTS_TEST_MUTATION"
MODULE: Final = "tests.faults.mutations"
_PUBLISH_DELAY_S: Final = 2.0


def acknowledge_before_commit() -> None:
    """Let the broker remove each message when it is delivered."""
    consume = aio_pika.queue.Queue.consume

    async def consume_without_ack(self: Any, callback: Any) -> Any:
        return await consume(self, callback, no_ack=True)

    async def ignore(self: Any, *, multiple: bool = False) -> None: ...

    setattr(aio_pika.queue.Queue, "consume", consume_without_ack)  # noqa: B010 - mypy rejects an assignment
    setattr(ReceivedMessage, "ack", ignore)  # noqa: B010


def skip_confirm() -> None:
    """Return from each publish immediately, and publish later. The consumer publishes dead letters."""
    publish = aio_pika.exchange.Exchange.publish
    tasks = set()

    async def publish_later(self: Any, *arguments: Any, **options: Any) -> None:
        async def wait_and_publish() -> None:
            await asyncio.sleep(_PUBLISH_DELAY_S)
            await publish(self, *arguments, **options)

        tasks.add(asyncio.create_task(wait_and_publish()))

    setattr(aio_pika.exchange.Exchange, "publish", publish_later)  # noqa: B010


def skip_deduplication() -> None:
    """Store a repeated event as an event of another source."""
    claim = receipts_store.claim

    async def claim_all(connection: Any, rows: Sequence[ReceiptRow]) -> set[EventRef]:
        suffix = uuid4().hex
        claimed = await claim(connection, [row._replace(source=row.source + suffix) for row in rows])
        return {(org_id, source.removesuffix(suffix), event_id) for org_id, source, event_id in claimed}

    setattr(receipts_store, "claim", claim_all)  # noqa: B010 - mypy rejects the assignment


def keep_a_batch() -> None:
    """Never handle the second batch of the process."""
    ingest, batches = RunIngest.ingest, count(1)

    async def ingest_or_keep(self: RunIngest, messages: Sequence[EventMessage]) -> list[EventOutcome]:
        if next(batches) == 2:
            await asyncio.Event().wait()
        return await ingest(self, messages)

    setattr(RunIngest, "ingest", ingest_or_keep)  # noqa: B010


def blame_events_for_outages() -> None:
    """Reject the events that the consumer processes when the database fails."""
    ingest = RunIngest._ingest

    async def ingest_or_reject(self: RunIngest, messages: Sequence[EventMessage]) -> list[EventOutcome]:
        try:
            return await ingest(self, messages)
        except Exception as error:
            return [EventOutcome("rejected", "internal_error", repr(error)) for _ in messages]

    setattr(RunIngest, "_ingest", ingest_or_reject)  # noqa: B010


MUTATIONS: Final[Mapping[str, Callable[[], None]]] = {
    mutate.__name__: mutate
    for mutate in (
        acknowledge_before_commit,
        skip_confirm,
        skip_deduplication,
        keep_a_batch,
        blame_events_for_outages,
    )
}


if __name__ == "__main__":
    if name := os.environ.get(VARIABLE):
        MUTATIONS[name]()
    main()
