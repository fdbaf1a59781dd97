"""Run-completion events into the store."""

import time
from collections.abc import Sequence

from consumers.metrics import count_batch
from consumers.worker import Delivery, MessageHandler, Rejection
from service.contracts.cloudevents import to_structured_mode
from service.usecases.ingest.batch_items import EventOutcome
from service.usecases.ingest.ingest_runs import RunIngest


def runs_handler(ingest: RunIngest) -> MessageHandler:
    """Handles deliveries of the runs queue: each is stored exactly once, or is a dead letter with its reason."""

    async def handle(deliveries: Sequence[Delivery]) -> list[Rejection | None]:
        begun = time.perf_counter()
        bodies = [to_structured_mode(delivery.body, delivery.content_type, delivery.headers) for delivery in deliveries]
        verdicts = await ingest.ingest(bodies)
        count_batch(verdicts, begun)
        return [_dead_letter(verdict) for verdict in verdicts]

    return handle


def _dead_letter(verdict: EventOutcome) -> Rejection | None:
    return Rejection(verdict.reason, verdict.message or "") if verdict.reason else None
