"""Run-completion events into the store."""

from collections.abc import Sequence

from consumers.worker import DeadLetter, Delivery, Handler
from service.contracts.cloudevents import structured
from service.usecases.incoming import Verdict
from service.usecases.ingest_runs import RunIngest


def runs_handler(ingest: RunIngest) -> Handler:
    """Handles deliveries of the runs queue: each is stored exactly once, or is a dead letter with its reason."""

    async def handle(deliveries: Sequence[Delivery]) -> list[DeadLetter | None]:
        bodies = [structured(delivery.body, delivery.content_type, delivery.headers) for delivery in deliveries]
        return [_dead_letter(verdict) for verdict in await ingest.ingest(bodies)]

    return handle


def _dead_letter(verdict: Verdict) -> DeadLetter | None:
    return DeadLetter(verdict.reason, verdict.message or "") if verdict.reason else None
