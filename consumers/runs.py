"""The handler of the runs queue, which ingests run-completion events."""

import asyncio
import time
from collections.abc import Sequence

from consumers.messages import LARGE_BYTES, Delivery, HandlerOutcome, MessageHandler, Postponement, Rejection
from consumers.metrics import count_batch
from service.ingest.batch_items import EventMessage, EventOutcome
from service.ingest.contract import ConflictingPrefixes, to_structured_mode, trace_attributes
from service.ingest.ingest_runs import RunIngest
from service.tasks.model import RUNS
from service.tracing import spans
from service.tracing.spans import TraceContext, TracedMessage


def runs_handler(ingest: RunIngest) -> MessageHandler:
    """Create a handler that stores each event exactly once, rejects it with a reason, or postpones it."""

    async def handle(deliveries: Sequence[Delivery]) -> list[HandlerOutcome]:
        started = time.perf_counter()
        read = [_read(delivery) for delivery in deliveries]
        with spans.processing(RUNS, await _to_traced(deliveries, read) if spans.is_on() else ()) as traced:
            contexts = [spans.context_of(span) for span in traced] or [None] * len(read)
            events = [
                EventMessage(item, context, delivery.producer)
                for item, context, delivery in zip(read, contexts, deliveries, strict=True)
                if isinstance(item, bytes)
            ]
            stored = iter(await ingest.ingest(events) if events else ())
            outcomes = [next(stored) if isinstance(item, bytes) else item for item in read]
            spans.set_outcomes(traced, [outcome.status for outcome in outcomes])
        count_batch(outcomes, started)
        return [_handler_outcome(outcome) for outcome in outcomes]

    return handle


async def _to_traced(deliveries: Sequence[Delivery], read: Sequence[bytes | EventOutcome]) -> list[TracedMessage]:
    """Return the messages with the trace contexts in their events."""
    bodies = [item if isinstance(item, bytes) else b"" for item in read]
    return [
        TracedMessage(delivery.headers, await _read_trace(body))
        for delivery, body in zip(deliveries, bodies, strict=True)
    ]


async def _read_trace(event: bytes) -> TraceContext:
    """Return the trace context in an event. A large event is parsed in a thread, so that the event loop continues."""
    if len(event) > LARGE_BYTES:
        return await asyncio.to_thread(trace_attributes, event)
    return trace_attributes(event)


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
