"""Delivery of events to webhooks: leases, attempts, the records of their outcomes, and recoveries."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, NamedTuple

import orjson

from service.database.database import Connection, Pool
from service.database.encryption import SecretCipher
from service.database.transactions import notifying_transaction, retry_on_conflict
from service.domain.ids import OrgId, new_id
from service.domain.timestamps import format_time
from service.events import store as events_store
from service.events.contract import DisabledWebhookObject
from service.events.model import NewEvent
from service.log import log
from service.outbound.webhooks import WebhookClient
from service.tracing import spans
from service.webhooks import store
from service.webhooks.message_formats import write_slack, write_teams
from service.webhooks.messages import write_message
from service.webhooks.model import AttemptOutcome, DeliveryPolicy, DeliveryStatus, Endpoint, signed_headers
from service.webhooks.store import DeliveryUpdate, LeasedDelivery

STEP: Final = 1_000  # deliveries
_RECOVERY_STEP: Final = 500  # events


class AttemptedDelivery(NamedTuple):
    """A delivery after an attempt, which started at the time `at`."""

    delivery: LeasedDelivery
    at: datetime
    outcome: AttemptOutcome


async def lease_deliveries(
    pool: Pool, org_id: OrgId | None, capacities: Mapping[Endpoint, int], limit: int, policy: DeliveryPolicy
) -> list[LeasedDelivery]:
    """Lease at most `limit` due deliveries of an organization (None: of all) for the duration of the policy.

    Afterwards, other dispatchers can lease them.
    """
    return await store.lease(pool, org_id, capacities, limit, policy) if limit > 0 else []


async def attempt(
    client: WebhookClient, cipher: SecretCipher, delivery: LeasedDelivery, link_base: str
) -> AttemptedDelivery:
    """Attempt a delivery once. An unexpected error counts as a failed attempt, so that the retries stay limited."""
    at, started = datetime.now(UTC), time.monotonic()
    with spans.span("attempt delivery", delivery.event.trace_context, attributes=_attributes(delivery)):
        try:
            outcome = await _post(client, cipher, delivery, link_base)
        except Exception as error:
            ids = {"org_id": delivery.org_id, "delivery_id": delivery.delivery_id}
            log.error("delivery_attempt_crashed", **ids, exc_info=error)
            outcome = AttemptOutcome(None, round((time.monotonic() - started) * 1000), "internal error of this service")
        if not outcome.succeeded:
            spans.fail(outcome.error or f"status {outcome.status}")
    return AttemptedDelivery(delivery, at, outcome)


def _attributes(delivery: LeasedDelivery) -> dict[str, str | int]:
    return {
        "results.event.type": delivery.event.type,
        "results.event.id": delivery.event.event_id,
        "results.delivery.id": delivery.delivery_id,
        "results.delivery.attempt": delivery.attempt_count + 1,
    }


async def _post(
    client: WebhookClient, cipher: SecretCipher, delivery: LeasedDelivery, link_base: str
) -> AttemptOutcome:
    """Sign and post an event.

    Attempts that start together all sign before the first of them posts: alternating between both steps needs a fifth
    more CPU time, because the code of one step evicts the code of the other from the caches of the processor.
    """
    event = delivery.event
    secrets = [cipher.decrypt(secret) for secret in (delivery.secret, delivery.previous_secret) if secret]
    body = _body(delivery, link_base)
    headers = signed_headers(event.event_id, int(time.time()), body, secrets)
    await asyncio.sleep(0)
    return await client.post(delivery.url, headers, body)


def _body(delivery: LeasedDelivery, link_base: str) -> bytes:
    """Return the envelope of the event, or the message about it in the format of the webhook."""
    event = delivery.event
    if delivery.format == "standard":
        return event.body
    message = write_message(event.type, orjson.loads(event.data), event.project_id, link_base)
    return orjson.dumps(write_slack(message) if delivery.format == "slack" else write_teams(message))


async def record_attempts(
    pool: Pool, attempted: Sequence[AttemptedDelivery], policy: DeliveryPolicy
) -> list[DeliveryStatus]:
    """Record the outcomes of attempts, and disable webhooks whose endpoints are gone or have failed for too long.

    Returns the new status of each delivery. If another dispatcher has leased a delivery since, its row isn't changed.
    """
    return await retry_on_conflict(partial(_record, pool, attempted, policy))


async def _record(pool: Pool, attempted: Sequence[AttemptedDelivery], policy: DeliveryPolicy) -> list[DeliveryStatus]:
    updates = [_update(attempt, policy) for attempt in attempted]
    async with pool.acquire() as connection:
        if all(attempt.outcome.succeeded for attempt in attempted):
            await store.record(connection, updates, policy)  # one statement, so no explicit transaction is needed
        else:
            async with notifying_transaction(connection):
                await store.record(connection, updates, policy)
                await _disable(connection, attempted, policy)
    return [update.status for update in updates]


def _update(attempted: AttemptedDelivery, policy: DeliveryPolicy) -> DeliveryUpdate:
    delivery, outcome = attempted.delivery, attempted.outcome
    delay_s = None
    if not outcome.succeeded:
        delay_s = policy.retry_delay_s(delivery.attempt_count + 1, outcome.retry_after_s)
    return DeliveryUpdate(
        delivery.org_id, delivery.webhook_id, delivery.delivery_id, delivery.token, _status(outcome, delay_s),
        None if delay_s is None else timedelta(seconds=delay_s), _log_entry(attempted),
    )  # fmt: skip


def _status(outcome: AttemptOutcome, delay_s: float | None) -> DeliveryStatus:
    if outcome.succeeded:
        return "delivered"
    return "exhausted" if delay_s is None else "pending"


def _log_entry(attempted: AttemptedDelivery) -> str:
    outcome = attempted.outcome
    return orjson.dumps(
        {
            "at": format_time(attempted.at),
            "status": outcome.status,
            "latency_ms": outcome.latency_ms,
            "error": outcome.error,
            "response": outcome.response,
        }
    ).decode()


async def _disable(connection: Connection, attempted: Sequence[AttemptedDelivery], policy: DeliveryPolicy) -> None:
    """Disable the webhooks whose endpoints are gone or have failed for too long."""
    gone = {attempt.delivery.endpoint for attempt in attempted if attempt.outcome.is_gone}
    failed = {attempt.delivery.endpoint for attempt in attempted if not attempt.outcome.succeeded} - gone
    failing = await store.find_failing(connection, failed, policy.disable_after) if failed else []
    reasons = [(endpoint, "gone") for endpoint in gone] + [(endpoint, "failing") for endpoint in failing]
    for endpoint, reason in sorted(reasons):  # in the order of the keys, so that dispatchers can't deadlock
        await _disable_one(connection, endpoint, reason)


async def _disable_one(connection: Connection, endpoint: Endpoint, reason: str) -> None:
    row = await store.disable(connection, endpoint, reason)
    if row is None:
        return
    org_id, webhook_id = endpoint
    await exhaust_first(connection, endpoint)
    since = row["failing_since"]
    webhook: DisabledWebhookObject = {
        "webhook_id": webhook_id,
        "description": row["description"],
        "reason": reason,
        "failing_since": format_time(since) if since else None,
    }
    data = orjson.dumps(webhook).decode()
    event = NewEvent(org_id, new_id("evt"), "webhook.disabled", row["project_id"], None, data)
    await events_store.insert(connection, [event])


async def exhaust_first(connection: Connection, endpoint: Endpoint) -> None:
    """Exhaust the first pending deliveries in the transaction that disables a webhook. The dispatcher ends the others.

    The backlog of most webhooks is smaller than a step, so it ends together with the change.
    """
    await store.exhaust_pending(connection, endpoint, STEP)


async def exhaust_disabled(pool: Pool) -> bool:
    """Exhaust the next pending deliveries of a disabled webhook. Return False if there are none."""
    async with pool.acquire() as connection, connection.transaction():
        endpoint = await store.lock_disabled(connection)
        return endpoint is not None and await store.exhaust_pending(connection, endpoint, STEP) > 0


async def remove_deleted(pool: Pool) -> bool:
    """Delete the next deliveries of a deleted webhook, and then the webhook. Return False if there are none."""
    async with pool.acquire() as connection, connection.transaction():
        endpoint = await store.lock_deleted(connection)
        if endpoint is None:
            return False
        count = await store.delete_some(connection, endpoint, STEP)
        if not await store.has_any(connection, endpoint):
            await store.remove(connection, endpoint)
            return True
        return count > 0


async def recover_missed(pool: Pool) -> bool:
    """Execute one step of one recovery in one transaction. Return False if there is no unfinished recovery."""
    async with pool.acquire() as connection, connection.transaction():
        recovery = await store.lock_recovery(connection)
        if recovery is None:
            return False
        await store.recover_step(connection, recovery, _RECOVERY_STEP)
        return True
