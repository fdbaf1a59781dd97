"""Brings events to webhooks: what is claimed, what one attempt does, what is recorded of it."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, NamedTuple

import orjson

from service.contracts.events import DisabledWebhookObject, envelope, rfc3339
from service.domain.deliveries import AttemptOutcome, DeliveryStatus, Endpoint, next_wait_s
from service.domain.events import NewEvent
from service.domain.ids import new_id
from service.domain.signatures import signed_headers
from service.log import log
from service.outbound.webhooks import WebhookClient
from service.store import deliveries, events, webhooks
from service.store.deliveries import ClaimedDelivery, DeliveryUpdate
from service.store.postgres.database import Connection, Pool
from service.store.postgres.retries import retry_on_conflict
from service.store.postgres.transactions import notifying_transaction

_LEASE: Final = timedelta(seconds=60)  # well above the time of an attempt
_LONGEST_FAILURE: Final = timedelta(days=5)
_RECOVERY_STEP: Final = 500  # events


class AttemptedDelivery(NamedTuple):
    """A delivery after an attempt."""

    claimed: ClaimedDelivery
    at: datetime
    answer: AttemptOutcome


async def claim_deliveries(pool: Pool, capacities: Mapping[Endpoint, int], limit: int) -> list[ClaimedDelivery]:
    """Deliveries that are due and ours for a minute; another dispatcher gets them after that."""
    return await deliveries.claim(pool, capacities, limit, _LEASE) if limit > 0 else []


async def attempt(client: WebhookClient, claimed: ClaimedDelivery) -> AttemptedDelivery:
    """One attempt. Raises nothing: what goes wrong on our side is a failure too, or it would come due for ever."""
    at, started = datetime.now(UTC), time.monotonic()
    try:
        answer = await _post(client, claimed)
    except Exception as error:
        log.error("attempt_broke", org_id=claimed.org_id, delivery_id=claimed.delivery_id, exc_info=error)
        answer = AttemptOutcome(None, round((time.monotonic() - started) * 1000), "something went wrong on our side")
    return AttemptedDelivery(claimed, at, answer)


async def _post(client: WebhookClient, claimed: ClaimedDelivery) -> AttemptOutcome:
    body = envelope(claimed.event_id, claimed.type, claimed.created_at, claimed.data)
    secrets = [secret for secret in (claimed.secret, claimed.previous_secret) if secret]
    headers = signed_headers(claimed.event_id, int(time.time()), body, secrets)
    return await client.post(claimed.url, headers, body)


async def release_deliveries(pool: Pool, claimed: Sequence[ClaimedDelivery]) -> None:
    """Leaves deliveries to whoever claims them next; not at all would do too, but only when the lease is over."""
    await deliveries.release(pool, claimed)


async def record_attempts(pool: Pool, attempted: Sequence[AttemptedDelivery]) -> list[DeliveryStatus]:
    """Writes what came of attempts, and switches endpoints off that are gone or have failed for days.

    Returns what the deliveries are now, unless another has claimed them meanwhile.
    """
    return await retry_on_conflict(partial(_record, pool, attempted))


async def recover_missed(pool: Pool) -> bool:
    """Makes one step of one recovery; False where there is none to do. A step that dies is made again."""
    async with pool.acquire() as connection, connection.transaction():
        recovery = await webhooks.claim_recovery(connection)
        if recovery is None:
            return False
        await webhooks.recover_step(connection, recovery, _RECOVERY_STEP)
        return True


async def _record(pool: Pool, attempted: Sequence[AttemptedDelivery]) -> list[DeliveryStatus]:
    outcomes = [_outcome(one) for one in attempted]
    async with pool.acquire() as connection, notifying_transaction(connection):
        await deliveries.record(connection, outcomes)
        await _disable(connection, attempted)
    return [outcome.status for outcome in outcomes]


def _outcome(attempted: AttemptedDelivery) -> DeliveryUpdate:
    claimed, answer = attempted.claimed, attempted.answer
    wait_s = None if answer.succeeded else next_wait_s(claimed.attempt_count + 1, answer.retry_after_s)
    return DeliveryUpdate(
        claimed.org_id, claimed.webhook_id, claimed.delivery_id, claimed.claim, _status(answer, wait_s),
        None if wait_s is None else timedelta(seconds=wait_s), _log_entry(attempted),
    )  # fmt: skip


def _status(answer: AttemptOutcome, wait_s: float | None) -> DeliveryStatus:
    if answer.succeeded:
        return "delivered"
    return "exhausted" if wait_s is None else "pending"


def _log_entry(attempted: AttemptedDelivery) -> str:
    answer = attempted.answer
    return orjson.dumps(
        {
            "at": rfc3339(attempted.at),
            "status": answer.status,
            "latency_ms": answer.latency_ms,
            "error": answer.error,
            "response": answer.response,
        }
    ).decode()


async def _disable(connection: Connection, attempted: Sequence[AttemptedDelivery]) -> None:
    """Disable the endpoints that are gone or have failed for too long."""
    gone = {one.claimed.endpoint for one in attempted if one.answer.is_gone}
    failing = {one.claimed.endpoint for one in attempted if not one.answer.succeeded} - gone
    lasting = await webhooks.find_failing(connection, failing, _LONGEST_FAILURE) if failing else []
    ended = [(endpoint, "gone") for endpoint in gone] + [(endpoint, "failing") for endpoint in lasting]
    for endpoint, reason in sorted(ended):
        await _disable_one(connection, endpoint, reason)


async def _disable_one(connection: Connection, endpoint: Endpoint, reason: str) -> None:
    row = await webhooks.disable(connection, endpoint, reason)
    if row is None:
        return
    org_id, webhook_id = endpoint
    await deliveries.exhaust_pending(connection, org_id, webhook_id)
    since = row["failing_since"]
    told: DisabledWebhookObject = {
        "webhook_id": webhook_id,
        "url": row["url"],
        "description": row["description"],
        "reason": reason,
        "failing_since": rfc3339(since) if since else None,
    }
    data = orjson.dumps(told).decode()
    event = NewEvent(org_id, new_id("evt"), "webhook.disabled", row["project_id"], None, data)
    await events.insert(connection, [event])
