"""The handler of the runs queue, which ingests run-completion events."""

import time
from collections.abc import Sequence

from consumers.messages import Delivery, HandlerOutcome, MessageHandler, Postponement, Rejection
from consumers.metrics import count_batch
from service.contracts.cloudevents import to_structured_mode
from service.usecases.ingest.batch_items import EventOutcome
from service.usecases.ingest.ingest_runs import RunIngest


def runs_handler(ingest: RunIngest) -> MessageHandler:
    """Create a handler that stores each event exactly once, rejects it with a reason, or postpones it."""

    async def handle(deliveries: Sequence[Delivery]) -> list[HandlerOutcome]:
        started = time.perf_counter()
        bodies = [to_structured_mode(delivery.body, delivery.content_type, delivery.headers) for delivery in deliveries]
        outcomes = await ingest.ingest(bodies)
        count_batch(outcomes, started)
        return [_handler_outcome(outcome) for outcome in outcomes]

    return handle


def _handler_outcome(outcome: EventOutcome) -> HandlerOutcome:
    if outcome.status == "postponed":
        return Postponement(outcome.message or "")
    return Rejection(outcome.reason, outcome.message or "") if outcome.reason else None
