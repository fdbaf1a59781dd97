"""The handler of the runs queue, which ingests run-completion events."""

import time
from collections.abc import Sequence

from consumers.messages import Delivery, HandlerOutcome, MessageHandler, Postponement, Rejection
from consumers.metrics import count_batch
from service.contracts.cloudevents import ConflictingPrefixes, to_structured_mode
from service.usecases.ingest.batch_items import EventOutcome
from service.usecases.ingest.ingest_runs import RunIngest


def runs_handler(ingest: RunIngest) -> MessageHandler:
    """Create a handler that stores each event exactly once, rejects it with a reason, or postpones it."""

    async def handle(deliveries: Sequence[Delivery]) -> list[HandlerOutcome]:
        started = time.perf_counter()
        read = [_read(delivery) for delivery in deliveries]
        bodies = [body for body in read if isinstance(body, bytes)]
        stored = iter(await ingest.ingest(bodies) if bodies else ())
        outcomes = [next(stored) if isinstance(item, bytes) else item for item in read]
        count_batch(outcomes, started)
        return [_handler_outcome(outcome) for outcome in outcomes]

    return handle


def _read(delivery: Delivery) -> bytes | EventOutcome:
    """Return the event in structured mode, or the outcome if its headers are invalid."""
    try:
        return to_structured_mode(delivery.body, delivery.content_type, delivery.headers)
    except ConflictingPrefixes as error:
        return EventOutcome("rejected", "invalid", str(error))


def _handler_outcome(outcome: EventOutcome) -> HandlerOutcome:
    if outcome.status == "postponed":
        return Postponement(outcome.message or "")
    return Rejection(outcome.reason, outcome.message or "") if outcome.reason else None
